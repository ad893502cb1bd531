"""Where each dialect keeps what we need to know: the model, the stream flag, usage, text, errors. Pure, and read-only.

Bodies stay bytes. A peek decodes the one or two fields that are needed and scans past the rest.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from trustgate.contract.context import Dialect
from trustgate.contract.errors import Refused
from trustgate.contract.lens import Answered, Lens
from trustgate.contract.usage import Usage


class _AskPeek(Struct):
    model: str | None = None
    stream: bool | None = None


class Asked(Struct, frozen=True):
    """What a request body says of itself."""

    model: str
    stream: bool


_ask: Final = msgspec.json.Decoder(_AskPeek)


def peek_request(raw: bytes) -> Asked:
    """Read model and stream off a request body. Raises Refused (400) for a body that is not a JSON object like that."""
    try:
        asked = _ask.decode(raw)
    except msgspec.ValidationError as error:
        raise _wrong_type(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("invalid_json", f"The body is not valid JSON: {error}.", status=400, retry=False) from error
    except RecursionError as error:
        raise Refused("invalid_json", "The body is nested too deeply.", status=400, retry=False) from error
    return Asked(asked.model or "", asked.stream or False)


def _wrong_type(error: msgspec.ValidationError) -> Refused:
    text = str(error)
    at = text.rpartition("`$.")[2].rstrip("`") if "`$." in text else None
    return Refused("invalid_request", f"The body is not accepted: {text}.", status=400, param=at, retry=False)


def with_model(raw: bytes, model: str) -> bytes:
    """Return the body asking for another model. Every other field keeps its very bytes."""
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


class _PromptDetails(Struct):
    cached_tokens: int | None = 0


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = 0


class _Usage(Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Choice(Struct):
    finish_reason: str | None = None


class _AnswerPeek(Struct):
    model: str | None = None
    usage: _Usage | None = None
    choices: list[_Choice] | None = None
    error: Any = None


_answer: Final = msgspec.json.Decoder(_AnswerPeek)


def peek_answer(raw: bytes) -> Answered | None:
    """Read an answer's own account of itself, or None when it is not a JSON object of that dialect."""
    try:
        peek = _answer.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    finish_reason = ""
    for choice in peek.choices or ():
        finish_reason = finish_reason or choice.finish_reason or ""
    return Answered(
        model=peek.model or "",
        finish_reason=finish_reason,
        usage=_normal(peek.usage),
        error=peek.error,
        is_answer=peek.choices is not None,
    )


def _normal(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input=usage.prompt_tokens or 0,
        output=usage.completion_tokens or 0,
        cached_input=(read.cached_tokens or 0) if read else 0,
        reasoning_output=(written.reasoning_tokens or 0) if written else 0,
    )


class _Message(Struct):
    content: Any = None


class _TextChoice(Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None


class _TextPeek(Struct):
    choices: list[_TextChoice] = field(default_factory=list)


_text: Final = msgspec.json.Decoder(_TextPeek)


def answer_text(raw: bytes) -> str:
    """Return what the model said in a whole answer, its choices one after the other."""
    try:
        peek = _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "\n".join(_plain(choice.message.content) for choice in peek.choices if choice.message)


def delta_texts(raw: bytes) -> dict[int, str]:
    """Return the text that one stream event adds, by choice; empty for an event without text."""
    try:
        peek = _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    texts = {choice.index: _plain(choice.delta.content) for choice in peek.choices if choice.delta}
    return {index: text for index, text in texts.items() if text}


def with_delta_text(raw: bytes, texts: Mapping[int, str]) -> bytes:
    """Return a stream event whose choices say something else; everything but `delta.content` stays as it is."""
    event = msgspec.json.decode(raw)
    for choice in event["choices"]:
        if choice.get("index", 0) in texts:
            choice["delta"]["content"] = texts[choice.get("index", 0)]
    return msgspec.json.encode(event)


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


LENSES: Final[Mapping[Dialect, Lens]] = {
    "openai": Lens(answer=peek_answer, text=answer_text, deltas=delta_texts, rewritten=with_delta_text, last=b"[DONE]"),
}
