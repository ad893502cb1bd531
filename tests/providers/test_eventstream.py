"""AWS's event stream, checked against the parser of AWS's own SDK, however the bytes are cut."""

import itertools
import json
import struct
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import example, given
from hypothesis import strategies as st

from trustgate.providers.eventstream import EVENT_STREAM, MAX_FRAME, Aligner

NAMES = ("messageStart", "contentBlockDelta", "contentBlockStop", "metadata", "etwas")
payloads = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20) | st.none(), max_size=4)
cuts = st.lists(st.integers(0, 900), max_size=12)


def made(name: str, said: dict[str, Any], **beside: Any) -> bytes:
    return EVENT_STREAM.frame(name, json.dumps({name: said, **beside}).encode())


frames = st.builds(made, st.sampled_from(NAMES), payloads)
streams = st.lists(frames, min_size=1, max_size=6)


def by_hand(headers: bytes, payload: bytes) -> bytes:
    """A frame as the specification has it, without our code."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return whole + struct.pack(">I", crc32(whole))


def header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({cut for cut in at if 0 < cut < len(data)}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def by_botocore(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer: Any = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


@given(streams)
def test_botocore_reads_what_is_framed(made_frames: list[bytes]) -> None:
    read = by_botocore(b"".join(made_frames))
    assert len(read) == len(made_frames)
    for frame, (headers, payload) in zip(made_frames, read, strict=True):
        name, data = EVENT_STREAM.event(frame)
        assert headers == {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
        assert json.loads(data) == {name: json.loads(payload)}


@given(streams, cuts)
def test_frames_come_back_whole_however_they_are_cut(made_frames: list[bytes], at: list[int]) -> None:
    stream, aligner, seen, fed = b"".join(made_frames), Aligner(), b"", 0
    ends = {0, *itertools.accumulate(len(frame) for frame in made_frames)}
    for piece in pieces(stream, at):
        fed += len(piece)
        seen += aligner.feed(piece)
        assert len(seen) == max(end for end in ends if end <= fed)
        assert aligner.size == fed - len(seen)
    assert (seen, aligner.size, aligner.take()) == (stream, 0, b"")
    assert EVENT_STREAM.split(stream) == made_frames


@given(streams, st.integers(0, 300), st.integers(0, 40))
def test_whole_frames_are_found_in_a_torn_stream(made_frames: list[bytes], begin: int, short: int) -> None:
    """As in the tail that is kept of a long stream: it may begin and end anywhere."""
    stream = b"".join(made_frames)
    end = max(begin, len(stream) - short)
    found = EVENT_STREAM.split(stream[begin:end])
    ends = itertools.accumulate(len(frame) for frame in made_frames)
    whole = [frame for frame, at in zip(made_frames, ends, strict=True) if begin <= at - len(frame) and at <= end]
    assert b"".join(found) == stream[begin:end]
    assert [frame for frame in found if EVENT_STREAM.event(frame)[0]] == whole


@given(st.binary(max_size=300), cuts)
@example(b"\0" * 300, [])
def test_no_bytes_are_too_odd(data: bytes, at: list[int]) -> None:
    aligner = Aligner()
    seen = b"".join(aligner.feed(piece) for piece in pieces(data, at)) if data else b""
    assert seen + aligner.take() == data
    assert b"".join(EVENT_STREAM.split(data)) == data
    EVENT_STREAM.event(data)
    EVENT_STREAM.with_data(data, data)
    EVENT_STREAM.frame("x", data)


@given(frames, st.integers(0, 10_000), st.integers(0, 7))
def test_a_wrong_bit_is_noticed(frame: bytes, place: int, bit: int) -> None:
    place %= len(frame)
    broken = frame[:place] + bytes([frame[place] ^ 1 << bit]) + frame[place + 1 :]
    aligner = Aligner()
    assert EVENT_STREAM.event(broken) == ("", b"")
    assert aligner.feed(broken + frame) == b""
    assert aligner.size >= len(frame)


@pytest.mark.parametrize("length", [MAX_FRAME, 2**32 - 1, 15])
def test_garbage_is_as_large_as_whoever_bounds_it_fears(length: int) -> None:
    lengths = struct.pack(">II", length, 0)
    aligner = Aligner()
    good = made("messageStop", {})
    assert aligner.feed(good + lengths + struct.pack(">I", crc32(lengths))) == good
    assert aligner.size >= MAX_FRAME
    assert aligner.feed(good) == b""
    assert aligner.take().endswith(good)
    assert aligner.size == 0
    assert aligner.feed(good) == good


def test_the_rest_of_a_frame_that_was_taken_passes_and_the_next_is_found() -> None:
    long, next_one = made("contentBlockDelta", {"text": "x" * 1000}), made("messageStop", {})
    aligner = Aligner()
    assert aligner.feed(long[:500]) == b""
    assert aligner.take() == long[:500]
    assert aligner.feed(long[500:600]) == long[500:600]
    assert aligner.feed(long[600:] + next_one + next_one[:20]) == long[600:] + next_one
    assert aligner.feed(next_one[20:]) == next_one


def test_other_data_leaves_the_headers_as_they_are() -> None:
    headers = header(":message-type", "event") + header(":event-type", "contentBlockDelta") + b"\x01x\x00"
    frame = by_hand(headers, b'{"delta":{"text":"a"}}')
    said = EVENT_STREAM.with_data(frame, b'{"contentBlockDelta":{"delta":{"text":"\xc3\xa4"}}}')
    assert said == by_hand(headers, b'{"delta":{"text":"\xc3\xa4"}}')


def test_headers_of_every_type_are_passed_over() -> None:
    values = [b"\x00", b"\x01", b"\x02a", b"\x03ab", b"\x04abcd", b"\x05abcdefgh", b"\x06\x00\x02ab", b"\x08abcdefgh"]
    values.append(b"\x09" + b"u" * 16)
    odd = b"".join(b"\x01" + bytes([97 + at]) + value for at, value in enumerate(values))
    frame = by_hand(odd + header(":message-type", "event") + header(":event-type", "metadata"), b"{}")
    assert by_botocore(frame)[0][0][":event-type"] == "metadata"
    assert EVENT_STREAM.event(frame) == ("metadata", b'{"metadata":{}}')


def test_a_payload_that_is_not_json_has_no_data() -> None:
    headers = header(":message-type", "event") + header(":event-type", "sound") + header(":content-type", "audio/wav")
    assert EVENT_STREAM.event(by_hand(headers, b"RIFF")) == ("sound", b"")


def test_an_empty_payload_is_an_empty_object() -> None:
    headers = header(":message-type", "event") + header(":event-type", "initial-response")
    assert EVENT_STREAM.event(by_hand(headers, b"")) == ("initial-response", b'{"initial-response":{}}')


def test_an_exception_says_what_it_is() -> None:
    headers = header(":exception-type", "throttlingException") + header(":message-type", "exception")
    name, data = EVENT_STREAM.event(by_hand(headers, b'{"message":"Too many requests"}'))
    assert name == "throttlingException"
    assert json.loads(data) == {
        "throttlingException": {"message": "Too many requests"},
        "error": {"type": "throttlingException", "message": "Too many requests"},
    }


@pytest.mark.parametrize("payload", [b"", b"not JSON", b"[1]", b'{"message":7}'])
def test_an_exception_without_a_message_is_one_too(payload: bytes) -> None:
    headers = header(":exception-type", "internalServerException") + header(":message-type", "exception")
    data = json.loads(EVENT_STREAM.event(by_hand(headers, payload))[1])
    assert data["error"] == {"type": "internalServerException", "message": ""}


def test_an_error_is_all_in_its_headers() -> None:
    headers = header(":message-type", "error") + header(":error-code", "E1") + header(":error-message", "Nein")
    name, data = EVENT_STREAM.event(by_hand(headers, b""))
    assert (name, json.loads(data)["error"]) == ("E1", {"type": "E1", "message": "Nein"})


def test_botocore_raises_the_exception_that_is_framed() -> None:
    frame = made("throttlingException", {"message": "langsam"}, error={"type": "x", "message": "langsam"})
    headers, payload = by_botocore(frame)[0]
    assert headers[":message-type"] == "exception"
    assert headers[":exception-type"] == "throttlingException"
    assert json.loads(payload) == {"message": "langsam"}
