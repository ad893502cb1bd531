"""The hub's answer as an answer of generateContent.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse. Who signs their thoughts finds the signature
again behind them, where Gemini has a place for it; other thoughts are not signed.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.gemini import FINISH_REASONS, count
from trustgate.providers.pairs.openai_to_anthropic.messages import arguments_of
from trustgate.providers.pairs.openai_to_gemini.answer import to_index
from trustgate.providers.pairs.openai_to_gemini.media import split_data_url
from trustgate.providers.pairs.openai_to_gemini.messages import signature_of
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_REASONS: Final[Mapping[str, str]] = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}
"""OpenAI's reasons to stop in Gemini's words; all others are STOP, also that a function is called."""
_BASE64: Final = re.compile(r"(?:[\w+/-]{4})*(?:[\w+/-][AQgw]==|[\w+/-]{2}[AEIMQUYcgkosw048]=)?", re.ASCII)
"""A signature is bytes to Google's clients: what is no base64, with no bit left over, they would not read at all."""


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return the caller's answer, with a candidate for each choice."""
    choices = [choice for choice in list_of(hub.get("choices")) if isinstance(choice, dict)]
    told: Json = {
        "candidates": [_candidate(choice, at, moment) for at, choice in enumerate(choices)],
        "modelVersion": text_of(hub.get("model")) or moment.model,
        "responseId": text_of(hub.get("id")) or moment.id,
    }
    if isinstance(usage := hub.get("usage"), dict):
        told["usageMetadata"] = to_usage(usage)
    return told


def _candidate(choice: Json, at: int, moment: Moment) -> Json:
    message = object_of(choice.get("message"))
    calls = [call for call in list_of(message.get("tool_calls")) if isinstance(call, dict)]
    parts = [*to_parts(message), *(to_call(call, number, moment) for number, call in enumerate(calls))]
    candidate: Json = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": to_reason(choice, refused=bool(message.get("refusal"))),
        "index": to_index(choice, at),
    }
    text = to_text(message.get("content"))
    citations = [*list_of(message.get("annotations")), *list_of(message.get("citations"))]
    if citations and (grounding := to_grounding(citations, text)):
        candidate["groundingMetadata"] = grounding
    if logprobs := to_logprobs(choice.get("logprobs")):
        candidate["logprobsResult"] = logprobs
    return candidate


def to_parts(message: Json) -> list[Json]:
    """Return what a message, or a delta, says beside calls: thoughts, text, what it refuses, and pictures."""
    parts = _thoughts(message)
    text, signature = to_text(message.get("content")), signature_of(message)
    if text or signature:
        parts.append({"text": text, "thoughtSignature": signature} if signature else {"text": text})
    if refusal := text_of(message.get("refusal")):
        parts.append({"text": refusal})
    for image in list_of(message.get("images")):
        parts += _image(object_of(image))
    return parts


def _thoughts(message: Json) -> list[Json]:
    blocks = list_of(message.get("thinking_blocks"))
    if not blocks:
        reasoning = text_of(message.get("reasoning_content"))
        return [{"text": reasoning, "thought": True}] if reasoning else []
    parts: list[Json] = []
    for block in blocks:
        found = object_of(block)
        thinking, signature = text_of(found.get("thinking")), text_of(found.get("signature"))
        if signature and _BASE64.fullmatch(signature):
            parts.append({"text": thinking, "thought": True, "thoughtSignature": signature})
        elif thinking:
            parts.append({"text": thinking, "thought": True})
    return parts


def to_text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(text_of(object_of(part).get("text")) for part in content)
    return text_of(content)


def _image(image: Json) -> Iterator[Json]:
    kind, data = split_data_url(text_of(object_of(image.get("image_url")).get("url")))
    if kind:
        part: Json = {"inlineData": {"mimeType": kind, "data": data}}
        if signature := signature_of(image):
            part["thoughtSignature"] = signature
        yield part


def to_call(call: Json, number: int, moment: Moment) -> Json:
    """Return a call of a function, with an id of our own where it has none."""
    function = object_of(call.get("function"))
    told = {
        "id": text_of(call.get("id")) or f"call_{moment.id}_{number}",
        "name": text_of(function.get("name")),
        "args": arguments_of(text_of(function.get("arguments"))),
    }
    signature = signature_of(call)
    return {"functionCall": told, "thoughtSignature": signature} if signature else {"functionCall": told}


def to_reason(choice: Json, *, refused: bool) -> str:
    """Return why the model stopped: in the target's own word, where that is one of Gemini's too."""
    native = choice.get("native_finish_reason")
    if isinstance(native, str) and native in FINISH_REASONS:
        return native
    return "SAFETY" if refused else _REASONS.get(text_of(choice.get("finish_reason")), "STOP")


def to_usage(usage: Json) -> Json:
    """Return the tokens: thoughts are counted beside what is said."""
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    details = object_of(usage.get("completion_tokens_details"))
    thoughts = min(completion, count(details.get("reasoning_tokens")))
    told: Json = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": completion - thoughts,
        "totalTokenCount": prompt + completion,
    }
    if cached := count(object_of(usage.get("prompt_tokens_details")).get("cached_tokens")):
        told["cachedContentTokenCount"] = cached
    if thoughts:
        told["thoughtsTokenCount"] = thoughts
    return told


def to_grounding(citations: list[Any], text: str) -> Json:
    """Return OpenAI's annotations, and Anthropic's citations of pages, as Google has them; nothing where none fits.

    OpenAI counts characters of the message, Google bytes.
    """
    chunks: list[Json] = []
    supports: list[Json] = []
    for citation in citations:
        found = object_of(citation)
        cited = object_of(found.get("url_citation")) or found
        url, start, end = text_of(cited.get("url")), cited.get("start_index"), cited.get("end_index")
        if not url or not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end <= len(text):
            continue
        chunk = {"web": {"uri": url, "title": text_of(cited.get("title"))}}
        if chunk not in chunks:
            chunks.append(chunk)
        segment = {"startIndex": _bytes(text[:start]), "endIndex": _bytes(text[:end]), "text": text[start:end]}
        supports.append({"segment": segment, "groundingChunkIndices": [chunks.index(chunk)]})
    return {"groundingChunks": chunks, "groundingSupports": supports} if chunks else {}


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def to_logprobs(logprobs: Any) -> Json | None:
    """Return Google's log probabilities, None where there are none."""
    tokens = [token for token in list_of(object_of(logprobs).get("content")) if isinstance(token, dict)]
    if not tokens:
        return None
    told: Json = {"chosenCandidates": [_token(token) for token in tokens]}
    tops = [[_token(object_of(each)) for each in list_of(token.get("top_logprobs"))] for token in tokens]
    if any(tops):
        told["topCandidates"] = [{"candidates": top} for top in tops]
    return told


def _token(token: Json) -> Json:
    probability = token.get("logprob")
    known = isinstance(probability, int | float) and not isinstance(probability, bool)
    return {"token": text_of(token.get("token")), "logProbability": probability if known else 0.0}
