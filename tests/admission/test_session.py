"""Session ids: told by a header, told by a field, or made: a UUID version 7 that sorts by time."""

import json
import re
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.admission.session import LONGEST, session_id
from trustgate.contract.chance import uuid7
from trustgate.contract.context import Body

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
HEADER = b"x-session-id"


def asked(headers: dict[bytes, bytes], body: object = None, *, header: bytes = HEADER, param: str = "session") -> str:
    raw = b"" if body is None else json.dumps(body).encode()
    return session_id(headers, Body(raw), header=header, param=param)


def is_new(found: str) -> bool:
    return UUID7.fullmatch(found) is not None


def test_new_ones_are_uuids_of_version_7() -> None:
    found = [uuid7() for _ in range(2000)]
    assert all(map(is_new, found))
    assert len(set(found)) == len(found)
    parsed = uuid.UUID(found[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert {one[19] for one in found} == set("89ab"), "the variant's two free bits are random"


def test_new_ones_sort_by_time() -> None:
    def moment(of: str) -> int:
        return int(of.replace("-", "")[:12], 16)

    before = time.time_ns() // 1_000_000
    moments = [moment(uuid7()) for _ in range(500)]
    after = time.time_ns() // 1_000_000
    assert moments == sorted(moments)
    assert before <= moments[0] <= moments[-1] <= after


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        ({HEADER: b"mine"}, None, "mine"),
        ({HEADER: b"mine"}, {"session": "other"}, "mine"),
        ({}, {"session": "from the body"}, "from the body"),
        ({HEADER: b""}, {"session": "from the body"}, "from the body"),
        ({HEADER: b"x" * 1000}, None, "x" * LONGEST),
        ({}, {"session": "y" * 1000}, "y" * LONGEST),
        ({HEADER: b"caf\xe9"}, None, "café"),
    ],
)
def test_told(headers: dict[bytes, bytes], body: object, found: str) -> None:
    assert asked(headers, body) == found


NO_SESSIONS: tuple[object, ...] = (1, None, True, ["a"], {}, "tür", "two\nlines", "nul\x00", "😀")


@pytest.mark.parametrize("body", [None, {}, *({"session": value} for value in NO_SESSIONS)])
def test_what_is_no_session_id_makes_a_new_one(body: object) -> None:
    assert is_new(asked({}, body))


def test_an_empty_field_is_no_session_id() -> None:
    assert is_new(asked({}, {"session": ""}))


def test_a_field_is_read_only_where_one_is_named() -> None:
    assert is_new(asked({}, {"": "odd", "session": "other"}, param=""))


def test_another_header_can_be_named() -> None:
    assert asked({b"x-thread": b"mine"}, header=b"x-thread") == "mine"


def test_switched_off() -> None:
    assert asked({HEADER: b"mine"}, {"session": "other"}, header=b"") == ""


@given(st.binary(min_size=1, max_size=400).map(lambda raw: raw.translate(None, b"\r\n\x00")))
@settings(deadline=None, max_examples=100)
def test_any_header_can_be_said_back(told: bytes) -> None:
    found = asked({HEADER: told}) if told else "x"
    assert len(found.encode("latin-1")) <= max(LONGEST, 36)
