"""Whole answers: read, judged, and carried back as the very bytes that came."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from trustgate.contract.context import AnswerView
from trustgate.contract.errors import Refused
from trustgate.contract.lens import Answered, Lens, texts_of
from trustgate.contract.prompt import AnswerLens
from trustgate.contract.upstream import Header, Upstream

Parts = Callable[[], AnswerLens] | None
_ERROR_KEYS: Final = ("message", "error", "detail", "msg")


async def read_bounded(upstream: Upstream, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Read a whole answer of at most `limit` bytes. Raises Refused beyond it, UpstreamFailure when it breaks off."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) <= limit:
        return await upstream.read()
    if length.isdigit():
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while part := await upstream.chunk():
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> Refused:
    """Return what the caller is told of an answer that is too large to hold."""
    return Refused(
        "provider_answer_too_large",
        f"The provider's answer is larger than the {limit} bytes that are carried whole: ask for a stream.",
        status=502,
        source="upstream",
    )


def judge(status: int, raw: bytes, lens: Lens, headers: Sequence[Header] = ()) -> Answered | None:
    """Return what an answer says of itself. Raises Refused for what is neither an answer nor a readable error."""
    said = lens.answer(raw)
    if status >= 400:
        if said is None or not isinstance(said.error, Mapping):
            raise _foreign_error(status, raw, headers)
        return None
    if said is None or not (said.is_answer or said.error is not None):
        raise _not_an_answer(status, raw)
    if not said.is_answer:
        raise _error_within(status, said.error)
    return said


def view(status: int, lens: Lens, raw: bytes, parts: Parts = None) -> AnswerView:
    """Return a whole answer as policies see it; `parts` is how they look into it."""
    return AnswerView(status=status, body=raw, text=lens.text(raw), lens=parts)


def view_of_stream(status: int, lens: Lens, raw: bytes, parts: Parts = None) -> AnswerView:
    """Return a held stream as the policies for whole answers see it: the text of all its events."""
    text = "\n".join(texts_of(lens, raw).values())
    return AnswerView(status=status, body=raw, text=text, streamed=True, lens=parts)


def _not_an_answer(status: int, raw: bytes) -> Refused:
    what = "an empty body" if not raw else "a body that is not an answer in its dialect"
    return Refused(
        "provider_malformed_answer",
        f"The provider said {status} and sent {what}.",
        status=502,
        source="upstream",
    )


def _error_within(status: int, error: object) -> Refused:
    return Refused(
        "provider_error",
        f"The provider said {status} but answered with an error: {_message(error)}",
        status=502,
        source="upstream",
    )


def _foreign_error(status: int, raw: bytes, headers: Sequence[Header]) -> Refused:
    """A failure whose body is no error of the dialect: another server's JSON, or a page of HTML."""
    try:
        message = _message(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = "it sent no readable error"
    return Refused(
        "provider_error",
        f"The provider failed with status {status}: {message}",
        status=status,
        headers=[header for header in headers if not header[0].startswith(b"content-")],
        source="upstream",
    )


def _message(error: object) -> str:
    if isinstance(error, Mapping):
        found = next((error[key] for key in _ERROR_KEYS if isinstance(error.get(key), str)), "no message")
        return str(found)[:500]
    return str(error)[:500]
