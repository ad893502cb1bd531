"""A caller of OpenAI's older completions → the hub, and the hub's answers and streams back.

https://platform.openai.com/docs/api-reference/completions

A prompt is what a user says. What only a model that continues a text can do is refused; what the model thinks is not
said. Where no `max_tokens` is given, completions would end after 16; here the target's own limit holds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Inward, Json, Losses, Moment
from trustgate.providers.pairs.reading import (
    an_object,
    boolean,
    integer,
    list_of,
    number,
    object_of,
    string,
    text_of,
)

__all__ = ["PAIR"]


def _stop(value: Any, path: str) -> Any:
    if isinstance(value, list):
        return [string(each, f"{path}.{at}") for at, each in enumerate(value)]
    return string(value, path)


_PLAIN: Final[Mapping[str, tuple[str, Callable[[Any, str], Any]]]] = {
    "max_tokens": ("max_completion_tokens", integer),
    "temperature": ("temperature", number),
    "top_p": ("top_p", number),
    "n": ("n", integer),
    "stop": ("stop", _stop),
    "seed": ("seed", integer),
    "presence_penalty": ("presence_penalty", number),
    "frequency_penalty": ("frequency_penalty", number),
    "logit_bias": ("logit_bias", an_object),
    "user": ("user", string),
}
"""What has no other meaning in the hub: its name there, and how to read it."""
_SAID: Final = frozenset((*_PLAIN, "model", "stream", "stream_options", "prompt", "suffix", "echo", "logprobs"))


def to_request(said: Json, losses: Losses) -> Json:
    """Return the hub's request. Raises CannotSay."""
    hub: Json = {"messages": [{"role": "user", "content": _prompt(said)}]}
    if said.get("suffix"):
        raise CannotSay("suffix", "Chat does not insert: only completions can be asked for what comes before a suffix.")
    for name, (theirs, read) in _PLAIN.items():
        if said.get(name) is not None:
            hub[theirs] = read(said[name], name)
    _hear_logprobs(said, hub, losses)
    for name, value in said.items():
        if name not in _SAID and value is not None and not (name == "best_of" and value == (said.get("n") or 1)):
            losses.drop(name)
    return hub


def _prompt(said: Json) -> str:
    prompt = said.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not prompt:
        raise CannotSay("prompt", "This must be a string, or a list of one.")
    if all(isinstance(each, str) for each in prompt):
        raise CannotSay("prompt", "Chat has one prompt in a request: send one request for each.")
    raise CannotSay("prompt", "Tokens mean something to one model only: send the text.")


def _hear_logprobs(said: Json, hub: Json, losses: Losses) -> None:
    """Of the tokens of an echoed prompt chat says no probabilities."""
    echoes = said.get("echo") is not None and boolean(said["echo"], "echo")
    if said.get("logprobs") is None:
        return
    most = integer(said["logprobs"], "logprobs")
    hub["logprobs"] = True
    if most:
        hub["top_logprobs"] = most
    if echoes:
        losses.drop("logprobs")


# Answers.

_REASONS: Final = frozenset(("stop", "length", "content_filter"))


def _asked_prompt(asked: Json) -> str:
    prompt = asked.get("prompt")
    return text_of(prompt[0] if isinstance(prompt, list) and prompt else prompt)


def _echoed(asked: Json) -> str:
    """Return the prompt where it is to be repeated before every choice."""
    return _asked_prompt(asked) if asked.get("echo") else ""


def to_answer(hub: Json, asked: Json, moment: Moment) -> Json:
    """Return the caller's answer."""
    offset, echoed, wanted = len(_asked_prompt(asked)), _echoed(asked), asked.get("logprobs") is not None
    choices = []
    for at, choice in enumerate(list_of(hub.get("choices"))):
        said = object_of(choice)
        message = object_of(said.get("message"))
        told: Json = {"text": echoed + _text(message), "index": _index(said, at)}
        told["logprobs"] = _Logprobs(offset).of(said) if wanted else None
        choices.append({**told, "finish_reason": _reason(said.get("finish_reason")) or "stop"})
    answer = {**_envelope(hub, moment), "choices": choices}
    if isinstance(usage := hub.get("usage"), dict):
        answer["usage"] = usage
    return answer


def _envelope(hub: Json, moment: Moment) -> Json:
    created = hub.get("created")
    told: Json = {
        "id": text_of(hub.get("id")) or f"cmpl-{moment.id}",
        "object": "text_completion",
        "created": created if isinstance(created, int) and created else moment.created,
        "model": text_of(hub.get("model")) or moment.model,
    }
    if fingerprint := text_of(hub.get("system_fingerprint")):
        told["system_fingerprint"] = fingerprint
    return told


def _index(choice: Json, at: int) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else at


def _text(message: Json) -> str:
    """Return what the model said, or why it would not."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(text_of(object_of(part).get("text")) for part in content)
    return text_of(content) or text_of(message.get("refusal"))


def _reason(reason: Any) -> str | None:
    """Return why the model stopped, None where it has not. Completions call nothing."""
    if not isinstance(reason, str) or not reason:
        return None
    return reason if reason in _REASONS else "stop"


class _Logprobs:
    """Counts where in prompt and text each token begins."""

    __slots__ = ("_offset",)

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def of(self, choice: Json) -> Json | None:
        """Return what completions say of the tokens of a choice, None where nothing is known of any."""
        content = object_of(choice.get("logprobs")).get("content")
        items = [item for item in list_of(content) if isinstance(item, dict)]
        if not items:
            return None
        tokens = [text_of(item.get("token")) for item in items]
        return {
            "tokens": tokens,
            "token_logprobs": [_float(item.get("logprob")) for item in items],
            "top_logprobs": [_top(item) for item in items] if any(item.get("top_logprobs") for item in items) else None,
            "text_offset": [self._place(token) for token in tokens],
        }

    def _place(self, token: str) -> int:
        begin, self._offset = self._offset, self._offset + len(token)
        return begin


def _top(item: Json) -> dict[str, float]:
    found = [each for each in list_of(item.get("top_logprobs")) if isinstance(each, dict)]
    return {text_of(each.get("token")): _float(each.get("logprob")) for each in found}


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


# Streams.


class Writer:
    """Chunks for a caller of completions; usage only for one who asked for it. A choice begins with the echo."""

    __slots__ = ("_base", "_echoed", "_logprobs", "_moment", "_offset", "_usage", "_wanted")

    def __init__(self, asked: Json, moment: Moment) -> None:
        self._usage = bool(object_of(asked.get("stream_options")).get("include_usage"))
        self._wanted = asked.get("logprobs") is not None
        self._offset = len(_asked_prompt(asked))
        self._echoed = _echoed(asked)
        self._moment = moment
        self._base: Json = {}
        self._logprobs: dict[int, _Logprobs] = {}

    def feed(self, chunk: Json) -> Sequence[tuple[str, Json]]:
        """Return the chunk that this means; none for one without text, an end or usage."""
        self._base = self._base or _envelope(chunk, self._moment)
        found = (choice for choice in list_of(chunk.get("choices")) if isinstance(choice, dict))
        choices = [told for at, choice in enumerate(found) if (told := self._choice(choice, at))]
        events: list[tuple[str, Json]] = []
        if choices:
            told = {**self._base, "choices": choices}
            events.append(("", {**told, "usage": None} if self._usage else told))
        if self._usage and isinstance(usage := chunk.get("usage"), dict):
            events.append(("", {**self._base, "choices": [], "usage": usage}))
        return events

    def end(self) -> Sequence[tuple[str, Json]]:
        """`[DONE]` is no JSON: whoever writes the events adds it."""
        return ()

    def _choice(self, choice: Json, at: int) -> Json | None:
        index = _index(choice, at)
        known = self._logprobs.get(index)
        text, reason = _text(object_of(choice.get("delta"))), _reason(choice.get("finish_reason"))
        if known is None and self._echoed:
            text = self._echoed + text
        if not text and not reason:
            return None
        logprobs = known or self._logprobs.setdefault(index, _Logprobs(self._offset))
        told = logprobs.of(choice) if self._wanted else None
        return {"text": text, "index": index, "logprobs": told, "finish_reason": reason}


PAIR: Final = Inward(request=to_request, answer=to_answer, stream=Writer)
