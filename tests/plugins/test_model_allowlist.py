"""model_allowlist, through a whole proxy: what is asked for, what a target would be asked for, and in which dialect."""

from typing import Any

import msgspec
import pytest

from tests.lifecycle.kit import ASKED, House, Line, completion, configured, consumer, live, stream, whole
from tests.plugins.house import rule_of
from trustgate.config.records import AnyRecord, ModelPolicy
from trustgate_plugins import model_allowlist
from trustgate_plugins.model_allowlist.settings import ModelAllowlistSettings

pytestmark = pytest.mark.anyio

SMALL: dict[str, Any] = {"allowed_models": ["m-*-mini", "exact.name"]}
INSTEAD = SMALL | {"behavior_on_disallowed": "substitute", "substitute_with": "m-1-mini"}


def house(settings: dict[str, Any], *, line: Line | None = None, records: list[AnyRecord] | None = None) -> House:
    return House(line or Line(whole), rule_of(model_allowlist, settings), records=records)


def with_default(model: str) -> list[AnyRecord]:
    rule = ModelPolicy(registry_id="r1", default=model)
    return configured(consumer(model_policies=(rule,)))


@pytest.mark.parametrize("model", ["m-1-mini", "m--mini", "exact.name"])
async def test_listed_models_are_asked_for(model: str) -> None:
    line = Line(whole)
    assert (await house(SMALL, line=line).ask(ASKED | {"model": model})).status == 200
    assert line.bodies[0]["model"] == model


@pytest.mark.parametrize("model", ["m-1", "M-1-mini", "exactXname", "xm-1-mini", "m-1-mini\n"])
@pytest.mark.parametrize("stream", [False, True])
async def test_any_other_model_is_refused_and_nobody_is_asked(model: str, stream: bool) -> None:
    line = Line(whole)
    at = house(SMALL, line=line)
    told = await at.ask(ASKED | {"model": model, "stream": stream})
    assert (told.status, told.error["code"], told.error["param"]) == (403, "model_not_allowed", "model")
    assert not line.calls
    (finding,) = at.event.policy_chain
    assert (finding.decision, finding.code, finding.stage) == ("block", "model_not_allowed", "pre_request")


ELSEWHERE = [
    ("/my-app/v1/messages", {"model": "m-1", "max_tokens": 9, "messages": ASKED["messages"]}),
    ("/my-app/v1/responses", {"model": "m-1", "input": "Hello!"}),
    ("/my-app/v1beta/models/m-1:generateContent", {"contents": [{"parts": [{"text": "Hello!"}]}]}),
]


@pytest.mark.parametrize(("path", "body"), ELSEWHERE)
async def test_every_dialect_is_judged(path: str, body: dict[str, Any]) -> None:
    line = Line(whole)
    assert (await house(SMALL, line=line).ask(body, path=path)).status == 403
    assert not line.calls


@pytest.mark.parametrize(("path", "body"), [("/my-app/v1/chat/completions", ASKED), *ELSEWHERE])
async def test_another_model_is_asked_in_its_place(path: str, body: dict[str, Any]) -> None:
    line = Line(whole)
    told = await house(INSTEAD, line=line).ask(body, path=path)
    assert (told.status, told.header(b"x-selected-model")) == (200, "m-1-mini")
    assert line.bodies[0]["model"] == "m-1-mini"


async def test_a_substitute_leaves_every_other_byte_as_it_was() -> None:
    line = Line(whole)
    raw = b'{"messages": [{"role":"user",  "content":"\\u0041"}],"model":"m-1","seed":1e2,"x_unknown":{"a":0.10}}'
    await house(INSTEAD, line=line).ask(raw)
    sent = line.calls[0].body
    assert isinstance(sent, bytes)
    for part in (b'[{"role":"user",  "content":"\\u0041"}]', b'"seed":1e2', b'{"a":0.10}'):
        assert part in sent


async def test_a_substitute_is_streamed_too() -> None:
    line = Line(live(*stream("Hi", " there")))
    told = await house(INSTEAD, line=line).ask(ASKED | {"stream": True})
    assert told.ended
    assert line.bodies[0]["model"] == "m-1-mini"


@pytest.mark.parametrize("asked", [{"model": "auto"}, {}])
async def test_what_a_target_would_be_asked_for_is_judged_where_nobody_named_a_model(asked: dict[str, str]) -> None:
    line = Line(whole)
    body = {"messages": ASKED["messages"]} | asked
    at = house(SMALL, line=line, records=with_default("m-1"))
    assert (await at.ask(body)).status == 403
    assert not line.calls
    assert [(each.stage, each.decision) for each in at.event.policy_chain] == [("pre_call", "block")]
    assert (await house(SMALL, records=with_default("m-1-mini")).ask(body)).status == 200


async def test_a_default_of_the_registry_is_substituted_before_it_is_asked() -> None:
    line = Line(lambda: whole(completion()))
    told = await house(INSTEAD, line=line, records=with_default("m-1")).ask(ASKED | {"model": "auto"})
    assert told.status == 200
    assert [body["model"] for body in line.bodies] == ["m-1-mini"]


async def test_the_default_of_the_policy() -> None:
    line = Line(whole)
    await house(SMALL | {"default_model": "exact.name"}, line=line).ask({"messages": ASKED["messages"]})
    assert line.bodies[0]["model"] == "exact.name"


async def test_observing_changes_nothing() -> None:
    line = Line(whole)
    for settings in (SMALL, INSTEAD):
        at = House(line, rule_of(model_allowlist, settings, mode="observe"))
        assert (await at.ask()).status == 200
        assert line.bodies[-1]["model"] == ASKED["model"]
        assert {finding.decision for finding in at.event.policy_chain} == {"observe"}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({}, "allowed_models"),
        ({"allowed_models": []}, "allowed_models"),
        (SMALL | {"behavior_on_disallowed": "substitute"}, "substitute_with"),
        (SMALL | {"substitute_with": "m-1-mini"}, "substitute_with"),
        (INSTEAD | {"substitute_with": "m-1"}, "substitute_with"),
        (SMALL | {"default_model": "m-1"}, "default_model"),
        (SMALL | {"models": []}, "models"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, ModelAllowlistSettings)
