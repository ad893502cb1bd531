"""The load generator: N connections in a closed loop, a fixed number of requests, every answer checked.

`python -m bench.load` is driven by JSON lines: `{"open": {...}}` sets the connections up, `{"run": n}` sends n requests
over them and answers with one line of figures. They stay open between runs: a warm-up warms what is measured.
"""

import asyncio
import gc
import json
import sys
from array import array
from base64 import b64decode
from collections import Counter
from time import perf_counter_ns
from typing import Any, cast

import httptools
import uvloop

from bench import wire

DIAL_AT_ONCE = 50
REDIALS = 1000


class Run:
    """One run's purse of requests to send and its harvest of latencies and errors."""

    def __init__(self, requests: int) -> None:
        self.to_send = requests
        self.to_finish = requests
        self.latencies = array("q")
        self.errors: Counter[str] = Counter()
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        """Take one request out of the purse; False when it is empty."""
        self.to_send -= 1
        return self.to_send >= 0

    def finish(self, nanoseconds: int, error: str) -> None:
        """Book one answered or failed request."""
        if error:
            self.errors[error] += 1
        else:
            self.latencies.append(nanoseconds)
        self.to_finish -= 1
        if self.to_finish == 0 and not self.done.done():
            self.done.set_result(None)


class Caller(asyncio.Protocol):
    """One connection: sends the next request as soon as the last one is answered."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.run: Run | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.started = 0
        self.open = True

    def send_next(self, run: Run) -> None:
        """Send one request of the run, if there is one left."""
        if not run.take():
            self.run = None
            return
        self.run = run
        self.started = perf_counter_ns()
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._broke(f"malformed answer: {error}")

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        run, took, body = self.run, perf_counter_ns() - self.started, b"".join(self.body)
        self.body.clear()
        if run is None:
            return
        run.finish(took, self._flaw(body))
        if self.parser.should_keep_alive():
            self.send_next(run)
        else:
            self.run = None
            self.load.redial(self, run)

    def _flaw(self, body: bytes) -> str:
        return self.load.flaw(self.parser.get_status_code(), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.run:
            self._broke("connection lost")

    def _broke(self, error: str) -> None:
        run, self.run = self.run, None
        if run:
            run.finish(0, error)
            self.load.redial(self, run)


class Load:
    """The connections to one gateway, and the request they all send."""

    def __init__(self, *, port: int, connections: int, request: str, stream: bool) -> None:
        self.port = port
        self.request = b64decode(request)
        self.stream = stream
        self.good = b""
        self.refusals: dict[int, bytes] = {}
        self.redials = 0
        self.callers = [Caller(self) for _ in range(connections)]
        self.tasks: set[asyncio.Task[None]] = set()

    def flaw(self, status: int, body: bytes) -> str:
        """Say what is wrong with an answer; a body equal to the last good one needs no second look."""
        if status != 200:
            return f"status {status}: {self.refusals.setdefault(status, body[:120]).decode(errors='replace')}"
        if body == self.good:
            return ""
        flaw = wire.flaw(body, stream=self.stream)
        if not flaw:
            self.good = body
        return flaw

    async def dial(self, caller: Caller) -> None:
        """Open one connection."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: caller, "127.0.0.1", self.port)

    async def dial_closed(self) -> None:
        """Open every connection that is not, a few at a time: a listener's backlog is short."""
        closed = [caller for caller in self.callers if not caller.open]
        for start in range(0, len(closed), DIAL_AT_ONCE):
            await asyncio.gather(*(self.dial(caller) for caller in closed[start : start + DIAL_AT_ONCE]))

    def redial(self, caller: Caller, run: Run) -> None:
        """Replace a connection that was closed on us, and go on."""
        task = asyncio.get_running_loop().create_task(self._redial(caller, run))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _redial(self, caller: Caller, run: Run) -> None:
        caller.transport.abort()
        self.redials += 1
        try:
            if self.redials > REDIALS:
                raise ConnectionError("too many connections closed")
            await self.dial(caller)
            caller.send_next(run)
        except OSError as error:
            while run.take():
                run.finish(0, f"cannot connect: {error}")

    def close(self) -> None:
        """Drop every connection."""
        for caller in self.callers:
            caller.run = None
            if caller.open:
                caller.transport.abort()

    async def measure(self, requests: int, *, limit: float) -> dict[str, Any]:
        """Send so many requests; whatever is unfinished after `limit` seconds is counted as an error."""
        run = Run(requests)
        try:
            await self.dial_closed()
        except OSError as error:
            run.errors[f"cannot connect: {error}"] = requests
            return figures(run, 0.0)
        gc.collect()
        gc.disable()
        started = perf_counter_ns()
        for caller in self.callers:
            caller.send_next(run)
        done, _ = await asyncio.wait([run.done], timeout=limit)
        seconds = (perf_counter_ns() - started) / 1e9
        gc.enable()
        if not done:
            run.errors[f"unfinished after {limit:.0f} s"] += run.to_finish
            self.close()
        return figures(run, seconds)


def figures(run: Run, seconds: float) -> dict[str, Any]:
    """Condense a run into the line that is sent back. Latencies are in ms."""
    ordered = sorted(run.latencies)
    good = len(ordered)
    at = [ordered[min(good - 1, int(good * share))] / 1e6 if good else None for share in (0.5, 0.99)]
    return {"good": good, "seconds": seconds, "p50": at[0], "p99": at[1], "errors": run.errors}


async def obey() -> None:
    """Read orders from standard input, one at a time, until it ends."""
    loop = asyncio.get_running_loop()
    load: Load | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        answer: dict[str, Any] = {}
        if "open" in order:
            if load:
                load.close()
            load = Load(**order["open"])
        elif load:
            answer = await load.measure(order["run"], limit=order["limit"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(obey())
