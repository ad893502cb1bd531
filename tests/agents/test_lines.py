"""Servers that are programs, and servers of 2024-11-05: agents cannot tell that they are no servers over newer HTTP."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Admin, Program, running, until

from .kit import Agency, Agent, everything

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"MCP_ALLOW_STDIO": "true", "MCP_STDIO_COMMANDS": sys.executable}
COMMAND = [sys.executable, str(ROOT / "tests" / "agents" / "program.py")]
PROGRAM = {"transport": "stdio", "program": {"command": COMMAND, "env": {"TOKEN": "a-secret-of-the-program"}}}
EVERYTHING = {
    "transport": "stdio",
    "program": {"command": [sys.executable, "-W", "ignore", "-m", "tests.agents.everything", "stdio"],
                "env": {"PYTHONPATH": str(ROOT)}},
    "discovery_timeout_ms": 20_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A gateway that may start Python."""
    with running("run", folder=tmp_path_factory.mktemp("gateway"), variables=ALLOWED) as program:
        yield program


@pytest.fixture(scope="module", params=["stdio", "sse"])
def target(request: pytest.FixtureRequest) -> Iterator[object]:
    """A server that has something of everything, over a line."""
    if request.param == "stdio":
        yield EVERYTHING
        return
    with everything("sse") as url:
        yield {"transport": "sse", "url": url.removesuffix("/mcp") + "/sse"}


def test_everything_works_over_a_line(program: Program, admin: Admin, target: object) -> None:
    agency = Agency(admin, {"one": target})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin(sampling={}, elicitation={})
        assert agent.said["serverInfo"]["name"] == "everything"
        assert "test_simple_text" in agent.names()
        assert agent.ask("tools/call", name="test_simple_text")["content"][0]["text"].startswith("This is a simple")
        assert agent.ask("prompts/get", name="test_simple_prompt")["messages"]
        meta = {"progressToken": "mine"}
        with agent.asking("tools/call", name="test_tool_with_progress", _meta=meta) as said:
            progress = [message["params"] for message in said if message.get("method") == "notifications/progress"]
        assert progress
        assert {each["progressToken"] for each in progress} == {"mine"}
        with agent.asking("tools/call", name="test_sampling", arguments={"prompt": "hello"}) as said:
            question = next(said)
            assert question["method"] == "sampling/createMessage"
            answer = {"role": "assistant", "content": {"type": "text", "text": "yes"}, "model": "m"}
            assert agent.post({"jsonrpc": "2.0", "id": question["id"], "result": answer}).status_code == 202
            assert "yes" in json.dumps(next(said)["result"])


def test_two_agents_without_sessions_share_a_line_and_not_their_answers(program: Program, admin: Admin) -> None:
    other = {**PROGRAM, "prefix": "p"}
    agency = Agency(admin, {"one": EVERYTHING, "two": other})
    with Agent(agency.url(program), agency.key.text) as one, Agent(agency.url(program), agency.key.text) as two:
        one.begin()
        two.begin()
        assert {"p_die", "test_simple_text"} <= set(one.names())
        with one.asking("tools/call", name="test_tool_with_progress") as said:
            assert two.ask("tools/call", name="p_last_call")["content"][0]["text"] == "last_call"
            assert "result" in list(said)[-1]


def surroundings(agent: Agent) -> dict[str, object]:
    found: dict[str, object] = json.loads(agent.ask("tools/call", name="surroundings")["content"][0]["text"])
    return found


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_program_sees_nothing_of_the_gateway(program: Program, admin: Admin) -> None:
    agency = Agency(admin, {"one": PROGRAM})
    read = admin.done("GET", agency.gateway.path(f"/registries/{agency.registries['one']}"))
    assert read["mcp_target"]["program"]["env"] == {"TOKEN": "***gram"}
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        around = surroundings(agent)
        env = around["env"]
        assert isinstance(env, dict)
        assert env["TOKEN"] == "a-secret-of-the-program"
        assert set(env) <= {"TOKEN", "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LC_CTYPE"}
        assert around["cwd"] == env["HOME"]
        assert around["files"] == []
        assert around["pid"] != program.process.pid


def test_a_program_ends_with_its_session_and_takes_its_children_along(program: Program, admin: Admin) -> None:
    agency = Agency(admin, {"one": PROGRAM})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        around = surroundings(agent)
        pid, folder = around["pid"], around["cwd"]
        child = int(agent.ask("tools/call", name="leave_a_child")["content"][0]["text"])
        assert isinstance(pid, int)
        assert not gone(child)
        assert agent._client.delete(agent.url, headers=agent.headers).status_code == 200
        until(lambda: gone(pid) and gone(child), what="the program and its child end")
        until(lambda: not Path(str(folder)).exists(), what="its folder is removed")


def test_a_program_that_ends_is_told_of_and_started_again(program: Program, admin: Admin) -> None:
    agency = Agency(admin, {"one": PROGRAM})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        first = surroundings(agent)["pid"]
        refused = agent.ask("tools/call", name="die")
        assert refused["code"] == -32603
        assert "one did not answer" in refused["message"]
        assert surroundings(agent)["pid"] != first
        assert agent.ask("tools/call", name="chatter")["content"][0]["text"] == "chatter"
        agency.admin.done(
            "PUT", agency.gateway.path(f"/registries/{agency.registries['one']}"),
            {"mcp_target": {**PROGRAM, "max_result_bytes": 2048}},
        )  # fmt: skip
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        assert agent.ask("tools/call", name="shout", arguments={"bytes": 100_000})["code"] == -32603
        assert len(agent.ask("tools/call", name="shout", arguments={"bytes": 100})["content"][0]["text"]) == 100


def test_programs_are_started_only_where_that_is_wanted(program: Program, admin: Admin, tmp_path: Path) -> None:
    gateway = admin.gateway()
    body = {"name": "x", "type": "MCP", "mcp_target": {"transport": "stdio", "program": {"command": ["/bin/sh"]}}}
    refused = admin.call("POST", gateway.path("/registries"), body)
    assert (refused.status_code, "MCP_STDIO_COMMANDS" in refused.text) == (422, True)
    for wrong in (
        {"transport": "stdio"},
        {"transport": "stdio", "program": {"command": []}},
        {**PROGRAM, "url": "https://example.com"},
        {"url": "https://example.com", "program": PROGRAM["program"]},
        {"transport": "stdio", "program": {"command": COMMAND, "env": {"A=B": "c"}}},
    ):
        assert admin.call("POST", gateway.path("/registries"), {**body, "mcp_target": wrong}).status_code == 422, wrong
    with running("run", folder=tmp_path) as careful, careful.admin() as their_admin:
        refused = their_admin.call("POST", their_admin.gateway().path("/registries"), {**body, "mcp_target": PROGRAM})
        assert (refused.status_code, "MCP_ALLOW_STDIO=true" in refused.text) == (422, True)


def test_a_process_that_may_not_start_programs_says_so(admin: Admin, tmp_path: Path) -> None:
    with running("run", folder=tmp_path, variables=ALLOWED) as program, program.admin() as own:
        agency = Agency(own, {"one": PROGRAM})
        program.stop()
        program.env["MCP_ALLOW_STDIO"] = "false"
        program.start()
        with Agent(agency.url(program), agency.key.text) as agent:
            refused = agent.begin()
            assert refused["code"] == -32603
            assert "may not be started here" in refused["message"]
            assert sys.executable not in json.dumps(refused)


def test_a_line_ends_with_the_gateway(tmp_path: Path) -> None:
    with running("run", folder=tmp_path, variables=ALLOWED) as program, program.admin() as own:
        agency = Agency(own, {"one": PROGRAM})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            pid = surroundings(agent)["pid"]
        assert isinstance(pid, int)
        program.stop()
        until(lambda: gone(pid), what="the program ends")
    assert os.getpid() != pid


def test_a_session_goes_on_in_another_process(tmp_path: Path, target: object) -> None:
    """A line is held by one process; another one that is asked for the session opens one of its own for it."""
    folder = tmp_path / "data"
    with RedisServer() as redis:
        variables = redis.variables() | ALLOWED
        with running("run", folder=folder, variables=variables) as first:
            second = Program("mcp", folder=folder, secret=first.secret, variables=variables).start()
            with first.admin() as admin:
                agency = Agency(admin, {"one": target})
            with Agent(agency.url(first), agency.key.text) as agent:
                agent.begin()
                before = agent.names()
                agent.url = agency.url(second)
                ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                until(lambda: agent.post(ping).status_code == 200 or None, what="it has the configuration")
                assert agent.names() == before
                agent.url = agency.url(first)
                assert agent.names() == before
            assert second.stop() == 0
