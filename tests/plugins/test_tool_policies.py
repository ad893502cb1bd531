"""tool_allowlist, tool_injection and per_tool_rate_limiter, through a whole proxy, beyond what the table shows."""

import json
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tests.lifecycle.kit import House, Line, Scripted, completion, live, rule, stream, whole
from tests.plugins.house import rule_of
from tests.plugins.table import ask
from tests.plugins.talk import DIALECTS, Turn, calls, said, text_of, upstream_tools
from trustgate import Deny
from trustgate_plugins import per_tool_rate_limiter, tool_allowlist, tool_injection

pytestmark = pytest.mark.anyio

HANDBOOK = {"type": "function", "function": {"name": "handbook", "description": "Finds pages."}}
TRANSFERS: dict[str, Any] = {"rules": [{"tool": "transfer*", "windows": [{"duration": "1h", "max": 2}]}]}
RUNS = (("call_1", "transfer", "done"), ("call_2", "transfer", "done"))


def fresh() -> Scripted:
    """A new answer for every call."""
    return whole()


def house(plugin: ModuleType, settings: dict[str, Any], line: Line | None = None, **fields: Any) -> House:
    return House(line or Line(fresh), rule_of(plugin, settings, **fields))


# tool_allowlist


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("behavior", "status", "left"),
    [("strip_tools_field", 200, None), ("pass_through_empty", 200, []), ("reject", 403, None)],
)
async def test_when_no_tool_is_left(dialect: str, behavior: str, status: int, left: list[Any] | None) -> None:
    line = Line(fresh)
    at = house(tool_allowlist, {"deny_tools": ["*"], "on_empty_after_filter": behavior}, line)
    told = await ask(at, dialect, Turn(tools=("get_time",)))
    assert told.status == status
    if status == 200:
        assert line.bodies[0].get("tools") in (left, None)
        assert "tool_choice" not in line.bodies[0]
    else:
        assert not line.calls
        assert at.event.policy_chain[0].code == "no_tools_allowed"


async def test_denying_wins_and_nothing_else_of_the_body_changes() -> None:
    line = Line(whole)
    at = house(tool_allowlist, {"allow_tools": ["get_*"], "deny_tools": ["get_secret"]}, line)
    tools = ",".join(
        f'{{"type":"function","function":{{"name":"{name}"}}}}' for name in ("get_time", "get_secret", "x")
    )
    raw = f'{{"model":"m-1","seed":1e2,"messages":[{{"role":"user",  "content":"\\u0041"}}],"tools":[{tools}]}}'
    await at.ask(raw.encode())
    sent = line.calls[0].body
    assert isinstance(sent, bytes)
    assert b'[{"role":"user",  "content":"\\u0041"}]' in sent
    assert b'"seed":1e2' in sent
    assert upstream_tools(json.loads(sent)) == ["get_time"]
    assert at.event.policy_chain[0].details == {"removed": ["get_secret", "x"]}


async def test_two_lists_on_one_consumer_both_hold() -> None:
    line = Line(whole)
    rules = [rule_of(tool_allowlist, {"deny_tools": [name]}) for name in ("a", "b")]
    await ask(House(line, *rules), "chat", Turn(tools=("a", "b", "c")))
    assert upstream_tools(line.bodies[0]) == ["c"]


# tool_injection


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_gateways_tool_takes_the_place_of_a_callers(dialect: str) -> None:
    line = Line(whole)
    await ask(house(tool_injection, {"inject_tools": [HANDBOOK]}, line), dialect, Turn(tools=("handbook", "x")))
    assert sorted(upstream_tools(line.bodies[0])) == ["handbook", "x"]
    mine = next(tool for tool in line.bodies[0]["tools"] if tool["function"]["name"] == "handbook")
    assert mine["function"]["description"] == "Finds pages."


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_only_tool_of_a_caller_can_be_replaced(dialect: str) -> None:
    line = Line(whole)
    await ask(house(tool_injection, {"inject_tools": [HANDBOOK]}, line), dialect, Turn(tools=("handbook",)))
    assert upstream_tools(line.bodies[0]) == ["handbook"]


async def test_a_caller_can_win_or_be_refused() -> None:
    line = Line(whole)
    wins = house(tool_injection, {"inject_tools": [HANDBOOK], "on_conflict": "client_wins"}, line)
    await ask(wins, "chat", Turn(tools=("handbook",)))
    assert "description" not in line.bodies[0]["tools"][0]["function"]
    refuses = house(tool_injection, {"inject_tools": [HANDBOOK], "on_conflict": "reject"})
    told = await ask(refuses, "chat", Turn(tools=("handbook",)))
    assert (told.status, told.error["code"]) == (400, "tool_name_reserved")
    assert (await ask(refuses, "chat", Turn(tools=("other",)))).status == 200


# per_tool_rate_limiter


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_run_counts_once_however_often_it_is_told(dialect: str) -> None:
    at = house(per_tool_rate_limiter, TRANSFERS)
    for _ in range(3):
        assert (await ask(at, dialect, Turn(runs=RUNS[:1], tools=("transfer",)))).status == 200
    told = await ask(at, dialect, Turn(runs=RUNS, tools=("transfer",)))
    assert (told.status, told.header(b"x-ratelimit-tool")) == (429, "transfer")
    assert int(told.header(b"retry-after")) > 0
    assert at.events[-1].policy_chain[0].code == "tool_rate_limit_exceeded"


async def test_a_refused_request_has_used_nothing_and_its_results_count_when_they_pass() -> None:
    refusing = rule(pre_request=lambda ctx: Deny(code="no", message="No.") if b"x-no" in ctx.headers else None)
    line = Line(fresh)
    at = House(line, rule_of(per_tool_rate_limiter, TRANSFERS), refusing)
    asked = said("chat", Turn(runs=RUNS))
    assert (await at.ask(asked.body, headers={b"x-no": b"1"})).status == 403
    assert (await ask(at, "chat", Turn(tools=("transfer",)))).status == 200
    assert (await ask(at, "chat", Turn(runs=RUNS))).status == 200
    assert (await ask(at, "chat", Turn(tools=("transfer",)))).status == 429


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_tool_can_be_taken_out_instead(dialect: str) -> None:
    line = Line(fresh)
    at = house(per_tool_rate_limiter, TRANSFERS | {"behavior_default": "strip_tool_from_request"}, line)
    await ask(at, dialect, Turn(runs=RUNS))
    assert (await ask(at, dialect, Turn(tools=("transfer", "search")))).status == 200
    assert upstream_tools(line.bodies[-1]) == ["search"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_call_can_be_answered_with_a_note(dialect: str) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": calls("transfer")}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    line = Line(lambda: whole(completion(choices=choices)))
    at = house(per_tool_rate_limiter, TRANSFERS | {"behavior_default": "inject_error_result"}, line)
    before = await ask(at, dialect, Turn(tools=("transfer",)))
    assert "rate limited" not in before.body.decode()
    await ask(at, dialect, Turn(runs=RUNS))
    after = await ask(at, dialect, Turn(tools=("transfer",)))
    assert 'The tool "transfer"' in text_of(dialect, after)
    assert upstream_tools(line.bodies[-1]) == ["transfer"]


async def test_a_stream_gets_no_note_but_the_tool_is_taken_out() -> None:
    line = Line(lambda: live(*stream("Hi")))
    at = house(per_tool_rate_limiter, TRANSFERS | {"behavior_default": "inject_error_result"}, line)
    await ask(at, "chat", Turn(runs=RUNS, stream=True))
    await ask(at, "chat", Turn(tools=("transfer",), stream=True))
    assert upstream_tools(line.bodies[-1]) == []


async def test_an_observer_counts_and_refuses_nobody() -> None:
    at = house(per_tool_rate_limiter, TRANSFERS, mode="observe")
    for _ in range(2):
        assert (await ask(at, "chat", Turn(runs=RUNS, tools=("transfer",)))).status == 200
    await ask(at, "chat", Turn(tools=("transfer",)))
    assert [each.policy_chain[0].decision for each in at.events] == ["observe", "observe", "observe"]


async def test_one_consumer_does_not_use_up_anothers_runs() -> None:
    """The counters are named by gateway, consumer and policy."""
    at = house(per_tool_rate_limiter, TRANSFERS)
    await ask(at, "chat", Turn(runs=RUNS))
    other = House(Line(whole), rule_of(per_tool_rate_limiter, TRANSFERS, id="p9"), limiter=at.services.limiter)
    assert (await ask(other, "chat", Turn(tools=("transfer",)))).status == 200


@pytest.mark.parametrize(
    "raw", [b'{"messages": 1, "tools": [], "model": "m"}', b'{"messages": [1], "tools": {}, "model": "m"}']
)
@pytest.mark.parametrize("plugin", [tool_allowlist, tool_injection, per_tool_rate_limiter])
async def test_a_body_that_cannot_be_read_is_the_callers_mistake(plugin: ModuleType, raw: bytes) -> None:
    settings: dict[ModuleType, dict[str, Any]] = {
        tool_allowlist: {"deny_tools": ["x"]},
        tool_injection: {"inject_tools": [HANDBOOK]},
        per_tool_rate_limiter: TRANSFERS,
    }
    told = await house(plugin, settings[plugin]).ask(raw)
    assert (told.status, told.error["code"]) == (400, "unreadable_request")


WRONG: list[tuple[ModuleType, dict[str, Any], str]] = [
    (tool_allowlist, {}, "allow_tools"),
    (tool_allowlist, {"allow_tools": [""]}, "allow_tools"),
    (tool_allowlist, {"deny_tools": ["x"], "on_empty_after_filter": "drop"}, "on_empty_after_filter"),
    (tool_injection, {"inject_tools": []}, "inject_tools"),
    (tool_injection, {"inject_tools": [HANDBOOK, HANDBOOK]}, "more than once"),
    (tool_injection, {"inject_tools": [{"function": {"name": "a b"}}]}, "name"),
    (tool_injection, {"inject_tools": [{"function": {"name": "a", "parameters": {"type": "array"}}}]}, "object"),
    (per_tool_rate_limiter, {"rules": []}, "rules"),
    (per_tool_rate_limiter, {"rules": [{"tool": "x", "windows": [{"duration": "10ms", "max": 1}]}]}, "shortest"),
    (per_tool_rate_limiter, {"rules": [{"tool": "x", "windows": [{"duration": "1m", "max": 0}]}]}, "max"),
    (per_tool_rate_limiter, TRANSFERS | {"window": "1m"}, "window"),
]


@pytest.mark.parametrize(("plugin", "settings", "word"), WRONG)
def test_settings_that_are_wrong_are_named(plugin: ModuleType, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert(settings, plugin.settings_type())


async def test_other_operations_are_left_alone() -> None:
    given: list[tuple[ModuleType, dict[str, Any]]] = [
        (tool_injection, {"inject_tools": [HANDBOOK]}),
        (tool_allowlist, {"deny_tools": ["x"]}),
    ]
    for plugin, settings in given:
        line = Line(lambda: whole(json.dumps({"object": "list", "data": [], "model": "m"}).encode()))
        body = {"model": "m-1", "input": "Hello"}
        assert (await house(plugin, settings, line).ask(body, path="/my-app/v1/embeddings")).status == 200
        assert line.bodies[0] == body
