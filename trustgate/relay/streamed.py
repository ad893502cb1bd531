"""Live answers, piece by piece as they arrive, and never a broken one that looks whole.

Only complete events leave: when the provider breaks off in the middle of one, the caller gets an error event of its
dialect where the broken one would have been, and the connection does not end cleanly.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from trustgate.contract.context import Dialect
from trustgate.contract.errors import Refused
from trustgate.contract.lens import Lens
from trustgate.contract.speech import Hearing
from trustgate.contract.upstream import Header, Upstream, UpstreamFailure
from trustgate.contract.verdict import Deny
from trustgate.relay.render import denied, error_event
from trustgate.relay.tap import Tap

MAX_EVENT: Final = 8 * 1024 * 1024
"""Bytes of one event that are held until its end has come."""

Explain = Callable[[UpstreamFailure], Refused]
Judge = Callable[[int, str, bool], Awaitable[tuple[str | None, int] | Deny]]
"""Is told of a choice what it says now, and whether that is its end. Returns what becomes of that and of all that is
still held of it (None: nothing), and how many characters at its end are held from now on; or a refusal."""

INCOMPLETE: Final = Refused(
    "provider_incomplete_stream",
    "The provider ended its stream without finishing the answer.",
    status=502,
    source="upstream",
)


class Passing:
    """A stream that nobody judges: its very bytes, aligned to events."""

    __slots__ = (
        "_events",
        "_explain",
        "_lens",
        "_mend",
        "_over",
        "_request_id",
        "_unbounded",
        "_untouched",
        "_upstream",
        "complete",
        "dialect",
        "headers",
        "refused",
        "status",
        "tap",
    )

    def __init__(
        self,
        upstream: Upstream,
        headers: Sequence[Header],
        *,
        hearing: Hearing,
        dialect: Dialect,
        explain: Explain,
        request_id: str = "",
    ) -> None:
        self.status = upstream.status
        self.headers = headers
        self.tap = Tap(hearing.lens)
        self.complete = False
        self.refused: Refused | None = None
        self.dialect = dialect
        translated = hearing.live(upstream, self.tap.feed, self._render)
        self._upstream = translated or upstream
        self._untouched = translated is None
        self._explain = explain
        self._mend = hearing.mend
        self._unbounded = hearing.unbounded
        self._lens = hearing.caller
        self._events = self._lens.framing.aligner()
        self._request_id = request_id
        self._over = False

    async def chunk(self) -> bytes:
        """Return the next complete events, or `b""` at the end."""
        while not self._over:
            try:
                data = await self._upstream.chunk()
            except UpstreamFailure as failure:
                return self._fail(failure)
            if not data:
                return self._end()
            if self._untouched:
                self.tap.feed(data)
            whole = self._events.feed(data)
            if whole and self._mend is not None:
                whole = self._mend(whole)
            if whole:
                return whole
            if self._events.size > MAX_EVENT:
                return self._overlong()
        return b""

    async def aclose(self) -> None:
        """Stop the provider if it is still answering."""
        self._over = True
        await self._upstream.aclose()

    def _overlong(self) -> bytes:
        """An event longer than can be held passes in pieces."""
        return self._events.take()

    def _fail(self, failure: UpstreamFailure) -> bytes:
        """The provider broke off. Behind its last event that is no failure: all was said, it only hung up."""
        self.tap.read_end()
        if self.tap.last_seen and not self._events.size:
            self._over = self.complete = True
            return b""
        return self._break(self._explain(failure))

    def _end(self) -> bytes:
        """The provider ended: properly, or without having finished."""
        self._over = True
        self.complete = self.tap.read_end() or (self._unbounded and not self.tap.error)
        rest = self._events.take()
        if (self.complete or self.tap.error) and self._is_event(rest):
            return rest if self._mend is None else self._mend(rest)
        return self._break(INCOMPLETE)

    def _is_event(self, rest: bytes) -> bool:
        """Whether what stands behind the last blank line is an event that only lacks one, and not a torn one."""
        data = self._lens.framing.event(rest)[1]
        return not rest.strip(b"\r\n") or self._lens.last(data) or self._lens.answer(data) is not None

    def _break(self, refused: Refused) -> bytes:
        """End with an error event in the caller's dialect; what was begun and not finished is dropped."""
        if not self._over:
            self.tap.read_end()
        self._over = True
        self.complete = False
        self.refused = refused
        return self._render(refused)

    def _render(self, refused: Refused) -> bytes:
        return error_event(refused, self.dialect, self._lens.framing, self._request_id)


class Untouched(Passing):
    """Bytes that are no events: sound, pictures, whatever a passthrough brings. Their end is the end of the bytes."""

    __slots__ = ()

    async def chunk(self) -> bytes:
        """Return the next bytes, or `b""` at the end."""
        if self._over:
            return b""
        try:
            data = await self._upstream.chunk()
        except UpstreamFailure as failure:
            self._over, self.refused = True, self._explain(failure)
            return b""
        self.tap.bytes += len(data)
        self._over = self.complete = not data
        return data


OVERLONG: Final = Refused(
    "provider_answer_too_large",
    "The provider sent an event that is too long for the policies of this gateway to judge.",
    status=502,
    source="upstream",
)


class _Held:
    """One event that waits in the window: its bytes, its data, and the text in it by choice."""

    __slots__ = ("data", "raw", "texts")

    def __init__(self, raw: bytes, data: bytes, texts: Mapping[int, str]) -> None:
        self.raw = raw
        self.data = data
        self.texts = dict(texts)

    def say(self, choice: int, text: str, lens: Lens) -> None:
        """Say something else; an event that says the same keeps its bytes."""
        if self.texts[choice] != text:
            self.texts[choice] = text
            self.data = lens.rewritten(self.data, self.texts)
            self.raw = lens.framing.with_data(self.raw, self.data)


class Guarded(Passing):
    """A stream that policies judge as it passes. Text leaves once no policy of its choice holds it any more."""

    __slots__ = ("_finished", "_held", "_judge", "_spoken", "_window")

    def __init__(
        self,
        upstream: Upstream,
        headers: Sequence[Header],
        *,
        hearing: Hearing,
        dialect: Dialect,
        explain: Explain,
        judge: Judge,
        request_id: str = "",
    ) -> None:
        super().__init__(upstream, headers, hearing=hearing, dialect=dialect, explain=explain, request_id=request_id)
        self._judge = judge
        self._window: list[_Held] = []
        self._held: dict[int, int] = {}
        self._spoken: set[int] = set()
        self._finished: set[int] = set()

    async def chunk(self) -> bytes:
        """Return the next events that may leave, or `b""` at the end."""
        while not self._over:
            data = await super().chunk()
            if self.refused is not None:
                return data
            if released := await self._pass(data, final=self._over):
                return released
        return b""

    def _overlong(self) -> bytes:
        """What cannot be held cannot be judged."""
        return self._break(OVERLONG)

    async def _pass(self, data: bytes, *, final: bool) -> bytes:
        released: list[bytes] = []
        for event in self._lens.framing.split(data):
            stop = await self._take(event)
            if stop is not None:
                return b"".join(released) + await self._stop(stop)
            released += self._release()
        if final:
            stop = await self._finish(self._spoken)
            released += [await self._stop(stop)] if stop else self._release()
        return b"".join(released)

    async def _take(self, event: bytes) -> Deny | None:
        """Put one event into the window and have what it adds judged."""
        data = self._lens.framing.event(event)[1]
        said = self._lens.said(data)
        self._window.append(_Held(event, data, said.texts))
        self._spoken |= said.texts.keys()
        self._finished -= said.texts.keys()
        ended = self._spoken if self._lens.last(data) else said.finished & self._spoken
        for choice, text in said.texts.items():
            if stop := await self._look(choice, text, final=choice in ended):
                return stop
        self._finished |= ended & said.texts.keys()
        return await self._finish(ended)

    async def _finish(self, choices: AbstractSet[int]) -> Deny | None:
        """Have the last of these choices judged: nothing follows it, so nothing of it need wait."""
        for choice in choices - self._finished:
            if stop := await self._look(choice, "", final=True):
                return stop
            self._finished.add(choice)
        return None

    async def _look(self, choice: int, new: str, *, final: bool) -> Deny | None:
        verdict = await self._judge(choice, new, final)
        if isinstance(verdict, Deny):
            return verdict
        text, held = verdict
        if text is not None:
            self._say(choice, text, self._held.get(choice, 0) + len(new))
        self._held[choice] = held
        return None

    def _choices(self) -> set[int]:
        return {choice for held in self._window for choice in held.texts}

    def _say(self, choice: int, text: str, size: int) -> None:
        """Put a text in the place of the last `size` characters of the window: each event of these gets as much as it
        had of them, and the last one what is left."""
        events = [each for each in self._window if choice in each.texts]
        before = sum(len(each.texts[choice]) for each in events) - size
        for at, each in enumerate(events):
            had = each.texts[choice]
            kept = had[: max(0, before)]
            before -= len(had)
            share = len(had) - len(kept) if at < len(events) - 1 else len(text)
            if share:
                each.say(choice, kept + text[:share], self._lens)
                text = text[share:]
            elif at == len(events) - 1:
                each.say(choice, kept, self._lens)

    def _release(self) -> list[bytes]:
        behind = {choice: sum(len(each.texts.get(choice, "")) for each in self._window) for choice in self._choices()}
        free = 0
        for held in self._window:
            for choice, text in held.texts.items():
                behind[choice] -= len(text)
            if any(behind[choice] < self._held.get(choice, 0) for choice in held.texts):
                break
            free += 1
        released, self._window = self._window[:free], self._window[free:]
        return [held.raw for held in released]

    async def _stop(self, deny: Deny) -> bytes:
        self._window.clear()
        event = self._break(denied(deny))
        await self._upstream.aclose()
        return event


async def hold(upstream: Upstream, limit: int) -> list[bytes] | None:
    """Read a stream to its end, for policies that judge only whole answers. None when it is larger than `limit`."""
    parts: list[bytes] = []
    size = 0
    while part := await upstream.chunk():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return parts


class Kept:
    """A stream that is there as a whole, as the upstream that it was."""

    __slots__ = ("_parts", "headers", "status")

    def __init__(self, status: int, headers: Sequence[Header], parts: Sequence[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._parts = list(reversed(parts))

    async def chunk(self) -> bytes:
        """Return the next piece."""
        return self._parts.pop() if self._parts else b""

    async def read(self) -> bytes:
        """Return what is left."""
        rest, self._parts = b"".join(reversed(self._parts)), []
        return rest

    async def aclose(self) -> None:
        """Nothing is open."""
