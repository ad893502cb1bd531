"""Streams to relay: their events, upstreams that deliver and break them as they are told, and what came out."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from trustgate.contract import sse
from trustgate.contract.context import Chunk
from trustgate.contract.policy import PolicyRef
from trustgate.contract.speech import Verbatim
from trustgate.contract.upstream import Header, Upstream, UpstreamFailure, read_out
from trustgate.contract.verdict import Deny, Rewrite
from trustgate.enforcement.chain import Link
from trustgate.enforcement.sieve import Sieve
from trustgate.forwarding.failures import refusal
from trustgate.providers.lenses import openai
from trustgate.relay.streamed import Guarded, Passing
from trustgate.state.memory import MemoryLimiter

LENS = openai.LENS
DONE = b"data: [DONE]\n\n"
USAGE: dict[str, Any] = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
EVENT_STREAM: Sequence[Header] = ((b"content-type", b"text/event-stream"),)


def data(fields: object, end: str = "\n") -> bytes:
    return f"data: {json.dumps(fields)}{end}{end}".encode()


def says(text: str | None, choice: int = 0, *, finish: str | None = None, **fields: Any) -> bytes:
    """Return an event in which one choice says something, or finishes."""
    delta = {} if text is None else {"content": text}
    return data({"choices": [{"index": choice, "delta": delta, "finish_reason": finish}], **fields})


def ends(*, usage: bool = True, done: bool = True) -> list[bytes]:
    events = [says(None, finish="stop", model="m-1")]
    if usage:
        events.append(data({"choices": [], "usage": USAGE}))
    return [*events, DONE] if done else events


def answer(*texts: str, usage: bool = True, done: bool = True) -> list[bytes]:
    """Return the events of a usual answer."""
    first = data({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
    return [first, *map(says, texts), *ends(usage=usage, done=done)]


class Scripted:
    """An upstream that delivers its pieces, then ends, or breaks."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        breaks: UpstreamFailure | None = None,
        *,
        status: int = 200,
        headers: Sequence[Header] = EVENT_STREAM,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.closed = 0
        self.fed = b""
        self._pieces = list(pieces)
        self._breaks = breaks
        self._before = before

    async def chunk(self) -> bytes:
        if self._before is not None:
            self._before()
        if not self._pieces:
            if self._breaks is not None:
                raise self._breaks
            return b""
        piece = self._pieces.pop(0)
        self.fed += piece
        return piece

    async def read(self) -> bytes:
        return await read_out(self)

    async def aclose(self) -> None:
        self.closed += 1


Judge = Callable[[Chunk], Rewrite | Deny | None]


def explain(failure: UpstreamFailure) -> Any:
    return refusal(failure, "openai")


def passing(upstream: Upstream) -> Passing:
    return Passing(upstream, upstream.headers, hearing=Verbatim(LENS), dialect="openai", explain=explain)


def holding(hold_back: int) -> Link:
    """A policy that holds back so many characters."""

    async def call(*_: object) -> None:
        raise AssertionError("whoever asks it is the sieve's `ask`")

    policy = PolicyRef(id="p", name="p", slug="p", is_global=False, mode="enforce")
    return Link(
        policy=policy,
        stage="on_chunk",
        call=call,
        on_error="deny",
        timeout=1.0,
        limiter=MemoryLimiter(),
        hold_back=hold_back,
    )


def guarded(upstream: Scripted, judge: Judge, hold_back: int = 0) -> Guarded:
    async def ask(_link: Link, chunk: Chunk) -> Rewrite | Deny | None:
        return judge(chunk)

    sieve = Sieve([holding(hold_back)], ask)

    async def judging(choice: int, text: str, final: bool) -> tuple[str | None, int] | Deny:
        sifted = await sieve.feed(choice, text, final=final)
        return sifted if isinstance(sifted, Deny) else (sifted.text, sifted.held)

    return Guarded(
        upstream,
        upstream.headers,
        hearing=Verbatim(LENS),
        dialect="openai",
        explain=explain,
        judge=judging,
    )


async def drain(live: Passing) -> list[bytes]:
    """Read a live answer to its end, which stays the end."""
    pieces = []
    while piece := await live.chunk():
        pieces.append(piece)
    assert await live.chunk() == b""
    return pieces


class Said(Struct):
    """One event of an output."""

    raw: bytes
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def events(output: bytes) -> list[Said]:
    return [Said(raw, sse.data_of(raw)) for raw in sse.split(output)]


def text_of(output: bytes, choice: int = 0) -> str:
    """Return what one choice said, as a caller's SDK would add it up."""
    said = ""
    for event in events(output):
        if event.data not in (b"", b"[DONE]"):
            for one in event.json.get("choices", ()):
                if one.get("index", 0) == choice:
                    said += (one.get("delta") or {}).get("content") or ""
    return said


def error_of(output: bytes) -> Any:
    """Return the error that an output ends with."""
    return events(output)[-1].json["error"]


def whole_events(raw: bytes) -> bytes:
    return raw[: sse.last_end(raw)]


@st.composite
def cut(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw bytes in pieces of any sizes, none of them empty."""
    raw = draw(whole)
    style = draw(st.sampled_from(("bytes", "few", "many")))
    if style == "bytes":
        return [raw[at : at + 1] for at in range(len(raw))]
    most = 3 if style == "few" else 40
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=most)))
    return [piece for piece in (raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)) if piece]
