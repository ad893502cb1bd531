"""prompt_template: what templates make, what fills them in, and what callers are told who leave something out."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lifecycle.kit import House, Line, Told, whole
from tests.plugins.house import rule_of
from tests.plugins.table import ask
from tests.plugins.talk import DIALECTS, Turn, said, upstream_texts
from trustgate_plugins import prompt_template, regex_replace
from trustgate_plugins.prompt_template.mustache import TooLong, parsed, rendered
from trustgate_plugins.prompt_template.settings import PromptTemplateSettings

pytestmark = pytest.mark.anyio

VARIABLES = {"words": {"type": "number", "enum": [10, 50]}, "text": {"type": "string", "max_length": 20}}
SUMMARY: dict[str, Any] = {
    "named_templates": [
        {
            "name": "summary",
            "versions": [
                {"labels": ["production"], "content": "In {{words}}: {{text}}", "required_variables": VARIABLES},
                {"labels": ["beta", "next"], "content": "Beta: {{text}}{{#loud}}!{{/loud}}"},
            ],
        }
    ]
}
TEAM: dict[str, Any] = {
    "context_variables": {"team": {"source": "header", "name": "X-Team"}},
    "inject_templates": [{"id": "rules", "content": "You work for {{team}}."}],
}


async def asking(
    settings: dict[str, Any], text: str, properties: Any = None, headers: dict[bytes, bytes] | None = None
) -> tuple[Told, Line]:
    line = Line(whole)
    asked = said("chat", Turn(text=text, system="Be kind."))
    body = asked.body | ({} if properties is None else {"properties": properties})
    told = await House(line, rule_of(prompt_template, settings)).ask(body, headers=headers)
    return told, line


async def test_a_named_prompt_takes_the_place_of_the_conversation() -> None:
    told, line = await asking(SUMMARY, "{template://summary}", {"words": 10, "text": "a {{words}} b"})
    assert told.status == 200
    assert line.bodies[0]["messages"] == [{"role": "user", "content": "In 10: a {{words}} b"}]
    assert "properties" not in line.bodies[0]


@pytest.mark.parametrize(("label", "loud", "made"), [("beta", True, "Beta: x!"), ("next", False, "Beta: x")])
async def test_a_version_is_asked_for_by_its_label(label: str, loud: bool, made: str) -> None:
    _, line = await asking(SUMMARY, f"{{template://summary@{label}}}", {"text": "x", "loud": loud})
    assert line.bodies[0]["messages"][0]["content"] == made


REFUSED: list[tuple[str, Any, str]] = [
    ("{template://other}", {}, "template_not_found"),
    ("{template://summary@old}", {}, "template_not_found"),
    ("{template://summary} {template://summary@beta}", {}, "template_ambiguous"),
    ("{template://summary}", None, "template_variable_missing"),
    ("{template://summary}", {"words": 10}, "template_variable_missing"),
    ("{template://summary}", {"words": 11, "text": "x"}, "template_variable_invalid"),
    ("{template://summary}", {"words": True, "text": "x"}, "template_variable_invalid"),
    ("{template://summary}", {"words": 10, "text": 1}, "template_variable_invalid"),
    ("{template://summary}", {"words": 10, "text": "x" * 21}, "template_variable_invalid"),
    ("{template://summary@beta}", {}, "template_variable_missing"),
    ("{template://summary@beta}", {"text": "x" * 1_000_001}, "template_render_failed"),
]


@pytest.mark.parametrize(("text", "properties", "code"), REFUSED)
async def test_what_does_not_fit_is_told(text: str, properties: Any, code: str) -> None:
    told, line = await asking(SUMMARY, text, properties)
    assert (told.status, told.error["code"]) == (400, code)
    assert not line.calls


async def test_prompts_of_a_callers_own_can_be_refused() -> None:
    told, _ = await asking(SUMMARY | {"allow_untemplated_requests": False}, "Hello!")
    assert (told.status, told.error["code"]) == (400, "template_required")
    told, _ = await asking(SUMMARY, "Hello!")
    assert told.status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("place", ["merge", "replace"])
async def test_what_the_system_says_stands_before_or_instead(dialect: str, place: str) -> None:
    line = Line(whole)
    template = {"id": "rules", "content": "Promise nothing.", "on_existing_system": place}
    at = House(line, rule_of(prompt_template, {"inject_templates": [template]}))
    await ask(at, dialect, Turn(system="Be kind."))
    texts = upstream_texts(line.bodies[0])
    assert texts.index("Promise nothing.") >= 0
    assert ("Be kind." in texts) == (place == "merge")
    assert "Be kind." not in texts or texts.index("Promise nothing.") < texts.index("Be kind.")
    assert "user: Hello!" in texts


@pytest.mark.parametrize(
    ("missing", "status", "there"),
    [("error", 400, ""), ("empty_string", 200, "You work for ."), ("skip_injection", 200, "Be kind.")],
)
async def test_a_value_that_the_gateway_does_not_find(missing: str, status: int, there: str) -> None:
    told, line = await asking(TEAM | {"on_missing_context_variable": missing}, "Hello!")
    assert told.status == status
    if status == 200:
        assert there in upstream_texts(line.bodies[0])
        assert ("You work for" in upstream_texts(line.bodies[0])) == (missing == "empty_string")
    else:
        assert told.error["code"] == "template_variable_unresolved"


async def test_no_property_pretends_to_be_a_value_of_the_gateway() -> None:
    settings = {
        "context_variables": {"who": {"source": "caller", "name": "consumer"}},
        "named_templates": [{"name": "n", "versions": [{"labels": ["production"], "content": "For {{who}}"}]}],
    }
    _, line = await asking(settings, "{template://n}", {"who": "somebody else"})
    assert line.bodies[0]["messages"][0]["content"] == "For my-app"


async def test_what_a_template_makes_is_read_by_the_policies_behind_it() -> None:
    """Also where they could not have found anything before: the caller's text stands in `properties` until then."""
    line = Line(whole)
    mask = {"target": "request", "rules": [{"pattern": "4711", "replacement": "****"}]}
    rules = [rule_of(prompt_template, SUMMARY), rule_of(regex_replace, mask)]
    body = said("chat", Turn(text="{template://summary@beta}")).body | {"properties": {"text": "it is 4711"}}
    assert (await House(line, *rules).ask(body)).status == 200
    assert line.bodies[0]["messages"] == [{"role": "user", "content": "Beta: it is ****"}]


async def test_control_characters_are_written_out() -> None:
    _, line = await asking(TEAM, "Hello!", headers={b"x-team": b"a\x1b[31mb"})
    assert "You work for a\\u001b[31mb." in upstream_texts(line.bodies[0])


@given(st.text(max_size=50))
def test_a_text_without_tags_is_itself(text: str) -> None:
    if "{{" not in text:
        assert rendered(parsed(text), {}).text == text


@given(st.text(max_size=50), st.lists(st.text(max_size=5), max_size=5))
def test_values_are_put_in_as_they_are(value: str, items: list[str]) -> None:
    parts = parsed("<{{a}}|{{{a}}}|{{&a}}|{{#l}}{{.}},{{/l}}{{^l}}none{{/l}}{{! gone }}>")
    page = rendered(parts, {"a": value, "l": items})
    listed = "".join(f"{item}," for item in items) if items else "none"
    assert page.text == f"<{value}|{value}|{value}|{listed}>"
    assert page.missing == ()


def test_what_is_missing_is_told_and_paths_are_followed() -> None:
    assert rendered(parsed("{{a.b}}{{c}}{{#d}}{{e}}{{/d}}"), {"a": {"b": 1}}) == rendered(parsed("1{{c}}"), {})
    assert rendered(parsed("{{a.b}}{{c}}"), {"a": {"b": 1}}).missing == ("c",)


def test_sections_that_say_nothing_end_too() -> None:
    with pytest.raises(TooLong):
        rendered(parsed("{{#a}}" * 12 + "{{/a}}" * 12), {"a": [1] * 10})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "inject_templates"),
    ({"inject_templates": [{"id": "a", "content": "{{x}}"}]}, "nothing fills in"),
    ({"inject_templates": [{"id": "a", "content": "{{#x}}"}]}, "does not close"),
    ({"inject_templates": [{"id": "a", "content": "{{/x}}"}]}, "closes 'x'"),
    ({"inject_templates": [{"id": "a", "content": "{{>x}}"}]}, "no variable"),
    ({"inject_templates": [{"id": "a", "content": "x"}] * 2}, "more than once"),
    (TEAM | {"context_variables": {"team": {"source": "caller", "name": "secret"}}}, "has no 'secret'"),
    (TEAM | {"context_variables": {"team": {"source": "jwt_claim", "name": "team"}}}, "source"),
    (TEAM | {"template_engine": "jinja"}, "template_engine"),
]


@pytest.mark.parametrize(("settings", "word"), WRONG)
def test_settings_that_are_wrong_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, PromptTemplateSettings)
