"""An answer of generateContent as the hub says it.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse. What Google's own tools did (searches, code)
stands in parts that the hub does not have: the text about it stays.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.gemini import FINISH_REASONS, read_tier, read_usage, word_of
from trustgate.providers.pairs.openai_to_gemini.grounding import to_annotations
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_TIERS: Final[Mapping[str, str]] = {"standard": "default", "flex": "flex", "priority": "priority"}
_encode: Final = msgspec.json.Encoder().encode


class Heard:
    """What the parts of a candidate say, each kind of them together; `calls` are the parts with calls."""

    __slots__ = ("calls", "images", "signature", "text", "thoughts")

    def __init__(self, content: Any) -> None:
        self.text = self.thoughts = self.signature = ""
        self.calls: list[Json] = []
        self.images: list[Json] = []
        for part in list_of(object_of(content).get("parts")):
            if isinstance(part, dict):
                self._hear(part)

    def _hear(self, part: Json) -> None:
        text = part.get("text")
        if isinstance(text, str):
            if part.get("thought"):
                self.thoughts += text
            else:
                self.text += text
                self.signature = text_of(part.get("thoughtSignature")) or self.signature
        elif isinstance(part.get("functionCall"), dict):
            self.calls.append(part)
        elif isinstance(data := part.get("inlineData"), dict) and not part.get("thought"):
            self._see(part, data)

    def _see(self, part: Json, data: Json) -> None:
        kind = text_of(data.get("mimeType"))
        if kind.startswith("image/"):
            image: Json = {"url": f"data:{kind};base64,{text_of(data.get('data'))}"}
            self.images.append({"type": "image_url", "image_url": image, **_signed(part)})


def _signed(part: Json) -> Json:
    signature = text_of(part.get("thoughtSignature"))
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def to_extras(heard: Heard) -> Json:
    """Return the fields of a message, or of a delta, which are not OpenAI's: thoughts, pictures, a signature."""
    extras: Json = {}
    if heard.thoughts:
        extras["reasoning_content"] = heard.thoughts
    if heard.images:
        extras["images"] = heard.images
    if heard.signature:
        extras["extra_content"] = {"google": {"thought_signature": heard.signature}}
    return extras


def to_call(part: Json, number: int, moment: Moment) -> Json:
    """Return a call of a function, with an id of our own where Gemini gives none: those before Gemini 3 do not."""
    call = object_of(part.get("functionCall"))
    arguments = _encode(object_of(call.get("args"))).decode()
    return {
        "id": text_of(call.get("id")) or f"call_{moment.id}_{number}",
        "type": "function",
        "function": {"name": text_of(call.get("name")), "arguments": arguments},
        **_signed(part),
    }


def to_answer(said: Json, asked: Json, moment: Moment) -> Json:
    """Return the hub's answer. What is missing or odd is taken for absent."""
    candidates = [each for each in list_of(said.get("candidates")) if isinstance(each, dict)]
    choices = [_choice(candidate, at, moment) for at, candidate in enumerate(candidates)]
    told: Json = {
        "id": text_of(said.get("responseId")) or f"chatcmpl-{moment.id}",
        "object": "chat.completion",
        "created": moment.created,
        "model": text_of(said.get("modelVersion")) or moment.model,
        "choices": choices or [_blocked(object_of(said.get("promptFeedback")))],
    }
    if isinstance(usage := said.get("usageMetadata"), dict):
        told["usage"] = to_usage(usage)
        told.update(to_tier(usage))
    return told


def _choice(candidate: Json, at: int, moment: Moment) -> Json:
    heard = Heard(candidate.get("content"))
    calls = [to_call(part, number, moment) for number, part in enumerate(heard.calls)]
    message: Json = {
        "role": "assistant",
        "content": heard.text or (None if calls else ""),
        "refusal": to_refusal(candidate),
        **to_extras(heard),
    }
    if annotations := to_annotations(candidate.get("groundingMetadata"), heard.text):
        message["annotations"] = annotations
    if calls:
        message["tool_calls"] = calls
    return {
        "index": to_index(candidate, at),
        "message": message,
        "logprobs": to_logprobs(candidate.get("logprobsResult")),
        **to_finish(candidate.get("finishReason"), calls=bool(calls)),
    }


def to_index(candidate: Json, usual: int) -> int:
    """Return the number of a candidate, or of a choice: Google's JSON leaves out the 0 of the first."""
    index = candidate.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else usual


def _blocked(feedback: Json) -> Json:
    """Return the choice of an answer without a candidate: the prompt was not let through to the model."""
    message = {"role": "assistant", "content": "", "refusal": text_of(feedback.get("blockReasonMessage")) or None}
    return {"index": 0, "message": message, "logprobs": None, **to_block(feedback)}


def to_block(feedback: Json) -> Json:
    """Return why there is no candidate."""
    if reason := text_of(feedback.get("blockReason")):
        return {"finish_reason": "content_filter", "native_finish_reason": reason}
    return {"finish_reason": "stop"}


def to_finish(reason: Any, *, calls: bool) -> Json:
    """Return why the model stopped, in OpenAI's word and in Gemini's own, which says nothing of calls."""
    word = word_of(reason)
    told = FINISH_REASONS.get(word, "stop")
    finish: Json = {"finish_reason": "tool_calls" if calls and told == "stop" else told}
    if word:
        finish["native_finish_reason"] = word
    return finish


def to_refusal(candidate: Json) -> str | None:
    """Return what is said of an answer that was held back, None where nothing was or nothing is said."""
    if FINISH_REASONS.get(word_of(candidate.get("finishReason"))) != "content_filter":
        return None
    return text_of(candidate.get("finishMessage")) or None


def to_usage(usage: Json) -> Json:
    """Return the tokens: of the input what Google's tools have read is a part, of the output what was thought."""
    found = read_usage(usage)
    read: Json = {"cached_tokens": found.cached_input}
    written: Json = {"reasoning_tokens": found.reasoning_output}
    if found.audio_input:
        read["audio_tokens"] = found.audio_input
    if found.audio_output:
        written["audio_tokens"] = found.audio_output
    return {
        "prompt_tokens": found.input,
        "completion_tokens": found.output,
        "total_tokens": found.total,
        "prompt_tokens_details": read,
        "completion_tokens_details": written,
    }


def to_tier(usage: Json) -> Json:
    """Return the service tier, nothing where OpenAI has no such."""
    tier = _TIERS.get(read_tier(usage))
    return {"service_tier": tier} if tier else {}


def to_logprobs(result: Any) -> Json | None:
    """Return OpenAI's log probabilities; of what is certain Google's JSON leaves out the 0."""
    found = object_of(result)
    chosen = list_of(found.get("chosenCandidates"))
    if not chosen:
        return None
    tops = [list_of(object_of(top).get("candidates")) for top in list_of(found.get("topCandidates"))]
    tops += [()] * (len(chosen) - len(tops))
    content = [
        {**_logprob(token), "top_logprobs": [_logprob(each) for each in top]}
        for token, top in zip(chosen, tops, strict=False)
    ]
    return {"content": content, "refusal": None}


def _logprob(token: Any) -> Json:
    found = object_of(token)
    probability = found.get("logProbability")
    told = float(probability) if isinstance(probability, int | float) else 0.0
    return {"token": text_of(found.get("token")), "logprob": told, "bytes": None}
