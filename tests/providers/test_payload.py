"""Large payloads: taken out, put back, and never copied on the way."""

import base64
import json
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.contract.upstream import pieces
from trustgate.providers.payload import LARGE, lift

MARK = "0123456789abcdef0123456789abcdef"
BIG = base64.b64encode(bytes(range(256)) * 300).decode()


def joined(payload: Any) -> bytes:
    return b"".join(pieces(payload))


def test_an_image_gives_way_to_a_stand_in_and_comes_back() -> None:
    body = {"a": [{"url": f"data:image/png;base64,{BIG}", "text": "hi"}], "data": BIG}
    lifted = lift(json.dumps(body).encode(), MARK)
    small = json.loads(lifted.raw)
    assert len(lifted.raw) < 300
    assert small["a"][0]["url"].startswith("data:image/png;base64,~payload.")
    moved = {"source": {"data": small["a"][0]["url"].partition(",")[2]}, "again": small["data"]}
    assert json.loads(joined(lifted.lower(moved))) == {"source": {"data": BIG}, "again": BIG}


def test_text_stays_where_it_is() -> None:
    for text in ("word " * LARGE, "x" * LARGE * 2 + ", and", "a\\nb" * LARGE, "[1,2]" * LARGE):
        raw = json.dumps({"input": text, "numbers": list(range(30_000)), "model": "m"}).encode()
        lifted = lift(raw, MARK)
        assert lifted.raw is raw
        assert joined(lifted.fill(raw)) == raw


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.text(max_size=20)
        | st.sampled_from([BIG, f"data:a/b;base64,{BIG}", "~payload.x.0~", f"~payload.{MARK[::-1]}.0~"]),
    )
)
@settings(deadline=None, max_examples=60)
def test_there_and_back_is_the_same(body: dict[str, str]) -> None:
    raw = json.dumps(body).encode()
    lifted = lift(raw, MARK)
    assert json.loads(joined(lifted.lower(json.loads(lifted.raw)))) == body


def test_a_caller_cannot_name_a_stand_in() -> None:
    body = {"text": "~payload.ffffffffffffffffffffffffffffffff.0~", "data": BIG}
    lifted = lift(json.dumps(body).encode(), MARK)
    assert json.loads(joined(lifted.lower(json.loads(lifted.raw)))) == body


def test_twenty_megabytes_are_not_copied() -> None:
    raw = bytearray(json.dumps({"data": "A" * 20_000_000, "model": "m"}).encode())
    tracemalloc.start()
    lifted = lift(raw, MARK)
    body = lifted.lower(json.loads(lifted.raw) | {"model": "other"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert joined(body) == json.dumps({"data": "A" * 20_000_000, "model": "other"}, separators=(",", ":")).encode()


def test_base64_of_the_other_alphabet_is_left_for_the_translation() -> None:
    raw = json.dumps({"data": "A-_B" * LARGE}).encode()
    assert lift(raw, MARK).raw is raw
