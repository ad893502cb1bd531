"""Sessions: bound to a key and a consumer, live, resumed anywhere; and what one caller's says nothing of to another."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Admin, Program, running, until

from .kit import Agency, Agent, messages
from .scripted import Scripted, events

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def test_a_session_is_of_no_use_to_anybody_else(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency, foreign = Agency(admin, {"one": one.url}), Agency(admin, {"one": one.url})
        other_key = agency.gateway.key(agency.consumer)
        registry = agency.registries["one"]
        other = agency.gateway.consumer("other", registry, type="MCP")
        agency.gateway.attach(other, "auths", agency.key.id)
        url = agency.url(program)
        with Agent(url, agency.key.text) as agent:
            agent.begin()
            headers = agent.headers
            asked = len(one.asked)
            tries: list[tuple[str, dict[str, str]]] = [
                (url, {"x-ag-api-key": other_key.text}),
                (url.replace("/agent/", "/other/"), {}),
                (foreign.url(program), {"x-ag-api-key": foreign.key.text}),
                (url, {"mcp-session-id": "0" * 32}),
                (url, {"mcp-session-id": "s0"}),
                (url, {"mcp-session-id": "../" * 10}),
            ]
            for place, changed in tries:
                told = httpx.post(place, json=LIST, headers=headers | changed, trust_env=False)
                assert (told.status_code, told.json()["error"]["code"]) == (404, -32600), (place, changed)
                told = httpx.get(place, headers=headers | changed | {"accept": "text/event-stream"}, trust_env=False)
                assert told.status_code == 404
                told = httpx.request("DELETE", place, headers=headers | changed, trust_env=False)
                assert told.status_code == 404
            for key in ("", "ag_not-a-key"):
                told = httpx.post(url, json=LIST, headers=headers | {"x-ag-api-key": key}, trust_env=False)
                assert told.status_code == 401
            assert len(one.asked) == asked, "nothing of it reached the server"
            assert agent.names() == ["look"]


def test_a_bad_key_is_told_where_to_ask_for_a_good_one(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        url = agency.url(program)
        told = httpx.post(url, json=LIST, headers={"accept": "application/json, text/event-stream"}, trust_env=False)
        assert told.status_code == 401
        challenge = told.headers["www-authenticate"]
        assert challenge.startswith('Bearer resource_metadata="http')
        metadata = httpx.get(challenge.partition('"')[2].rstrip('"'), trust_env=False).json()
        assert metadata == {"resource": url, "bearer_methods_supported": ["header"]}
        for header in ({"authorization": f"Bearer {agency.key.text}"}, {"x-api-key": agency.key.text}):
            with Agent(url, "") as agent:
                agent.headers.pop("x-ag-api-key")
                agent.headers |= header
                agent.begin()
                assert agent.names() == ["look"]


def test_the_gateway_may_be_named_otherwise(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        short = program.url("mcp", "/agent/mcp/")
        with Agent(short, agency.key.text) as agent:
            agent.begin()
            assert agent.names() == ["look"]
        headers = agency.key.headers | {"accept": "application/json, text/event-stream", "x-ag-gateway-slug": "nobody"}
        assert httpx.post(short, json=LIST, headers=headers, trust_env=False).status_code in (400, 404)
        elsewhere = program.url("mcp", "/nobody/agent/mcp")
        headers = {"x-ag-api-key": agency.key.text, "accept": "application/json, text/event-stream"}
        assert httpx.post(elsewhere, json=LIST, headers=headers, trust_env=False).status_code == 404


def test_what_is_no_mcp_consumer_is_not_here(program: Program, admin: Admin) -> None:
    gateway = admin.gateway()
    consumer = gateway.consumer("app", gateway.registry("echo", "echo"))
    key = gateway.key(consumer)
    with Agent(program.url("mcp", f"/{gateway.slug}/app/mcp"), key.text) as agent:
        told = agent.post(LIST)
        assert (told.status_code, "no MCP consumer" in told.text) == (404, True)
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        url = program.url("proxy", "/agent/v1/chat/completions")
        told = httpx.post(url, json={"model": "m", "messages": []}, headers=agency.key.headers, trust_env=False)
        assert (told.status_code, "no LLM consumer" in told.text) == (404, True)


@pytest.mark.parametrize("servers", [1, 2], ids=["one server", "two"])
def test_progress_comes_before_the_end(program: Program, admin: Admin, server: str, servers: int) -> None:
    with Scripted("other") as other:
        agency = Agency(admin, {"one": server} | ({"other": other.url} if servers == 2 else {}))
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            asked = {"name": "slow", "arguments": {"seconds": 1}, "_meta": {"progressToken": "p"}}
            with agent.asking("tools/call", **asked) as lines:
                began = time.monotonic()
                seen = [(time.monotonic() - began, message) for message in lines]
            (early, progress), (late, answer) = seen[0], seen[-1]
            assert progress["method"] == "notifications/progress"
            assert early < 0.5 < late, "nobody waited for the end"
            assert answer["result"]["content"][0]["text"] == "at last"


def test_a_caller_that_leaves_is_not_waited_for(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            one.late = -1
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(
                    agent.url,
                    json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "look"}},
                    headers=agent.headers,
                    trust_env=False,
                    timeout=1,
                )
            until(lambda: program.metrics("mcp")["trustgate_mcp_requests_in_flight"] == 0 or None)


def test_sessions_go_on_when_the_process_that_began_them_is_killed(tmp_path: Path) -> None:
    with RedisServer() as redis:
        sessions_go_on(tmp_path / "data", redis.variables())


def sessions_go_on(folder: Path, variables: dict[str, str]) -> None:
    with Scripted("one") as one, running("admin", folder=folder, variables=variables) as admin_plane:
        secret = admin_plane.secret
        first = Program("mcp", folder=folder, secret=secret, variables=variables).start()
        second = Program("mcp", folder=folder, secret=secret, variables=variables).start()
        with admin_plane.admin() as admin:
            agency = Agency(admin, {"one": one.url})
        agents = [Agent(agency.url(first), agency.key.text) for _ in range(1000)]
        until_known(first, agents[0])
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda agent: agent.begin(), agents))
            assert len({agent.headers["mcp-session-id"] for agent in agents}) == 1000
            memory = first.metrics("mcp")["process_resident_memory_bytes"]
            assert memory < 120e6, f"{memory / 1e6:.0f} MB with 1 000 idle sessions"
            first.kill()
            for agent in agents:
                agent.url = agency.url(second)
            names = list(pool.map(lambda agent: agent.names(), agents))
        assert names == [["look"]] * 1000
        assert len(one.sessions) == 1000, "each goes on with its own session at the server"
        for agent in agents:
            agent.close()
        assert second.stop() == 0


def until_known(program: Program, agent: Agent) -> None:
    """Wait until a process has heard of the consumer."""
    said = {"jsonrpc": "2.0", "id": 0, "method": "x"}
    until(lambda: agent.post(said).status_code == 400 or None, what=f"{program.arguments} knows the consumer")


@pytest.mark.parametrize(
    ("raw", "headers", "refusal"),
    [
        (b"{", {}, (400, -32700)),
        (b"[]", {}, (400, -32600)),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', {}, (400, -32600)),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', {}, (400, -32600)),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', {}, (400, -32600)),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', {}, (400, -32600)),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', {}, (400, -32600)),
        (b"\xff", {}, (400, -32700)),
        (b"[" * 100_000, {}, (400, -32700)),
        (b"{}", {"content-type": "text/plain"}, (415, -32700)),
        (b"{}", {"accept": "text/html"}, (406, -32600)),
        (b"{}", {"accept": "application/json"}, (406, -32600)),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"mcp-protocol-version": "1999-01-01"}, (400, None)),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', {}, (400, -32600)),
        (b"x" * (8 * 1024 * 1024 + 1), {}, (413, -32600)),
        (b"{}", {"origin": "https://evil.example.com"}, (403, -32001)),
        (b"{}", {"host": "evil.example.com"}, (403, -32001)),
    ],
)
def test_bad_input_is_refused_and_nothing_hangs(
    program: Program, admin: Admin, raw: bytes, headers: dict[str, str], refusal: tuple[int, int | None]
) -> None:
    status, code = refusal
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        usual = {"x-ag-api-key": agency.key.text, "accept": "application/json, text/event-stream"}
        told = httpx.post(
            agency.url(program),
            content=raw,
            headers=usual | {"content-type": "application/json"} | headers,
            trust_env=False,
            timeout=10,
        )
        assert told.status_code == status, told.text
        assert code is None or told.json()["error"]["code"] == code, told.text
        assert one.asked == []


def test_what_is_kept_of_a_client_is_bounded(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            hello = {"protocolVersion": "2025-11-25", "capabilities": {"x": "y" * 70_000}, "clientInfo": {}}
            told = agent.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
            assert (told.status_code, told.json()["error"]["code"]) == (413, -32600)
            assert one.asked == []


STATELESS = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"mcp-method": "tools/list"}, -32020),
        ({"mcp-name": "other"}, -32020),
        ({"mcp-name": "=?base64?b3RoZXI=?="}, -32020),
        ({"mcp-protocol-version": "2030-01-01"}, -32020),
        ({"mcp-method": ""}, -32020),
    ],
)
def test_headers_that_disagree_with_the_body(
    program: Program, admin: Admin, headers: dict[str, str], code: int
) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        right = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "look"}
        with Agent(agency.url(program), agency.key.text) as agent:
            given = {"name": "look", "_meta": STATELESS}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given}
            told = agent.post(message, **(right | headers))
            assert (told.status_code, told.json()["error"]["code"]) == (400, code), told.text
            assert "tools/call" not in one.methods
            told = agent.post(message, **(right | {"mcp-name": "=?base64?bG9vaw==?="}))
            assert messages(told)[-1]["result"]["content"][0]["text"] == "one: look", "and what agrees is served"
            assert messages(told)[-1]["result"]["resultType"] == "complete", "as its own revision has it"


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_who_comes_back_is_told_the_rest(program: Program, admin: Admin, several: bool) -> None:
    """A stream that broke goes on where the server left it, also for who finds it by way of several."""
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
    with Scripted("one") as one, Scripted("two", tools=("see",)) as two:
        one.speaks = two.speaks = True
        one.say = events(progress, mark="e-1", name="look")
        agency = Agency(admin, {"one": one.url, "two": two.url} if several else {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "look"}}
            told = agent.post(call)
            assert messages(told) == [progress], "and no answer"
            (mark,) = [line[3:].strip() for line in told.text.splitlines() if line.startswith("id:")]
            answer = {"jsonrpc": "2.0", "id": 5, "result": {"content": [{"type": "text", "text": "done"}]}}
            one.missed["e-1"] = [("e-2", answer)]
            headers = agent.headers | {"accept": "text/event-stream", "last-event-id": mark}
            with httpx.stream("GET", agent.url, headers=headers, trust_env=False, timeout=10) as stream:
                lines = (line for line in stream.iter_lines() if line.startswith(("id:", "data:")))
                following = next(lines)
                assert json.loads(next(lines)[5:]) == answer
            assert following.endswith("e-2")
            assert one.resumed == ["e-1"]
            assert (mark == "e-1") == (not several)
            if several:
                until(lambda: two.resumed, what="the other one is listened to as well")
                assert two.resumed == [""], "but never said anything that was missed"
