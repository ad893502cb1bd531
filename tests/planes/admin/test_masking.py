"""Masking as a law over every value that a type can hold."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.planes.admin.masking import MaskedSecret, kept, mask, masked, masked_whole

from .guard import GuardSettings

SECRETS = st.text(
    alphabet=st.characters(codec="ascii", exclude_characters="*", min_codepoint=33), min_size=20, max_size=40
)
ENDPOINTS = st.fixed_dictionaries({"url": st.text(max_size=5)}, optional={"token": SECRETS})
LOGINS = st.fixed_dictionaries({"type": st.just("bearer"), "bearer": SECRETS}) | st.fixed_dictionaries(
    {"type": st.just("password"), "user": st.text(max_size=5), "password": SECRETS}
)
SETTINGS = st.fixed_dictionaries(
    {"api_key": SECRETS},
    optional={
        "headers": st.dictionaries(st.text(max_size=3), SECRETS, max_size=3),
        "main": ENDPOINTS | st.none(),
        "others": st.lists(ENDPOINTS, max_size=3, unique_by=lambda it: it["url"]),
        "login": LOGINS,
        "level": st.sampled_from(["low", "high"]),
    },
)


def secrets_in(value: Any) -> list[str]:
    """Every secret of generated settings: they alone are that long."""
    match value:
        case str():
            return [value] if len(value) >= 20 else []
        case dict():
            return [found for item in value.values() for found in secrets_in(item)]
        case list():
            return [found for item in value for found in secrets_in(item)]
    return []


@pytest.mark.parametrize(
    ("secret", "shown"),
    [("a", "***"), ("12345678", "***"), ("123456789", "***6789"), ("öäüß", "***"), ("öäüßöäüß", "***öäüß")],
)
def test_what_is_shown(secret: str, shown: str) -> None:
    assert mask(secret) == shown


@given(SETTINGS)
def test_no_secret_is_shown_and_everything_else_is(settings: dict[str, Any]) -> None:
    shown = masked(GuardSettings, settings)
    text = msgspec.json.encode(shown).decode()
    for secret in secrets_in(settings):
        assert secret not in text
    assert shown.keys() == settings.keys()
    assert shown.get("level") == settings.get("level")


@given(SETTINGS)
def test_what_was_read_can_be_written_back(settings: dict[str, Any]) -> None:
    assert kept(GuardSettings, masked(GuardSettings, settings), settings, path="settings") == settings
    assert kept(GuardSettings, settings, {}, path="settings") == settings


@given(SETTINGS)
def test_what_was_read_is_nothing_new(settings: dict[str, Any]) -> None:
    with pytest.raises(MaskedSecret, match="is a masked secret"):
        kept(GuardSettings, masked(GuardSettings, settings), {}, path="settings")


def test_another_kind_of_login_keeps_nothing() -> None:
    stored = {"api_key": "k", "login": {"type": "password", "user": "me", "password": "secret"}}
    new = {"api_key": "k", "login": {"type": "bearer", "bearer": "***"}}
    with pytest.raises(MaskedSecret):
        kept(GuardSettings, new, stored, path="settings")


def test_values_of_the_wrong_shape_are_left_to_validation() -> None:
    for wrong in (
        {"main": "x"},
        {"others": {"a": 1}},
        {"headers": ["a"]},
        {"login": {"type": "smoke"}},
        {"api_key": 7},
    ):
        assert kept(GuardSettings, wrong, {}, path="settings") == wrong
        masked(GuardSettings, wrong)


def test_of_an_unknown_type_every_text_is_a_secret() -> None:
    value = {"a": "a-long-secret", "b": ["x", 1, None, {"c": ""}], "d": True}
    assert masked_whole(value) == {"a": "***cret", "b": ["***", 1, None, {"c": ""}], "d": True}
