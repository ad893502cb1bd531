"""prompt_compression: what goes, what must stay, and what callers are told."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lifecycle.kit import House, Line, whole
from tests.plugins.house import rule_of
from tests.plugins.table import ask
from tests.plugins.talk import Turn, upstream_texts
from trustgate_plugins import prompt_compression
from trustgate_plugins.prompt_compression.settings import PromptCompressionSettings
from trustgate_plugins.prompt_compression.text import compressed

pytestmark = pytest.mark.anyio

ALL = PromptCompressionSettings(min_length=0)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_json_says_the_same(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2)
    short = compressed(text, ALL)
    assert json.loads(short) == value
    assert len(short) <= len(text)


def test_numbers_keep_their_spelling() -> None:
    text = '{ "a" : 1.50e0, "b": 12345678901234567890123 }'
    assert compressed(text, ALL) == text.replace(" ", "")


@given(st.text(max_size=200))
def test_it_never_grows_and_is_done_at_once(text: str) -> None:
    short = compressed(text, ALL)
    assert len(short) <= len(text)
    assert compressed(short, ALL) == short


@given(st.text("ab \t\n#|`", max_size=120))
def test_words_stay_in_their_order(text: str) -> None:
    assert compressed(text, ALL).split() == text.split()


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a   \nb", "a\nb"),
        ("    indented   words", "    indented words"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("\x1b[31mred\x1b[0m and \x1b]0;title\x07more", "red and more"),
        ("x\n```\na   b   \n\n\n\nend\n```\ny   z", "x\n```\na   b   \n\n\n\nend\n```\ny z"),
        ("| a   | b |", "| a   | b |"),
        ("{not json   }", "{not json }"),
    ],
)
def test_what_goes_and_what_stays(text: str, short: str) -> None:
    assert compressed(text, ALL) == short


async def test_only_the_texts_of_chosen_roles_that_are_long_enough() -> None:
    line = Line(whole)
    chosen = {"target_roles": ["user"], "min_length": 10}
    told = await ask(
        House(line, rule_of(prompt_compression, chosen)),
        "chat",
        Turn(system="a     long system", text="a     long text", runs=(("c", "t", "a     long result"),)),
    )
    texts = upstream_texts(line.bodies[0])
    assert "a long text" in texts
    assert "a     long system" in texts
    assert "a     long result" in texts
    assert told.header(b"x-prompt-compression") == "compressed"
    assert int(told.header(b"x-prompt-compression-saved")) >= 4
    assert 0 < float(told.header(b"x-prompt-compression-ratio")) < 1


@pytest.mark.parametrize(
    ("chosen", "body", "word"),
    [
        ({"min_length": 0}, {"model": "m", "messages": [{"role": "user", "content": "short"}]}, "no_change"),
        ({"max_body_bytes": 10}, {"model": "m", "messages": []}, "skipped_too_large"),
        ({}, {"model": "m", "messages": 1}, "skipped_unsupported_format"),
    ],
)
async def test_why_nothing_was_saved_is_told(chosen: dict[str, Any], body: Any, word: str) -> None:
    line = Line(whole)
    told = await House(line, rule_of(prompt_compression, chosen)).ask(body)
    assert told.header(b"x-prompt-compression") == word
    assert line.bodies == [body]


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        ({"max_consecutive_blank_lines": 0}, "max_consecutive_blank_lines"),
        ({"min_length": -1}, "min_length"),
        ({"target_roles": ["robot"]}, "target_roles"),
        ({"level": 3}, "level"),
    ],
)
def test_settings_that_are_wrong_are_named(chosen: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(chosen, PromptCompressionSettings)
