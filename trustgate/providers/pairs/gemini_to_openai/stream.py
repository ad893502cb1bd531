"""The hub's chunks as a stream of generateContent, each of whose events is an answer with what is new in it.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from collections.abc import Sequence
from typing import Any

from trustgate.providers.hub import Json, Moment
from trustgate.providers.pairs.gemini_to_openai.answer import (
    to_call,
    to_grounding,
    to_logprobs,
    to_parts,
    to_reason,
    to_text,
    to_usage,
)
from trustgate.providers.pairs.openai_to_gemini.answer import to_index
from trustgate.providers.pairs.reading import list_of, object_of, text_of

_Event = tuple[str, Json]


class _Candidate:
    """What has been said of one choice; `held` is the call that is being said, `number` that of its place."""

    __slots__ = ("calls", "choice", "citations", "held", "number", "refused", "texts")

    def __init__(self) -> None:
        self.calls = 0
        self.held: Json = {}
        self.number: Any = None
        self.choice: Json = {}
        self.refused = False
        self.texts: list[str] = []
        self.citations: list[Any] = []


class Writer:
    """Writes one stream.

    Calls, and they alone, wait until they are complete: the hub says their arguments in pieces, and Gemini's clients
    know only whole ones. Why the model stopped waits for what it used, which the hub says behind it and Gemini beside.
    """

    __slots__ = ("_candidates", "_id", "_model", "_moment", "_usage")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._moment = moment
        self._id = self._model = ""
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Any = None

    def feed(self, chunk: Json) -> Sequence[_Event]:
        """Return the event that this chunk means, if it says anything yet."""
        self._usage = chunk.get("usage") or self._usage
        self._id = self._id or text_of(chunk.get("id")) or self._moment.id
        self._model = self._model or text_of(chunk.get("model")) or self._moment.model
        told: list[Json] = []
        for choice in list_of(chunk.get("choices")):
            if isinstance(choice, dict) and (candidate := self._hear(choice)):
                told.append(candidate)
        return (self._event(told),) if told else ()

    def end(self) -> Sequence[_Event]:
        """Return the last event: why the model stopped, and what it used."""
        ended = [_ended(candidate, index, self._release(candidate)) for index, candidate in self._candidates.items()]
        last = self._event(ended)
        if isinstance(self._usage, dict):
            last[1]["usageMetadata"] = to_usage(self._usage)
        return (last,)

    def _event(self, candidates: list[Json]) -> _Event:
        model, identity = self._model or self._moment.model, self._id or self._moment.id
        return "", {"candidates": candidates, "modelVersion": model, "responseId": identity}

    def _hear(self, choice: Json) -> Json | None:
        index = to_index(choice, 0)
        if (candidate := self._candidates.get(index)) is None:
            candidate = self._candidates[index] = _Candidate()
        delta = object_of(choice.get("delta"))
        parts = to_parts(delta) if delta else []
        if delta:
            _remember(delta, candidate)
        for call in list_of(delta.get("tool_calls")):
            if isinstance(call, dict):
                parts += self._call(call, candidate)
        if choice.get("finish_reason"):
            candidate.choice = choice
            parts += self._release(candidate)
        logprobs = to_logprobs(choice.get("logprobs"))
        if not parts and not logprobs:
            return None
        told: Json = {"content": {"parts": parts, "role": "model"}, "index": index}
        if logprobs:
            told["logprobsResult"] = logprobs
        return told

    def _call(self, call: Json, candidate: _Candidate) -> list[Json]:
        """Take a piece of a call. Returns the call before, which is complete where another begins.

        Some give all of several calls the same index: what comes with a name and an id of its own is a new one.
        """
        number, identity = call.get("index"), text_of(call.get("id"))
        function = object_of(call.get("function"))
        name = text_of(function.get("name"))
        known = candidate.held
        is_other = bool(name and identity and known.get("id") and identity != known["id"])
        told = self._release(candidate) if known and (number != candidate.number or is_other) else []
        held = candidate.held = candidate.held or {"id": "", "function": {"name": "", "arguments": []}}
        candidate.number = number
        held["id"] = held["id"] or identity
        held["function"]["name"] = held["function"]["name"] or name
        held["function"]["arguments"].append(text_of(function.get("arguments")))
        if call.get("extra_content"):
            held["extra_content"] = call["extra_content"]
        return told

    def _release(self, candidate: _Candidate) -> list[Json]:
        """Return the call that is held, whole."""
        held, candidate.held = candidate.held, {}
        if not held:
            return []
        function = {**held["function"], "arguments": "".join(held["function"]["arguments"])}
        candidate.calls += 1
        return [to_call({**held, "function": function}, candidate.calls - 1, self._moment)]


def _remember(delta: Json, candidate: _Candidate) -> None:
    """Keep what the last event needs: citations, which come there, and the text that they point into."""
    if text := to_text(delta.get("content")):
        candidate.texts.append(text)
    candidate.refused = candidate.refused or bool(delta.get("refusal"))
    for name in ("annotations", "citations"):
        if name in delta:
            candidate.citations += list_of(delta[name])


def _ended(candidate: _Candidate, index: int, rest: list[Json]) -> Json:
    """Return the end of a candidate, with what is still held or the empty text that Gemini itself ends with."""
    told: Json = {
        "content": {"parts": rest or [{"text": ""}], "role": "model"},
        "finishReason": to_reason(candidate.choice, refused=candidate.refused),
        "index": index,
    }
    if candidate.citations and (grounding := to_grounding(candidate.citations, "".join(candidate.texts))):
        told["groundingMetadata"] = grounding
    return told
