"""A stream of Cohere's v2 chat as chunks of the hub. https://docs.cohere.com/docs/streaming"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.openai_to_cohere.answer import Places, to_call, to_finish, to_logprobs, to_usage

_NOTHING: Final[Mapping[str, Any]] = {}


class Reader:
    """Reads one stream. Its end is `message-end`, unless that says that the generation failed."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False
        self._asked = asked
        self._envelope: Json = {
            "id": f"chatcmpl-{moment.id}",
            "object": "chat.completion.chunk",
            "created": moment.created,
            "model": moment.model,
        }
        self._places = Places()
        self._calls: dict[Any, int] = {}

    def feed(self, event: str, data: Json) -> Sequence[Json]:
        """Return the chunks that this event means; none for what carries nothing, or is not known."""
        kind = data.get("type") or event
        read = _EVENTS.get(kind) if isinstance(kind, str) else None
        return read(self, data) if read else ()

    def end(self) -> Sequence[Json]:
        """Usage came with the end."""
        return ()

    def _chunk(self, delta: Json, **choice: Any) -> Sequence[Json]:
        said = {"index": 0, "delta": delta, "finish_reason": None, **choice}
        return ({**self._envelope, "choices": [said]},)

    def _start(self, data: Json) -> Sequence[Json]:
        if isinstance(identity := data.get("id"), str) and identity:
            self._envelope["id"] = identity
        return self._chunk({"role": "assistant", "content": ""})

    def _content(self, data: Json) -> Sequence[Json]:
        content = _field(_message(data), "content")
        delta: Json = {}
        if isinstance(text := content.get("text"), str) and text:
            delta["content"] = self._places.text(_index(data), text)
        if isinstance(thoughts := content.get("thinking"), str) and thoughts:
            delta["reasoning_content"] = thoughts
        logprobs = to_logprobs(data.get("logprobs"))
        if logprobs:
            return self._chunk(delta, logprobs=logprobs)
        return self._chunk(delta) if delta else ()

    def _plan(self, data: Json) -> Sequence[Json]:
        plan = _message(data).get("tool_plan")
        return self._chunk({"content": self._places.plan(plan)}) if isinstance(plan, str) and plan else ()

    def _call(self, data: Json) -> Sequence[Json]:
        """Cohere's indices are kept in order of appearance: OpenAI's clients count from zero."""
        call = to_call(_message(data).get("tool_calls"))
        if call is None:
            return ()
        place = self._calls.setdefault(_index(data), len(self._calls))
        return self._chunk({"tool_calls": [{"index": place, **call}]})

    def _arguments(self, data: Json) -> Sequence[Json]:
        arguments = _field(_field(_message(data), "tool_calls"), "function").get("arguments")
        place = self._calls.get(_index(data))
        if place is None or not isinstance(arguments, str) or not arguments:
            return ()
        return self._chunk({"tool_calls": [{"index": place, "function": {"arguments": arguments}}]})

    def _citation(self, data: Json) -> Sequence[Json]:
        found = _message(data).get("citations")
        citations = [
            each
            for citation in (found if isinstance(found, list) else [found])
            for each in self._places.cited(citation)
        ]
        return self._chunk({"citations": citations}) if citations else ()

    def _end(self, data: Json) -> Sequence[Json]:
        """A generation that failed gets no finish reason: whoever carries the stream says that it broke."""
        delta = _field(data, "delta")
        usage = delta.get("usage")
        counted = ({**self._envelope, "choices": [], "usage": to_usage(usage)},) if isinstance(usage, dict) else ()
        if delta.get("finish_reason") == "ERROR":
            return counted
        self.finished = True
        finish = to_finish(delta.get("finish_reason"), self._asked, calls=bool(self._calls))
        return (*self._chunk({}, **finish), *counted)


def _index(data: Json) -> int:
    index = data.get("index")
    return index if isinstance(index, int) else 0


def _message(data: Json) -> Mapping[str, Any]:
    return _field(_field(data, "delta"), "message")


def _field(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else _NOTHING


_EVENTS: Final[Mapping[str, Callable[[Reader, Json], Sequence[Json]]]] = {
    "message-start": Reader._start,
    "content-start": Reader._content,
    "content-delta": Reader._content,
    "tool-plan-delta": Reader._plan,
    "tool-call-start": Reader._call,
    "tool-call-delta": Reader._arguments,
    "citation-start": Reader._citation,
    "message-end": Reader._end,
}
