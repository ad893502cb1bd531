"""A caller of one revision before a server of another, and servers that ask callers something."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Admin, Program, running, until

from .kit import Agency, Agent, messages
from .scripted import Scripted, events
from .stateless import META, Stateless


def test_what_is_asked_is_answered_by_way_of_any_process(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RedisServer() as redis, Stateless() as modern:
        variables = redis.variables()
        with running("run", folder=folder, variables=variables) as first:
            second = Program("mcp", folder=folder, secret=first.secret, variables=variables).start()
            with first.admin() as admin:
                agency = Agency(admin, {"one": modern.url})
            with Agent(agency.url(first), agency.key.text) as agent:
                agent.begin(elicitation={})
                with agent.asking("tools/call", name="ask") as lines:
                    question = next(lines)
                    answer = {"action": "accept", "content": {"name": "Ann"}}
                    agent.url = agency.url(second)
                    until(lambda: agent.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 200 or None)
                    heard = agent.post({"jsonrpc": "2.0", "id": question["id"], "result": answer})
                    assert heard.status_code == 202
                    assert next(lines)["result"]["content"][0]["text"] == "hello Ann"
            assert second.stop() == 0


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_callers_with_sessions_before_a_server_without(program: Program, admin: Admin, revision: str) -> None:
    with Stateless() as modern:
        agency = Agency(admin, {"one": modern.url})
        with Agent(agency.url(program), agency.key.text, revision) as agent:
            said = agent.begin(elicitation={})
            assert said["protocolVersion"] == revision
            assert agent.names() == ["look", "ask"]
            found = agent.ask("tools/call", name="look")
            assert found == {"content": [{"type": "text", "text": "modern: look"}]}, "nothing of the other revision"


def test_what_a_server_without_sessions_needs_to_know_is_asked(program: Program, admin: Admin) -> None:
    with Stateless() as modern:
        agency = Agency(admin, {"one": modern.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin(elicitation={})
            with agent.asking("tools/call", name="ask") as lines:
                question = next(lines)
                assert question["method"] == "elicitation/create"
                assert question["params"]["message"] == "Who?"
                answer = {"action": "accept", "content": {"name": "Ann"}}
                with Agent(agent.url, agency.key.text) as other:
                    other.begin(elicitation={})
                    forged = {"action": "accept", "content": {"name": "Mallory"}}
                    told_off = other.post({"jsonrpc": "2.0", "id": question["id"], "result": forged})
                    assert told_off.status_code == 202, "and it changes nothing"
                heard = agent.post({"jsonrpc": "2.0", "id": question["id"], "result": answer})
                assert heard.status_code == 202
                final = next(lines)
            assert final["result"] == {"content": [{"type": "text", "text": "hello Ann"}]}


def test_of_several_servers_the_one_that_needs_to_know_is_told(program: Program, admin: Admin) -> None:
    with Stateless() as modern, Scripted("other", tools=("ask",)) as other:
        agency = Agency(admin, {"one": modern.url, "two": other.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin(elicitation={})
            with agent.asking("tools/call", name="one_ask") as lines:
                question = next(lines)
                answer = {"action": "accept", "content": {"name": "Ann"}}
                assert agent.post({"jsonrpc": "2.0", "id": question["id"], "result": answer}).status_code == 202
                assert next(lines)["result"]["content"][0]["text"] == "hello Ann"
        assert [each["params"]["name"] for each in modern.asked if each["method"] == "tools/call"] == ["ask", "ask"]


def test_callers_without_sessions_before_a_server_with(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            headers = {"mcp-protocol-version": "2026-07-28"}

            def ask(method: str, **given: Any) -> Any:
                more = {"mcp-method": method} | ({"mcp-name": given["name"]} if "name" in given else {})
                message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**given, "_meta": META}}
                told = agent.post(message, **(headers | more))
                assert "mcp-session-id" not in told.headers
                return messages(told)[-1]["result"]

            assert ask("tools/list")["tools"][0]["name"] == "look"
            assert ask("tools/call", name="look")["resultType"] == "complete"
            assert ask("tools/call", name="look")["content"][0]["text"] == "one: look"
            assert one.methods.count("initialize") == 1, "callers of one key share a session there"
            one.sessions.clear()
            assert ask("tools/call", name="look")["content"], "which is begun anew when the server forgets it"


def test_a_question_that_cannot_cross_is_refused_by_name(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        question = {"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {}}
        final = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
        agency = Agency(admin, {"one": one.url})
        one.say = events(question, final)
        with Agent(agency.url(program), agency.key.text) as agent:
            given = {"name": "look", "_meta": META}
            told = agent.post(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given},
                **{"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "look"},
            )
            assert [each.get("method") for each in messages(told)] == [None]
            refused = until(lambda: next((each for each in one.asked if each.get("id") == "q"), None))
            assert "sampling/createMessage cannot be asked" in refused["error"]["message"]


def test_two_servers_ask_under_ids_that_find_their_way_back(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=("a",)) as one, Scripted("two", tools=("b",)) as two:
        question = {"jsonrpc": "2.0", "id": 1, "method": "roots/list"}
        for server in (one, two):
            final = {"jsonrpc": "2.0", "id": 5, "result": {"content": []}}
            events = b"".join(b"id: e1\ndata: " + json.dumps(each).encode() + b"\n\n" for each in (question, final))
            server.say = lambda message, said=events: (
                (200, "text/event-stream", said)  # type: ignore[misc]
                if message.get("method") == "tools/call"
                else None
            )
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin(roots={})
            ids = []
            for name in ("a", "b"):
                told = agent.post({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": name}})
                asked, answer = messages(told)
                assert (asked["method"], answer["id"]) == ("roots/list", 5)
                ids.append(asked["id"])
                marks = [line for line in told.text.splitlines() if line.startswith("id:")]
                assert all(line.endswith(":e1") for line in marks)
            assert len(set(ids)) == 2
            assert agent.post({"jsonrpc": "2.0", "id": ids[1], "result": {"roots": []}}).status_code == 202
            until(lambda: any(each.get("result") == {"roots": []} and each["id"] == 1 for each in two.asked) or None)
            assert not any("result" in each for each in one.asked)
            assert agent.post({"jsonrpc": "2.0", "id": "tg:nobody:1", "result": {}}).status_code == 202


def test_lists_that_change_are_told_and_asked_for_anew(program: Program, admin: Admin) -> None:
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    with Scripted("one", tools=("a",)) as one, Scripted("two", tools=("b",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert agent.names() == ["a", "b"]
            one.tools.append("c")
            said = [changed, {"jsonrpc": "2.0", "id": 5, "result": {"content": []}}]
            events = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in said)
            one.say = lambda message: (
                (200, "text/event-stream", events) if (message.get("params") or {}).get("name") == "a" else None
            )
            told = agent.post({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "a"}})
            assert messages(told)[0] == changed
            assert agent.ask("tools/call", name="c")["content"][0]["text"] == "one: c"
