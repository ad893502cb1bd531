"""The event log: a line an event, whatever the stream and the event do; and a blocked reader blocks nobody."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trustgate.contract.event import Event, PolicyFinding
from trustgate.telemetry.log import LogSink, open_log
from trustgate.telemetry.record import build_event

from .conftest import closed

pytestmark = pytest.mark.anyio


def events(count: int, *, first: int = 0) -> list[Event]:
    return [build_event(closed(number)) for number in range(first, first + count)]


def trace_ids(lines: bytes) -> list[int]:
    return [int(msgspec.json.decode(line, type=Event).trace_id, 16) for line in lines.splitlines()]


def with_details(event: Event, details: Any) -> Event:
    finding = PolicyFinding(
        name="odd",
        slug="odd",
        policy_id="policy-1",
        stage="pre_request",
        mode="enforce",
        decision="allowed",
        latency_ms=0.1,
        error=False,
        flagged=False,
        details=details,
    )
    return msgspec.structs.replace(event, policy_chain=(finding,))


async def write(path: Path, *batches: Sequence[Event]) -> bytes:
    sink = LogSink(open_log(str(path)))
    for batch in batches:
        await sink.deliver(batch)
    await sink.aclose()
    return await asyncio.to_thread(path.read_bytes)


async def test_a_line_an_event(tmp_path: Path) -> None:
    lines = await write(tmp_path / "deep" / "events.jsonl", events(3), events(2, first=3))
    assert trace_ids(lines) == [0, 1, 2, 3, 4]
    assert lines.endswith(b"}\n")


async def test_a_file_is_appended_to_and_not_for_everybody_to_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await write(path, events(1))
    assert trace_ids(await write(path, events(1, first=1))) == [0, 1]
    assert path.stat().st_mode & 0o007 == 0


async def test_details_of_any_kind_are_written_somehow(tmp_path: Path) -> None:
    lines = await write(tmp_path / "events.jsonl", [with_details(events(1)[0], {"path": Path("/x"), "n": 1})])
    (finding,) = msgspec.json.decode(lines)["policy_chain"]
    assert finding["details"] == {"path": "/x", "n": 1}


async def test_an_event_that_cannot_be_written_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    one, two, three = events(3)
    lines = await write(tmp_path / "events.jsonl", [one, with_details(two, endless), three])
    assert trace_ids(lines) == [0, 1, 2]
    assert "is not JSON" in caplog.text


async def test_a_blocked_reader_blocks_nobody_and_loses_nothing() -> None:
    reader, writer = os.pipe()
    sink = LogSink(io.FileIO(writer, "w"))
    batch = events(2000)
    delivery = asyncio.create_task(sink.deliver(batch))
    await asyncio.sleep(0.05)
    assert not delivery.done(), "the pipe should have been too small"
    read = await asyncio.to_thread(_read_lines, reader, len(batch))
    await delivery
    await sink.aclose()
    os.close(reader)
    assert trace_ids(read) == list(range(2000))


def _read_lines(descriptor: int, count: int) -> bytes:
    read = b""
    while read.count(b"\n") < count:
        read += os.read(descriptor, 65536)
    return read


class Torn(io.RawIOBase):
    """Takes a few bytes at a time, and fails at chosen calls."""

    def __init__(self, fail_at: set[int]) -> None:
        super().__init__()
        self.written = b""
        self._calls = 0
        self._fail_at = fail_at

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int | None:
        self._calls += 1
        if self._calls in self._fail_at:
            raise OSError(28, "No space left on device")
        if self._calls % 5 == 0:
            return None
        piece = bytes(data[:100])
        self.written += piece
        return len(piece)


async def test_a_slow_stream_gets_everything_in_the_end() -> None:
    stream = Torn(set())
    sink = LogSink(stream)
    await sink.deliver(events(5))
    await sink.aclose()
    assert trace_ids(stream.written) == list(range(5))


async def test_after_a_failed_write_the_batch_can_be_written_again_on_a_line_of_its_own() -> None:
    stream = Torn({3})
    sink = LogSink(stream)
    with pytest.raises(OSError, match="No space"):
        await sink.deliver(events(2))
    await sink.deliver(events(2))
    await sink.aclose()
    torn, *whole = stream.written.splitlines()
    assert len(torn) == 200
    assert trace_ids(b"\n".join(whole)) == [0, 1]


def test_standard_streams_are_not_closed_with_the_sink() -> None:
    program = (
        "import asyncio\n"
        "from trustgate.telemetry.log import LogSink, open_log\n"
        "asyncio.run(LogSink(open_log('stdout')).aclose())\n"
        "print('still here')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "still here\n"


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    program = (
        "import asyncio\n"
        "from trustgate.telemetry.fanout import Fanout\n"
        "from trustgate.telemetry.log import LogSink, open_log\n"
        "from trustgate.telemetry.record import Record\n"
        "async def main():\n"
        "    fanout = Fanout({'log': LogSink(open_log('stdout'))}, 10_000)\n"
        "    fanout.start()\n"
        "    for _ in range(5000):\n"
        "        Record(started=1.0).close_with(fanout.emit)\n"
        "    await fanout.aclose(0.2)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
