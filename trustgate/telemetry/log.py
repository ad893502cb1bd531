"""Events as JSON lines on a stream: one encoding and one write a batch; a thread writes, for a full pipe blocks.

The thread is a daemon and the stream is raw: a reader that never reads again must not keep the process from ending.
"""

import asyncio
import contextlib
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import msgspec

from trustgate.contract.event import Event

logger = logging.getLogger(__name__)

Job = Callable[[], None]
STANDARD = {"stdout": 1, "stderr": 2}


class LogSink:
    """Writes each event as one line. A line torn by a failed write is ended before the next."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._torn = False
        self._thread: threading.Thread | None = None

    async def deliver(self, events: Sequence[Event]) -> None:
        """Write the batch. Raises OSError when the stream cannot take it."""
        # encoded here: two threads that both want the interpreter cost more than the encoding
        lines = self._encode(events)
        await self._on_thread(lambda: self._write(lines))

    async def aclose(self) -> None:
        """Close the stream and end the thread."""
        await self._on_thread(self._stream.close)
        self._jobs.put(None)

    def _encode(self, events: Sequence[Event]) -> bytes:
        try:
            return self._encoder.encode_lines(events)
        except Exception:  # noqa: BLE001 - a plugin's details can be anything; they must not cost the batch
            return b"".join(self._encode_anyway(event) for event in events)

    def _encode_anyway(self, event: Event) -> bytes:
        try:
            return self._encoder.encode(event) + b"\n"
        except Exception as error:  # noqa: BLE001 - as above; what is known to be plain is written
            logger.warning("event %s has something that is not JSON: %r", event.trace_id, error)
            return self._encoder.encode(msgspec.structs.replace(event, policy_chain=())) + b"\n"

    def _write(self, lines: bytes) -> None:
        rest = memoryview(b"\n" + lines if self._torn else lines)
        self._torn = True
        while rest:
            written = self._stream.write(rest)
            if written is None:
                # a pipe somebody made non-blocking is full: this thread is here to wait
                time.sleep(0.01)
            rest = rest[written or 0 :]
        self._torn = False

    async def _on_thread(self, work: Job) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def job() -> None:
            error = _failure(work)
            # the loop may have been closed by an impatient end of the process
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, error)

        if self._thread is None:
            # not before it is needed: a thread does not survive a fork
            self._thread = threading.Thread(target=self._work, name="event log", daemon=True)
            self._thread.start()
        self._jobs.put(job)
        await done

    def _work(self) -> None:
        while job := self._jobs.get():
            job()


def open_log(where: str) -> io.RawIOBase:
    """Open `stdout`, `stderr` or a file to append to. Raises OSError."""
    if where in STANDARD:
        return io.FileIO(STANDARD[where], "w", closefd=False)
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    return io.FileIO(os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "a")


def _failure(work: Job) -> Exception | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - carried over to whoever awaits the job
        return error
    return None


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error:
        done.set_exception(error)
    else:
        done.set_result(None)
