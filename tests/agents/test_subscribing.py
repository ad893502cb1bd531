"""Hearing of what changes, by callers and servers of any revision."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.program import Admin, Program, until

from .kit import Agency, Agent
from .scripted import Scripted
from .stateless import META, Stateless

ID = "io.modelcontextprotocol/subscriptionId"
TOOLS = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
PROMPTS = {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}


def updated(uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}


class Speaking(Scripted):
    """A server of 2025-11-25 that has resources, and says by itself what changes."""

    def __init__(self, name: str, uri: str) -> None:
        super().__init__(name)
        self.speaks = True
        self.uri = uri

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        found = super().answer(message)
        if message["method"] == "initialize":
            found["capabilities"]["resources"] = {"subscribe": True}
        if message["method"] == "resources/list":
            return {"resources": [{"uri": self.uri, "name": self.uri}]}
        return {"resourceTemplates": []} if message["method"] == "resources/templates/list" else found


class Modern(Stateless):
    """A server of 2026-07-28 whose tools change as soon as somebody listens."""

    def speak(self, message: dict[str, Any]) -> tuple[int, str, bytes]:
        if message["method"] != "subscriptions/listen":
            status, kind, body = super().speak(message)
            return status, kind, body.replace(b'"tools": {}}', b'"tools": {"listChanged": true}}')
        mark = {"_meta": {ID: message["id"]}}
        said: list[dict[str, Any]] = [
            {
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": message["params"]["notifications"], **mark},
            },
            TOOLS | {"params": mark},
        ]
        return 200, "text/event-stream", b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in said)


@contextlib.contextmanager
def listening(agent: Agent, **notifications: Any) -> Iterator[Iterator[Any]]:
    message = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "subscriptions/listen",
        "params": {"notifications": notifications, "_meta": META},
    }
    more = {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
    headers = agent.headers | more
    with httpx.stream("POST", agent.url, json=message, headers=headers, trust_env=False, timeout=10) as told:
        assert told.status_code == 200, told.read()
        yield (json.loads(line[5:]) for line in told.iter_lines() if line.startswith("data:") and line[5:].strip())


def acknowledged(said: Any) -> Any:
    assert said["method"] == "notifications/subscriptions/acknowledged"
    assert said["params"]["_meta"] == {ID: 7}
    return said["params"]["notifications"]


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_changes_at_older_servers_are_told(program: Program, admin: Admin, several: bool) -> None:
    with Speaking("one", "test://one") as one, Speaking("two", "test://two") as two:
        agency = Agency(admin, {"one": one.url, "two": two.url} if several else {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourceSubscriptions": ["test://one"]}
            with listening(agent, **wanted) as said:
                honored = acknowledged(next(said))
                assert honored == {"toolsListChanged": True, "resourceSubscriptions": ["test://one"]}, "no prompts"
                until(lambda: "resources/subscribe" in one.methods, what="the server knows")
                until(lambda: one.listeners, what="it is heard")
                one.tell(updated("test://other"), PROMPTS, updated("test://one"), TOOLS)
                mark = {"_meta": {ID: 7}}
                assert next(said) == updated("test://one") | {"params": {"uri": "test://one"} | mark}
                assert next(said) == TOOLS | {"params": mark}
                if several:
                    assert "resources/subscribe" not in two.methods
                    until(lambda: two.listeners, what="it is heard")
                    two.tell(TOOLS)
                    assert next(said) == TOOLS | {"params": mark}
                one.tell({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {}})
                refused = until(lambda: next((each for each in one.asked if each.get("id") == "q"), None))
                assert "sampling/createMessage cannot be asked" in refused["error"]["message"]
            until(lambda: len(one.sessions) == 1, what="its own session is over, that of its key is not")


def test_everybody_who_listens_hears(program: Program, admin: Admin) -> None:
    with Speaking("one", "test://one") as one:
        agency = Agency(admin, {"one": one.url})
        with (
            Agent(agency.url(program), agency.key.text) as agent,
            listening(agent, toolsListChanged=True) as first,
            listening(agent, toolsListChanged=True) as second,
        ):
            for said in (first, second):
                acknowledged(next(said))
            until(lambda: len(one.listeners) == 2, what="both listen, in sessions of their own")
            one.tell(TOOLS)
            assert {next(first)["method"], next(second)["method"]} == {TOOLS["method"]}


def test_servers_of_both_kinds_are_heard(program: Program, admin: Admin) -> None:
    with Speaking("one", "test://one") as one, Modern() as modern:
        agency = Agency(admin, {"one": one.url, "modern": modern.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            with listening(agent, toolsListChanged=True) as said:
                assert acknowledged(next(said)) == {"toolsListChanged": True}
                assert next(said) == TOOLS | {"params": {"_meta": {ID: 7}}}
                until(lambda: one.listeners, what="it is heard")
                one.tell(TOOLS)
                assert next(said)["method"] == TOOLS["method"]
            agent.begin()
            headers = agent.headers | {"accept": "text/event-stream"}
            with httpx.stream("GET", agent.url, headers=headers, trust_env=False, timeout=10) as told:
                lines = (line for line in told.iter_lines() if line.startswith("data:"))
                assert json.loads(next(lines)[5:]) == TOOLS, "an older caller hears it in its own words"


def test_one_newer_server_answers_itself(program: Program, admin: Admin) -> None:
    with Modern() as modern:
        agency = Agency(admin, {"modern": modern.url})
        with Agent(agency.url(program), agency.key.text) as agent, listening(agent, toolsListChanged=True) as said:
            assert [each["method"] for each in said] == ["notifications/subscriptions/acknowledged", TOOLS["method"]]


def test_what_a_toolkit_does_not_have_is_not_heard_of(program: Program, admin: Admin) -> None:
    with Speaking("one", "test://one") as one:
        agency = Agency(admin, {"one": one.url})
        agency.set(toolkit=[{"registry_id": agency.registries["one"], "tool": "*"}])
        more = {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
        with Agent(agency.url(program), agency.key.text) as agent:
            for notifications, code in (
                ({"resourceSubscriptions": ["test://one"]}, -32002),
                ({"resourceSubscriptions": "test://one"}, -32602),
                (None, -32602),
            ):
                given = {"notifications": notifications, "_meta": META}
                message = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": given}
                assert agent.post(message, **more).json()["error"]["code"] == code
            assert "resources/subscribe" not in one.methods
