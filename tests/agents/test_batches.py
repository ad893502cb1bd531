"""Batches: one request with several messages, for the revisions that have them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.program import Admin, Program, until

from .kit import Agency, Agent, messages
from .scripted import Scripted, events

REVISIONS = pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26"])


def asked(message_id: Any, method: str, **given: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": given}


CALL = asked("a", "tools/call", name="look")
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}


def told_of(program: Program, agency: Agency) -> list[Any]:
    """The events of calls that this consumer's agents made."""
    return [
        event
        for event in program.events()
        if event.get("consumer", {}).get("id") == agency.consumer and event["mcp"]["method"] == "tools/call"
    ]


@pytest.fixture
def one() -> Iterator[Scripted]:
    with Scripted("one", tools=("look", "slow")) as one:
        yield one


@REVISIONS
def test_every_message_is_answered(program: Program, admin: Admin, one: Scripted, revision: str) -> None:
    agency = Agency(admin, {"one": one.url})
    with Agent(agency.url(program), agency.key.text, revision) as agent:
        agent.begin()
        noted = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
        told = agent.post([asked(1, "tools/list"), noted, CALL, asked(3, "no/such")])
        assert (told.status_code, told.headers["content-type"]) == (200, "application/json")
        said = {each["id"]: each for each in told.json()}
        assert list(said) == [1, "a", 3]
        assert len(said[1]["result"]["tools"]) == 2
        assert said["a"]["result"]["content"][0]["text"] == "one: look"
        assert "notifications/roots/list_changed" in one.methods
        told = agent.post([noted, noted])
        assert (told.status_code, told.content) == (202, b"")


def test_each_is_counted_and_told_of_by_itself(program: Program, admin: Admin, one: Scripted) -> None:
    agency = Agency(admin, {"one": one.url})
    agency.gateway.policy("rate_limiter", agency.consumer, limit=2, window="1h")
    with Agent(agency.url(program), agency.key.text, "2025-03-26") as agent:
        agent.begin()
        told = agent.post([{**CALL, "id": number} for number in range(4)])
        codes = sorted(each.get("error", {}).get("code", 0) for each in told.json())
        assert codes == [-32004, -32004, 0, 0]
        assert one.methods.count("tools/call") == 2
        until(lambda: len(told_of(program, agency)) == 4, what="every message has its event")
        said = told_of(program, agency)
        assert {each["trace_id"] for each in said} == {told.headers["x-ag-trace-id"]}
        assert len({each["span_id"] for each in said}) == 4
        assert sorted(each["status"]["code"] for each in said) == [200, 200, 429, 429]


def test_with_a_stream_among_them_all_come_as_events(program: Program, admin: Admin, one: Scripted) -> None:
    one.say = events(PROGRESS, {"jsonrpc": "2.0", "id": "a", "result": {"content": []}}, name="look")
    agency = Agency(admin, {"one": one.url})
    with Agent(agency.url(program), agency.key.text, "2025-03-26") as agent:
        agent.begin()
        told = agent.post([CALL, asked("b", "tools/list"), asked("c", "tools/call", name="slow")])
        assert told.headers["content-type"].startswith("text/event-stream")
        said = messages(told)
        assert sorted(each["id"] for each in said if "id" in each) == ["a", "b", "c"]
        assert said.index(PROGRESS) < next(at for at, each in enumerate(said) if each.get("id") == "a")


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ([], "1 to 100 messages"),
        ([CALL] * 101, "1 to 100 messages"),
        ([CALL, 7], "Message 1 of the batch"),
        ([[CALL]], "Message 0 of the batch"),
        ([CALL, {"jsonrpc": "1.0", "id": 1, "method": "ping"}], "Message 1 of the batch"),
        ([asked(1, "initialize")], "initialize is no part of a batch"),
    ],
)
def test_what_is_no_batch(program: Program, admin: Admin, one: Scripted, batch: Any, says: str) -> None:
    agency = Agency(admin, {"one": one.url})
    with Agent(agency.url(program), agency.key.text, "2025-03-26") as agent:
        agent.begin()
        before = len(one.asked)
        told = agent.post(batch)
        assert (told.status_code, told.json()["error"]["code"]) == (400, -32600)
        assert says in told.json()["error"]["message"]
        assert len(one.asked) == before


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
def test_later_revisions_have_none(program: Program, admin: Admin, one: Scripted, revision: str) -> None:
    agency = Agency(admin, {"one": one.url})
    with Agent(agency.url(program), agency.key.text, revision) as agent:
        agent.begin()
        told = agent.post([CALL])
        assert (told.status_code, told.json()["error"]["code"]) == (400, -32600)
        assert f"{revision} has no batches" in told.json()["error"]["message"]
    with Agent(agency.url(program), agency.key.text) as agent:
        told = agent.post([CALL], **{"mcp-protocol-version": "2026-07-28"})
        assert (told.status_code, "2026-07-28 has no batches" in told.text) == (400, True)
        told = agent.post([CALL])
        assert (told.status_code, "initialize first" in told.text) == (400, True)


def test_who_leaves_ends_all_of_it(program: Program, admin: Admin, one: Scripted) -> None:
    streamed = events(PROGRESS, {"jsonrpc": "2.0", "id": "a", "result": {"content": []}}, name="look")

    def say(message: dict[str, Any]) -> tuple[int, str, bytes] | None:
        if message.get("method") == "tools/call" and message["params"]["name"] == "slow":
            one.hangs.wait(10)
        return streamed(message)

    one.say = say
    agency = Agency(admin, {"one": one.url})
    with Agent(agency.url(program), agency.key.text, "2025-03-26") as agent:
        agent.begin()
        batch = json.dumps([CALL, asked("b", "tools/call", name="slow")])
        headers = agent.headers | {"content-type": "application/json"}
        began = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(agent.url, content=batch, headers=headers, trust_env=False, timeout=1.0)
        until(lambda: len(told_of(program, agency)) == 2, patience=5, what="both are told of")
        assert time.monotonic() - began < 5
        assert all(each["client_disconnected"] for each in told_of(program, agency))
        until(lambda: program.metrics("mcp")["trustgate_mcp_requests_in_flight"] == 0, patience=5, what="none is left")
