"""Hearing a provider's answer in the caller's dialect: whole, as a stream event by event, and its errors."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.contract.errors import Refused
from trustgate.contract.framing import Framing
from trustgate.contract.lens import Lens
from trustgate.contract.speech import Watch
from trustgate.contract.upstream import Header, Upstream, UpstreamFailure, read_out
from trustgate.providers.dialects import lens_of
from trustgate.providers.faults import event_fault, read_fault
from trustgate.providers.hub import CallerStream, HubStream, Inward, Json, Moment, Outward
from trustgate.providers.lenses.openai import DONE
from trustgate.providers.repairs import Repair

MAX_EVENT: Final = 8 * 1024 * 1024
"""Bytes of one event of a provider; a longer one cannot be translated."""
_ENDS_WITH_DONE: Final = frozenset(("chat_completions", "completions"))
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class Translated(Struct, frozen=True, kw_only=True):
    """A hearing across dialects: `operation` is what the caller asked, `spoken` what the provider was told."""

    operation: str
    spoken: str
    into: Inward
    out: Outward
    said: Json
    hub: Json
    moment: Moment
    repair: Repair | None = None

    @property
    def lens(self) -> Lens:
        """Looks into what the provider says."""
        return lens_of(self.spoken)

    @property
    def caller(self) -> Lens:
        """Looks into what the caller hears."""
        return lens_of(self.operation)

    @property
    def mend(self) -> Callable[[bytes], bytes] | None:
        """Translations mend on their way."""
        return None

    @property
    def unbounded(self) -> bool:
        """Every dialect says when it has finished."""
        return False

    def whole(self, raw: bytes) -> bytes:
        """Return a whole good answer as the caller hears it. Raises Refused for one that is no object."""
        found = _decode(self.repair.answer(raw) if self.repair else raw)
        if not isinstance(found, dict):
            raise Refused("provider_malformed_answer", "The provider's answer is no object.", status=502)
        return _encode(self.into.answer(self.out.answer(found, self.hub, self.moment), self.said, self.moment))

    def fault(self, status: int, raw: bytes, headers: Sequence[Header]) -> Refused | None:
        """Return an error as it is to be rendered."""
        return read_fault(status, raw, headers)

    def live(self, upstream: Upstream, watch: Watch, render: Callable[[Refused], bytes]) -> Upstream | None:
        """Return the stream in the caller's dialect."""
        return Interpreter(
            upstream,
            watch,
            render,
            hears=self.out.stream(self.hub, self.moment),
            speaks=self.into.stream(self.said, self.moment),
            lens=self.lens,
            framing=self.caller.framing,
            repair=self.repair,
            done=self.operation in _ENDS_WITH_DONE,
        )


class Interpreter:
    """An `Upstream` that says what another says, in other words, event by event, as soon as it is said.

    At a proper end it says how such a stream ends in the caller's dialect; at any other it says nothing more, and
    whoever reads it sees that the end is missing.
    """

    __slots__ = (
        *("_closed", "_done", "_ended", "_events", "_framing", "_hears", "_lens", "_render", "_repair", "_speaks"),
        *("_upstream", "_watch", "headers", "status"),
    )

    def __init__(
        self,
        upstream: Upstream,
        watch: Watch,
        render: Callable[[Refused], bytes],
        *,
        hears: HubStream,
        speaks: CallerStream,
        lens: Lens,
        framing: Framing,
        repair: Repair | None,
        done: bool,
    ) -> None:
        self.status = upstream.status
        self.headers: Sequence[Header] = upstream.headers
        self._upstream = upstream
        self._watch = watch
        self._render = render
        self._hears = hears
        self._speaks = speaks
        self._lens = lens
        self._framing = framing
        self._repair = repair
        self._done = done
        self._events = lens.framing.aligner()
        self._ended = False
        self._closed = False

    @property
    def _finished(self) -> bool:
        """Whether the provider's end has come: its own event, or `[DONE]`, before which some name no finish reason."""
        return self._closed or self._hears.finished

    async def chunk(self) -> bytes:
        """Return the next events, `b""` at the end. Raises UpstreamFailure when the provider breaks off before its."""
        while not self._ended:
            try:
                data = await self._upstream.chunk()
            except UpstreamFailure:
                if not self._finished:
                    raise
                data = b""
            if not data:
                return self._end()
            self._watch(data)
            if said := self._interpreted(self._events.feed(data)):
                return said
            if self._events.size > MAX_EVENT:
                raise UpstreamFailure("malformed_answer", f"an event of more than {MAX_EVENT} bytes")
        return b""

    async def read(self) -> bytes:
        """Read all that is still to come."""
        return await read_out(self)

    async def aclose(self) -> None:
        """Stop the provider if it is still answering."""
        await self._upstream.aclose()

    def _interpreted(self, events: bytes) -> bytes:
        said: list[bytes] = []
        framing = self._lens.framing
        for event in framing.split(events) if events else ():
            name, data = framing.event(event)
            if data and not self._ended:
                said += self._hear(name, data)
        return b"".join(said)

    def _hear(self, name: str, data: bytes) -> Sequence[bytes]:
        if data == DONE:
            self._closed = True
            return ()
        fields = self._parsed(data)
        if fault := event_fault(fields):
            self._ended = True
            return (self._render(fault),)
        return [
            self._framing.frame(event, _encode(told))
            for chunk in self._hears.feed(name, fields)
            for event, told in self._speaks.feed(chunk)
        ]

    def _parsed(self, data: bytes) -> Json:
        try:
            found = _decode(self._repair.event(data) if self._repair else data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamFailure("malformed_answer", "an event that is not JSON") from error
        if not isinstance(found, dict):
            raise UpstreamFailure("malformed_answer", "an event that is no object")
        return found

    def _end(self) -> bytes:
        rest = self._events.take()
        said = self._interpreted(rest) if rest.strip() and self._is_whole(rest) else b""
        if self._ended or not self._finished:
            self._ended = True
            return said
        self._ended = True
        last = [event for chunk in self._hears.end() for event in self._speaks.feed(chunk)]
        frames = [self._framing.frame(name, _encode(told)) for name, told in (*last, *self._speaks.end())]
        if self._done:
            frames.append(self._framing.frame("", DONE))
        return said + b"".join(frames)

    def _is_whole(self, rest: bytes) -> bool:
        """Whether what stands behind the last end of an event is an event that only lacks its own."""
        return self._lens.answer(self._lens.framing.event(rest)[1]) is not None


class _Trim(Struct):
    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw()


_trim: Final = msgspec.json.Decoder(_Trim)


def mending(framing: Framing, repair: Repair | None, *, trims: bool) -> Callable[[bytes], bytes]:
    """Return what puts right complete events: a provider's deviations, and usage that the caller has not asked for."""

    def mend(events: bytes) -> bytes:
        if repair is None and b'"usage"' not in events:
            return events
        return b"".join(mended(event) for event in framing.split(events))

    def mended(event: bytes) -> bytes:
        data = framing.event(event)[1]
        if not data or data == DONE:
            return event
        if trims and _is_usage_only(data):
            return b""
        right = repair.event(data) if repair else data
        return event if right is data or right == data else framing.with_data(event, right)

    return mend


def _is_usage_only(data: bytes) -> bool:
    try:
        found = _trim.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return found.choices == [] and bytes(found.usage) not in (b"", b"null")
