"""An answer of Cohere's v2 chat as the hub says it. https://docs.cohere.com/reference/chat#response

What Cohere says before it calls tools, its `tool_plan`, is the content; thoughts are `reasoning_content`. Cohere's
answers name no model: it is the one that was asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.cohere import FINISH_REASONS, read_usage


def to_answer(said: Json, asked: Json, moment: Moment) -> Json:
    """Return the hub's answer. What is missing or odd is taken for absent."""
    message, calls = _message(said.get("message"))
    choice = {"index": 0, "message": message, **to_finish(said.get("finish_reason"), asked, calls=bool(calls))}
    if logprobs := to_logprobs(said.get("logprobs")):
        choice["logprobs"] = logprobs
    identity = said.get("id")
    answer: Json = {
        "id": identity if isinstance(identity, str) and identity else f"chatcmpl-{moment.id}",
        "object": "chat.completion",
        "created": moment.created,
        "model": moment.model,
        "choices": [choice],
    }
    if isinstance(usage := said.get("usage"), dict):
        answer["usage"] = to_usage(usage)
    return answer


def _message(said: Any) -> tuple[Json, Sequence[Json]]:
    found = said if isinstance(said, dict) else {}
    blocks, places = _blocks(found.get("content")), Places()
    plan = found.get("tool_plan")
    texts = [places.plan(plan if isinstance(plan, str) else "")]
    texts += [places.text(at, text) for at, kind, text in blocks if kind == "text"]
    calls = _calls(found.get("tool_calls"))
    message: Json = {"role": "assistant", "content": "".join(texts) or (None if calls else ""), "refusal": None}
    if thoughts := "".join(text for _, kind, text in blocks if kind == "thinking"):
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = calls
    if citations := [each for citation in _list(found.get("citations")) for each in places.cited(citation)]:
        message["citations"] = citations
    return message, calls


def _blocks(content: Any) -> list[tuple[int, str, str]]:
    """Return the place, type and text of each block that says something."""
    if isinstance(content, str):
        return [(0, "text", content)]
    return [
        (at, kind, block[kind])
        for at, block in enumerate(_list(content))
        if isinstance(block, dict)
        and (kind := block.get("type")) in ("text", "thinking")
        and isinstance(block.get(kind), str)
    ]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _calls(calls: Any) -> list[Json]:
    return [told for call in _list(calls) if (told := to_call(call))]


def to_call(call: Any) -> Json | None:
    """Return a call of a tool, None for one of nothing. OpenAI's clients insist on all of its fields."""
    if not isinstance(call, dict) or not (call.get("id") or call.get("function")):
        return None
    function = call.get("function")
    told = function if isinstance(function, dict) else {}
    name, arguments = told.get("name"), told.get("arguments")
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {
            "name": name if isinstance(name, str) else "",
            "arguments": arguments if isinstance(arguments, str) else "",
        },
    }


def to_finish(word: Any, asked: Mapping[str, Any], *, calls: bool) -> Json:
    """Return a choice's finish reason, Cohere's own word, and the stop sequence where there can be only one."""
    finish: Json = {"finish_reason": FINISH_REASONS.get(word, "") if isinstance(word, str) else ""}
    finish["finish_reason"] = finish["finish_reason"] or ("tool_calls" if calls else "stop")
    if isinstance(word, str):
        finish["native_finish_reason"] = word
    stop = asked.get("stop")
    stops = [stop] if isinstance(stop, str) else _list(stop)
    if word == "STOP_SEQUENCE" and len(stops) == 1:
        finish["stop_sequence"] = stops[0]
    return finish


def to_usage(usage: Mapping[str, Any]) -> Json:
    """Return the tokens; which of Cohere's two counts they are the lens says."""
    read = read_usage(usage)
    told: Json = {"prompt_tokens": read.input, "completion_tokens": read.output, "total_tokens": read.total}
    if read.cached_input:
        told["prompt_tokens_details"] = {"cached_tokens": read.cached_input}
    return told


def to_logprobs(items: Any) -> Json | None:
    """Return OpenAI's log probabilities. Cohere's are of pieces of text, in which those of several tokens add up."""
    found = items if isinstance(items, list) else [items]
    content = [_logprob(item) for item in found if isinstance(item, dict) and isinstance(item.get("logprobs"), list)]
    return {"content": content, "refusal": None} if content else None


def _logprob(item: Mapping[str, Any]) -> Json:
    text = item.get("text")
    return {
        "token": text if isinstance(text, str) else "",
        "logprob": float(sum(each for each in item["logprobs"] if isinstance(each, int | float))),
        "bytes": None,
        "top_logprobs": [],
    }


class Places:
    """Where in the hub's one content each of Cohere's blocks begins, and so where citations point."""

    __slots__ = ("_begins", "_first", "_length", "_sources")

    def __init__(self) -> None:
        self._begins: dict[int, int] = {}
        self._first = 0
        self._length = 0
        self._sources: dict[str, int] = {}

    def plan(self, text: str) -> str:
        """Note that this much of a plan is said, ahead of all texts."""
        self._length += len(text)
        return text

    def text(self, block: int, text: str) -> str:
        """Note that this much text is said in a block."""
        if block not in self._begins:
            self._begins[block] = self._length
            self._first = self._length if len(self._begins) == 1 else self._first
        self._length += len(text)
        return text

    def cited(self, citation: Any) -> Iterable[Json]:
        """Return a citation as the hub has them, one for each of its sources; none for one of thoughts."""
        if not isinstance(citation, dict) or citation.get("type") == "THINKING_CONTENT":
            return ()
        begin = 0 if citation.get("type") == "PLAN" else self._begin(citation.get("content_index"))
        start, end = citation.get("start"), citation.get("end")
        if not isinstance(start, int) or not isinstance(end, int):
            return ()
        sources = [source for source in _list(citation.get("sources")) if isinstance(source, dict)]
        return [self._citation(source, begin + start, begin + end) for source in sources]

    def _begin(self, block: Any) -> int:
        return self._begins.get(block, self._first) if isinstance(block, int) else self._first

    def _citation(self, source: Mapping[str, Any], start: int, end: int) -> Json:
        """https://platform.claude.com/docs/en/build-with-claude/search-results#citations: sources by number."""
        identity = str(source.get("id") or "")
        number = self._sources.setdefault(identity, len(self._sources))
        document = source.get("document") or source.get("tool_output")
        told = document if isinstance(document, dict) else {}
        title = told.get("title")
        return {
            "type": "search_result_location",
            "cited_text": _cited_text(told),
            "source": identity,
            "title": title if isinstance(title, str) else None,
            "search_result_index": number,
            "start_block_index": 0,
            "end_block_index": 1,
            "start_index": start,
            "end_index": end,
        }


def _cited_text(document: Mapping[str, Any]) -> str:
    """Cohere's documents are free in their names; these are the ones of its own examples."""
    for name in ("text", "snippet", "content"):
        if isinstance(text := document.get(name), str):
            return text
    return ""
