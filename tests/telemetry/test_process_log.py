"""Our own log: no credential gets into it, in whatever part of a record it comes."""

import io
import logging
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.telemetry.process_log import MASK, configure_logging, redact

KEY = "ag_" + "RK7zhFLl47Ma22pDH0J4xQ3e7zQe4uylE-pxAVYbtlk"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str, *arguments: Any, level: str = "INFO", **given: Any) -> str:
    stream = io.StringIO()
    configure_logging(level, form, stream)
    logging.getLogger("trustgate.test").info(*arguments, **given)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {KEY} is unknown", KEY),
        (f"Authorization: Bearer {KEY}", KEY),
        ("authorization: bearer abc.def-ghi", "abc.def-ghi"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("using sk-proj-abcdefgh12345678", "abcdefgh12345678"),
        ("using sk-ant-api03-abcdefgh12345678", "abcdefgh12345678"),
        ("x-api-key=abcdef123456", "abcdef123456"),
        ('{"api_key": "abcdef123456"}', "abcdef123456"),
        ("{'client_secret': 'abcdef123456'}", "abcdef123456"),
        ("password=hunter2!", "hunter2!"),
        ("SERVER_SECRET_KEY=0123456789abcdef", "0123456789abcdef"),
        ("postgres://trustgate:hunter2@db/x", "hunter2"),
        ("https://proxy:hunter2@10.0.0.1:3128", "hunter2"),
        ("google AIzaSyA1234567890abcdefghijklmn", "SyA1234567890abcdefghijklmn"),
        ("aws AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "eyJzdWIiOi"),
        ("groq gsk_abcdefghijklmnopqrstuv", "abcdefghijklmnopqrstuv"),
    ],
)
def test_credentials_are_masked(text: str, secret: str) -> None:
    masked = redact(text)
    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "gateway demo: 12 tokens in, 34 out",
        "GET http://127.0.0.1:8080/healthz 200",
        "task-12 asked for the ag_ prefix",
        "the disk-based sk- store",
        "token count: 45, secret rotation every 30d",
        "https://user@example.com:8080/path and http://[::1]:8081/x@y",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("form", ["json", "text"])
def test_masked_in_message_arguments_and_traceback(form: str) -> None:
    assert KEY not in written(form, f"got {KEY}")
    assert KEY not in written(form, "got %s for %r", KEY, {"api_key": KEY})
    try:
        raise ValueError(f"what is {KEY}?")
    except ValueError:
        line = written(form, "failed", exc_info=True)
    assert KEY not in line
    assert "ValueError" in line
    assert MASK in line


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20), st.text(max_size=20))
def test_no_key_of_ours_survives_wherever_it_stands(key: bytes, before: str, after: str) -> None:
    made = "ag_" + urlsafe_b64encode(key).decode().rstrip("=")
    assert made not in redact(f"{before} {made} {after}")


def test_a_json_line_is_one_object_on_one_line() -> None:
    line = written("json", "two\nlines and a %s", '"quote"')
    assert line.count("\n") == 1
    decoded = msgspec.json.decode(line)
    assert decoded["message"] == 'two\nlines and a "quote"'
    assert (decoded["level"], decoded["logger"]) == ("info", "trustgate.test")
    assert decoded["time"].endswith("Z")


def test_below_the_level_nothing_is_written() -> None:
    assert written("text", "quiet", level="WARNING") == ""


def test_configuring_again_does_not_write_twice() -> None:
    written("text", "once")
    assert written("text", "again").count("again") == 1
