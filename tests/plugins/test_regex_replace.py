"""regex_replace: what is replaced where, a stream as a whole answer, and which patterns are refused."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lifecycle.kit import House, Line, completion, configured, live, registry, stream, whole
from tests.plugins.house import rule_of
from tests.plugins.table import ask
from tests.plugins.talk import DIALECTS, Turn, calls, text_of, upstream_texts
from trustgate.config.records import ApiKeyAuth, ProviderAuth
from trustgate_plugins import regex_replace
from trustgate_plugins.regex_replace.settings import RegexReplaceSettings

pytestmark = pytest.mark.anyio


def made(*rules: tuple[str, str], target: str = "both", window: int = 16, **fields: Any) -> dict[str, Any]:
    listed = [{"pattern": pattern, "replacement": replacement, **fields} for pattern, replacement in rules]
    return {"target": target, "rules": listed, "window": window}


RULES = (("[0-9]{1,3}", "7"), (r"\ba", "b"), ("b7", "<$0>"), ("x(y)?z", "[$1]"))
"""None of them finds more than three characters, so a window of four is enough."""
TEXTS = st.lists(st.text("ab12xyz ", min_size=1, max_size=5), max_size=12)


@given(TEXTS)
@settings(deadline=None, max_examples=60)
async def test_a_stream_says_what_the_whole_answer_says(texts: list[str]) -> None:
    """Rules over one another, with replacements that rules would match again, however the text is cut."""
    chosen = made(*RULES, target="response", window=4)
    text = "".join(texts)
    whole_told = await ask(House(Line(whole(completion(text))), rule_of(regex_replace, chosen)), "chat", Turn())
    streamed = House(Line(live(*stream(*texts))), rule_of(regex_replace, chosen))
    told = await ask(streamed, "chat", Turn(stream=True))
    expected = text
    for pattern, replacement in RULES:
        expected = re.sub(pattern, lambda found, to=replacement: _filled(to, found), expected)  # type: ignore[misc]
    assert text_of("chat", whole_told) == expected
    assert text_of("chat", told) == expected


def _filled(replacement: str, found: "re.Match[str]") -> str:
    return replacement.replace("$0", found[0]).replace("$1", (found[1] or "") if found.re.groups else "")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_results_of_tools_are_read_too(dialect: str) -> None:
    line = Line(whole)
    at = House(line, rule_of(regex_replace, made(("secret", "***"))))
    await ask(at, dialect, Turn(runs=(("call_1", "look", "the secret"),), system="a secret", text="my secret"))
    texts = upstream_texts(line.bodies[0])
    assert "secret" not in texts
    assert texts.count("***") == 3
    assert [each.details for each in at.event.policy_chain if each.stage == "pre_request"] == [{"replaced": 3}]


async def test_arguments_of_calls_are_changed_in_whole_answers() -> None:
    made_calls = calls("look")
    made_calls[0]["function"]["arguments"] = json.dumps({"q": "4711"})
    message = {"role": "assistant", "content": None, "tool_calls": made_calls}
    body = completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    told = await ask(House(Line(whole(body)), rule_of(regex_replace, made(("[0-9]{4}", "#")))), "chat", Turn())
    assert told.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"q": "#"}'


async def test_two_policies_of_a_kind_run_one_after_the_other() -> None:
    rules = [rule_of(regex_replace, made(("one", "two"))), rule_of(regex_replace, made(("two", "three")))]
    line = Line(live(*stream("o", "ne", " and two")))
    told = await ask(House(line, *rules), "chat", Turn(text="one, two", stream=True))
    assert "three, three" in upstream_texts(line.bodies[0])
    assert text_of("chat", told) == "three and three"


async def test_flags() -> None:
    line = Line(whole)
    chosen = made(("^secret$", "***"), case_insensitive=True, multiline=True)
    await ask(House(line, rule_of(regex_replace, chosen)), "chat", Turn(text="a\nSECRET\nb"))
    assert "a\n***\nb" in upstream_texts(line.bodies[0])


@pytest.mark.parametrize(("on_error", "status"), [("deny", 503), ("allow", 200)])
async def test_an_answer_that_cannot_be_read_is_not_passed_over(on_error: str, status: int) -> None:
    line = Line(whole(b'{"anything": "a secret"}'))
    at = House(line, rule_of(regex_replace, made(("secret", "***"), target="response"), on_error=on_error))
    told = await at.ask(b"{}", path="/my-app/passthrough/r1/v1/things")
    assert told.status == status
    assert told.header(b"x-ag-policy-degraded")


async def test_an_answer_that_a_provider_keeps_is_read_again() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a secret"}]}
    kept = {"id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [said]}
    at = House(
        Line(lambda: whole(json.dumps(kept).encode())),
        rule_of(regex_replace, made(("secret", "***"), target="response")),
        records=configured(
            registry(provider="openai", auth=ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="sk-1")))
        ),
    )
    told = await at.ask(b"", path="/my-app/v1/responses/resp_1", method="GET")
    assert told.status == 200, told.body
    assert told.json["output"][0]["content"][0]["text"] == "a ***"


async def test_a_catastrophic_pattern_is_only_a_pattern() -> None:
    line = Line(whole)
    at = House(line, rule_of(regex_replace, made(("(a+)+$", "x"))))
    assert (await ask(at, "chat", Turn(text="a" * 20_000 + "!"))).status == 200


WRONG: list[tuple[dict[str, Any], str]] = [
    (made(("(", "")), "does not compile"),
    (made((r"(a)\1", "")), "does not compile"),
    (made(("(?=a)", "")), "does not compile"),
    (made(("a*", "")), "matches nothing"),
    (made(("a", "$1")), r"names \$1"),
    (made(("(?P<n>a)", "${m}")), "names"),
    (made(), "rules"),
    (made(("a", "b"), target="all"), "target"),
    (made(("a", "b"), window=0), "window"),
]


@pytest.mark.parametrize(("chosen", "word"), WRONG)
def test_settings_that_are_wrong_are_named(chosen: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(chosen, RegexReplaceSettings)
