"""A stream of generateContent as the hub's chunks. https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent

Each event is an answer of its own, with what has been said since the last one: its texts in pieces, and calls whole.
"""

from collections.abc import Sequence
from typing import Any

from trustgate.providers.hub import Json, Moment
from trustgate.providers.lenses.gemini import word_of
from trustgate.providers.pairs.openai_to_gemini.answer import (
    Heard,
    to_block,
    to_call,
    to_extras,
    to_finish,
    to_index,
    to_logprobs,
    to_refusal,
    to_tier,
    to_usage,
)
from trustgate.providers.pairs.openai_to_gemini.grounding import to_annotations
from trustgate.providers.pairs.reading import object_of, text_of


class _Choice:
    """What has been said of one candidate; `texts` is what citations, which come last, point into."""

    __slots__ = ("begun", "calls", "cited", "ended", "texts")

    def __init__(self) -> None:
        self.begun = self.ended = False
        self.calls = 0
        self.texts: list[str] = []
        self.cited: list[Json] = []


class Reader:
    """Reads one stream. It has ended properly when every candidate that has begun has a finish reason."""

    __slots__ = ("_base", "_choices", "_is_named", "_moment", "_usage", "finished")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False
        self._moment = moment
        self._is_named = False
        self._base: Json = {
            "id": f"chatcmpl-{moment.id}",
            "object": "chat.completion.chunk",
            "created": moment.created,
            "model": moment.model,
        }
        self._choices: dict[int, _Choice] = {}
        self._usage: Json = {}

    def feed(self, event: str, data: Json) -> Sequence[Json]:
        """Return the chunk that this event means, if it says anything."""
        if isinstance(usage := data.get("usageMetadata"), dict):
            self._usage.update((name, value) for name, value in usage.items() if value is not None)
        if not self._is_named:
            self._name(data)
        candidates = data.get("candidates")
        if isinstance(candidates, list) and candidates:
            choices = [self._hear(each) for each in candidates if isinstance(each, dict)]
        else:
            choices = [self._hear_block(object_of(data.get("promptFeedback")))]
        told = [choice for choice in choices if choice is not None]
        return ({**self._base, "choices": told},) if told else ()

    def end(self) -> Sequence[Json]:
        """Return the usage: of that in all events the last holds."""
        if not self._usage:
            return ()
        return ({**self._base, "choices": [], "usage": to_usage(self._usage), **to_tier(self._usage)},)

    def _name(self, data: Json) -> None:
        """Every event has id and model; what the first one says goes for all."""
        self._is_named = True
        self._base["id"] = text_of(data.get("responseId")) or self._base["id"]
        self._base["model"] = text_of(data.get("modelVersion")) or self._base["model"]

    def _hear(self, candidate: Json) -> Json | None:
        index = to_index(candidate, 0)
        if (choice := self._choices.get(index)) is None:
            choice = self._choices[index] = _Choice()
        delta = self._delta(candidate, choice)
        logprobs = to_logprobs(candidate.get("logprobsResult"))
        told: Json = {"index": index, "delta": delta, "finish_reason": None}
        if logprobs:
            told["logprobs"] = logprobs
        if word := word_of(candidate.get("finishReason")):
            told.update(to_finish(word, calls=choice.calls > 0))
            choice.ended = True
            self.finished = all(each.ended for each in self._choices.values())
        return told if delta or logprobs or choice.ended else None

    def _delta(self, candidate: Json, choice: _Choice) -> Json:
        heard = Heard(candidate.get("content"))
        delta: Json = {} if choice.begun else {"role": "assistant", "content": ""}
        choice.begun = True
        if heard.text:
            delta["content"] = heard.text
            choice.texts.append(heard.text)
        delta.update(to_extras(heard))
        if heard.calls:
            delta["tool_calls"] = [
                {"index": number, **to_call(part, number, self._moment)}
                for number, part in enumerate(heard.calls, choice.calls)
            ]
            choice.calls += len(heard.calls)
        if refusal := to_refusal(candidate):
            delta["refusal"] = refusal
        if (metadata := candidate.get("groundingMetadata")) and (annotations := _new(metadata, choice)):
            delta["annotations"] = annotations
        return delta

    def _hear_block(self, feedback: Json) -> Json | None:
        """An event without candidates says something only where it says that the prompt was not let through."""
        if not feedback.get("blockReason") or self._choices:
            return None
        self.finished = True
        delta: Json = {"role": "assistant", "content": ""}
        if message := text_of(feedback.get("blockReasonMessage")):
            delta["refusal"] = message
        return {"index": 0, "delta": delta, **to_block(feedback)}


def _new(metadata: Any, choice: _Choice) -> list[Json]:
    """Return the citations that no event before has told."""
    found = to_annotations(metadata, "".join(choice.texts))
    fresh = [cited for cited in found if cited not in choice.cited]
    choice.cited += fresh
    return fresh
