"""One fault through a whole proxy over real sockets: what the caller saw, who was asked, what was billed."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from msgspec import Struct

from tests.e2e.upstream import Upstream
from tests.failover.faults import FAULTS, GOOD, good
from tests.lifecycle.kit import House, Line, Told, configured, consumer, registry
from tests.plugins.talk import DIALECTS, Turn, refusal_of, said, text_of
from trustgate.contract.upstream import Call, Clocks
from trustgate.contract.upstream import Upstream as Answering
from trustgate.forwarding.transport import Pool
from trustgate.settings import Limits
from trustgate.telemetry.record import build_event

Form = Literal["plain", "streamed"]
CLOCKS = Clocks(connect=2.0, first_byte=0.4, idle=0.4, total=8.0)


class Seen(Struct, frozen=True):
    """What came of one request: for the caller, in calls to the faulty and to the other provider, on the bill."""

    caller: str
    calls: tuple[int, int]
    billed: str


class Sockets(Line):
    """A line that leads over real sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = Pool()

    async def send(self, call: Call) -> Answering:
        return await self._pool.send(call)

    async def aclose(self) -> None:
        await self._pool.aclose()


@contextmanager
def upstream(fault: str | None) -> Iterator[tuple[int, Upstream | None]]:
    """Run a provider, a good one where there is no fault."""
    made = FAULTS[fault] if fault is not None else (lambda: good)
    if made is None:
        with socket.socket() as plug:  # bound, so that nobody else gets it, and not listening
            plug.bind(("127.0.0.1", 0))
            yield plug.getsockname()[1], None
        return
    with Upstream() as running:
        running.script = made()
        yield running.port, running


async def seen(fault: str, form: Form, *, alone: bool) -> dict[str, Seen]:
    """Ask once in each dialect through a fresh proxy, whose other provider is good.

    Each dialect asks for a model of its own, so that what one learns of a provider is nothing to the others.
    """
    with upstream(fault) as (port, faulty), upstream(None) as (other_port, other):
        ports = {"r1": port} if alone else {"r1": port, "r2": other_port}
        records = configured(
            *(registry(name, provider_options={"base_url": f"http://127.0.0.1:{at}/v1"}) for name, at in ports.items()),
            consumer(*ports),
        )
        line = Sockets()
        house = House(line, records=records, limits=Limits(), clocks=CLOCKS)
        try:
            async with asyncio.timeout(30):
                told = await asyncio.gather(*(_ask(house, dialect, form) for dialect in DIALECTS))
            await house.settled()
        finally:
            await line.aclose()
        assert other is not None
        found = {}
        for dialect, answer in zip(DIALECTS, told, strict=True):
            (record,) = [each for each in house.records if each.requested_model == f"m-{dialect}"]
            event = build_event(record)
            to_other = _calls(other, dialect)
            to_faulty = len(event.attempts) - to_other if faulty is None else _calls(faulty, dialect)
            assert len(event.attempts) == to_faulty + to_other, "each call is in the event"
            assert all(each.failure or each.status_code for each in event.attempts)
            found[dialect] = Seen(_caller(dialect, answer), (to_faulty, to_other), _billed(event.usage))
        return found


async def _ask(house: House, dialect: str, form: Form) -> Told:
    asked = said(dialect, Turn(stream=form == "streamed", model=f"m-{dialect}"))
    return await house.caller(asked.body, path=asked.path, query=asked.query, within=30.0).call()


def _calls(provider: Upstream, dialect: str) -> int:
    assert not provider.errors, provider.errors
    return sum(exchange.json()["model"] == f"m-{dialect}" for exchange in provider.seen)


def _billed(usage: object) -> str:
    total = getattr(usage, "total_tokens", 0)
    if not total:
        return "nothing"
    return "what passed" if getattr(usage, "estimated", False) else "the answer"


def _caller(dialect: str, told: Told) -> str:
    streamed = told.header(b"content-type").startswith("text/event-stream")
    if told.status == 200 and told.ended:
        text = text_of(dialect, told)
        assert text == GOOD, text
        return "the answer"
    message = refusal_of(dialect, told)
    assert message
    if streamed:
        assert told.status == 200
        assert not told.ended, "a broken stream never looks complete"
        return "its beginning, then an error event"
    assert told.ended
    retry = told.header(b"retry-after")
    return f"{told.status}" + (f", `Retry-After: {retry}`" if retry else "")
