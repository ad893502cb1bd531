"""An answer of the hub as Cohere's v2 chat gives it. https://docs.cohere.com/reference/chat#response

Cohere has no text beside calls of tools: what is said before a call is the `tool_plan`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.cohere import FINISH_REASONS, count

_WORDS: Final[Mapping[str, str]] = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "function_call": "TOOL_CALL",
    "content_filter": "ERROR",
}
"""OpenAI's words in Cohere's, which has none for an answer that a filter took."""
_NOTHING: Final[Mapping[str, Any]] = {}


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return Cohere's answer: the first choice, for Cohere has only one."""
    choice = first(hub.get("choices"))
    identity = hub.get("id")
    answer: Json = {
        "id": identity if isinstance(identity, str) and identity else moment.id,
        "finish_reason": to_word(choice),
        "message": _message(choice.get("message")),
    }
    if isinstance(usage := hub.get("usage"), dict):
        answer["usage"] = to_usage(usage)
    if asked.get("logprobs") and (logprobs := to_logprobs(choice.get("logprobs"))):
        answer["logprobs"] = logprobs
    return answer


def first(choices: Any) -> Mapping[str, Any]:
    """Return the first of the choices, one without fields where there is none."""
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else _NOTHING


def _message(said: Any) -> Json:
    message = said if isinstance(said, dict) else {}
    text, calls = to_text(message.get("content")) or to_text(message.get("refusal")), _calls(message.get("tool_calls"))
    told: Json = {"role": "assistant"}
    content: list[Json] = []
    if thoughts := to_thoughts(message):
        content.append({"type": "thinking", "thinking": thoughts})
    if calls and text:
        told["tool_plan"] = text
    elif not calls:
        content.append({"type": "text", "text": text})
    if calls:
        told["tool_calls"] = calls
    if content:
        told["content"] = content
    place = len(content) - 1 if not calls else 0
    if citations := to_citations(message, text, place, "PLAN" if calls else "TEXT_CONTENT"):
        told["citations"] = citations
    return told


def to_text(content: Any) -> str:
    """Return the text of content, or of a list of its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") or part.get("refusal") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def to_thoughts(message: Mapping[str, Any]) -> str:
    """Return what the model thought, as text: Cohere has no signatures."""
    blocks = message.get("thinking_blocks")
    if isinstance(blocks, list) and blocks:
        texts = (block.get("thinking") for block in blocks if isinstance(block, dict))
        return "".join(text for text in texts if isinstance(text, str))
    thoughts = message.get("reasoning_content")
    return thoughts if isinstance(thoughts, str) else ""


def _calls(calls: Any) -> list[Json]:
    found = calls if isinstance(calls, list) else ()
    return [told for call in found if (told := to_call(call))]


def to_call(call: Any) -> Json | None:
    """Return a call of a tool, None for one of nothing."""
    if not isinstance(call, dict) or not (call.get("id") or call.get("function")):
        return None
    function = call.get("function")
    told = function if isinstance(function, dict) else _NOTHING
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {"name": str(told.get("name") or ""), "arguments": str(told.get("arguments") or "")},
    }


def to_word(choice: Mapping[str, Any]) -> str:
    """Return why the model stopped: Cohere's own word where it was Cohere that said it."""
    own = choice.get("native_finish_reason")
    if isinstance(own, str) and own in FINISH_REASONS:
        return own
    if isinstance(choice.get("stop_sequence"), str):
        return "STOP_SEQUENCE"
    return _WORDS.get(str(choice.get("finish_reason")), "COMPLETE")


def to_usage(usage: Mapping[str, Any]) -> Json:
    """Return the tokens: all that were used are billed, as far as is known here."""
    told = {
        "input_tokens": count(usage.get("prompt_tokens")),
        "output_tokens": count(usage.get("completion_tokens")),
    }
    details = usage.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    counted: Json = {"billed_units": told, "tokens": told}
    return {**counted, "cached_tokens": cached} if cached else counted


def to_logprobs(logprobs: Any) -> list[Json]:
    """Return Cohere's log probabilities. The numbers of the tokens, which Cohere tells, OpenAI does not."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    items = content if isinstance(content, list) else ()
    return [
        {"text": str(item.get("token") or ""), "token_ids": [], "logprobs": [item.get("logprob")]}
        for item in items
        if isinstance(item, dict)
    ]


def to_citations(message: Mapping[str, Any], text: str, place: int, kind: str) -> list[Json]:
    """Return Cohere's citations of what a message cites; OpenAI's own annotations cite addresses."""
    citations = message.get("citations")
    if not isinstance(citations, list):
        annotations = message.get("annotations")
        found = annotations if isinstance(annotations, list) else ()
        citations = [each.get("url_citation") for each in found if isinstance(each, dict)]
    return [_citation(each, text, place, kind) for each in citations if _points(each)]


def _points(citation: Any) -> bool:
    return isinstance(citation, dict) and all(
        isinstance(citation.get(name), int) for name in ("start_index", "end_index")
    )


def _citation(citation: Json, text: str, place: int, kind: str) -> Json:
    start, end = citation["start_index"], citation["end_index"]
    told = {"start": start, "end": end, "text": text[start:end], "sources": [_source(citation)]}
    return {**told, "content_index": place, "type": kind}


_DOCUMENT: Final[Sequence[tuple[str, str]]] = (
    ("title", "title"),
    ("document_title", "title"),
    ("url", "url"),
    ("cited_text", "text"),
)


def _source(citation: Mapping[str, Any]) -> Json:
    """A source is called as its citation calls it, or by its number as Cohere would."""
    name = citation.get("source") or citation.get("url")
    number = citation.get("document_index", citation.get("search_result_index"))
    identity = name if isinstance(name, str) else f"doc:{number}" if isinstance(number, int) else ""
    document = {told: citation[of] for of, told in _DOCUMENT if isinstance(citation.get(of), str) and citation[of]}
    return {"type": "document", "id": identity, "document": {"id": identity, **document}}
