"""Several servers as one: names, toolkits, who is missing, and that nobody holds up the others."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.program import Admin, Program, free_ports, until

from .kit import Agency, Agent
from .scripted import Scripted

MISSING = "io.trustgate/missing"


def test_names_that_two_have_are_told_apart_and_lead_to_their_server(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=("look", "only")) as one, Scripted("two", tools=("look",)) as two:
        agency = Agency(admin, {"First!": one.url, "second": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            said = agent.begin()
            assert said["serverInfo"]["name"] == "trustgate"
            assert said["capabilities"]["tools"] == {"listChanged": True}
            assert agent.names() == ["First_look", "only", "second_look"]
            assert agent.ask("tools/call", name="second_look")["content"][0]["text"] == "two: look"
            assert agent.ask("tools/call", name="First_look")["content"][0]["text"] == "one: look"
            assert agent.ask("tools/call", name="only")["content"][0]["text"] == "one: only"
            unknown = agent.ask("tools/call", name="look")
            assert (unknown["code"], "look" in unknown["message"]) == (-32602, True)
            assert agent.ask("ping") == {}
            assert agent.ask("no/such")["code"] == -32601


def test_names_stay_when_a_server_is_away_and_the_list_says_who_is_missing(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two") as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert agent.names() == ["one_look", "two_look"]
            two.dead = True
            page = agent.ask("tools/list")
            assert [tool["name"] for tool in page["tools"]] == ["one_look"]
            (missing,) = page["_meta"][MISSING]
            assert missing["registry"] == "two"
            assert "did not answer" in missing["reason"]
            agency.set(fail_mode="closed")
            refused = agent.ask("tools/list")
            assert (refused["code"], refused["data"]["missing"][0]["registry"]) == (-32603, "two")


def test_a_prefix_is_always_there(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two", tools=("look", "other")) as two:
        agency = Agency(admin, {"one": one.url, "two": {"url": two.url, "prefix": "b"}})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert agent.names() == ["look", "b_look", "b_other"]
            assert agent.ask("tools/call", name="b_look")["content"][0]["text"] == "two: look"


def test_a_hung_a_dead_and_a_slow_server_hold_up_nobody(program: Program, admin: Admin) -> None:
    (dead,) = free_ports(1)
    with (
        Scripted("one") as one,
        Scripted("two", tools=("see",)) as two,
        Scripted("slow", tools=("wait",), late=0.3) as slow,
        Scripted("hung", late=-1) as hung,
    ):
        soon = {"discovery_timeout_ms": 1500}
        servers = {"one": one, "two": two, "slow": slow, "hung": hung}
        targets: dict[str, object] = {name: {"url": each.url, **soon} for name, each in servers.items()}
        agency = Agency(admin, targets | {"dead": {"url": f"http://127.0.0.1:{dead}/mcp", **soon}})
        with Agent(agency.url(program), agency.key.text) as agent:
            began = time.monotonic()
            agent.begin()
            assert time.monotonic() - began < 2.5
            began = time.monotonic()
            page = agent.ask("tools/list")
            assert time.monotonic() - began < 2.5
            assert [tool["name"] for tool in page["tools"]] == ["look", "see", "wait"]
            assert sorted(each["registry"] for each in page["_meta"][MISSING]) == ["dead", "hung"]
            began = time.monotonic()
            assert agent.ask("tools/call", name="look")["content"][0]["text"] == "one: look"
            assert time.monotonic() - began < 0.25


def test_a_toolkit_is_all_that_there_is(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=("look", "touch", "break")) as one, Scripted("two", tools=("find",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        first, second = agency.registries["one"], agency.registries["two"]
        toolkit = [
            {"registry_id": second, "tool": "*"},
            {"registry_id": first, "tool": "look", "expose_as": "see"},
            {"registry_id": first, "tool": "touch"},
        ]
        agency.set(toolkit=toolkit)
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert sorted(agent.names()) == ["find", "see", "touch"]
            assert agent.ask("tools/call", name="see")["content"][0]["text"] == "one: look"
            denied = agent.ask("tools/call", name="break")
            assert (denied["code"], "may not be used" in denied["message"]) == (-32001, True)
            assert agent.ask("tools/call", name="look")["code"] in (-32001, -32602), "by its own name it is not there"
            assert "break" not in one.methods + [each["params"].get("name") for each in one.asked if "params" in each]
            agency.set(toolkit=[])
            assert agent.names() == []


def test_a_server_that_forgot_the_session_is_met_again(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two", tools=("see",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            one.sessions.clear()
            assert agent.ask("tools/call", name="look")["content"][0]["text"] == "one: look"
            assert one.methods.count("initialize") == 2


def test_with_one_server_the_caller_is_told_that_its_session_is_over(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            said = agent.begin()
            assert said["serverInfo"] == {"name": "one", "version": "1"}, "as if it were asked itself"
            one.sessions.clear()
            told = agent.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            assert told.status_code == 404
            assert agent.post({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).status_code == 404
            agent.headers.pop("mcp-session-id")
            agent.begin()
            assert agent.names() == ["look"]


def test_ending_a_session_ends_it_at_servers(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two", tools=("see",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert one.sessions
            assert two.sessions
            told = httpx.request("DELETE", agent.url, headers=agent.headers, trust_env=False)
            assert told.status_code == 200
            assert one.sessions == two.sessions == set()
            assert agent.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (500, "text/plain", b"secret stack trace"),
        (200, "application/json", b"{not json"),
        (200, "application/json", b'{"jsonrpc":"1.0"}'),
        (200, "application/json", b'"' + b"x" * 5000 + b'"'),
        (200, "text/event-stream", b"data: " + b"y" * 5000 + b"\n\n"),
        (200, "text/event-stream", b""),
        (302, "text/plain", b"over there"),
        (401, "text/plain", b"secret words"),
    ],
)
def test_what_a_broken_server_says_is_no_answer_and_reaches_nobody(
    program: Program, admin: Admin, status: int, kind: str, body: bytes
) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": {"url": one.url, "max_result_bytes": 4096}})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            one.say = lambda message: (status, kind, body) if message.get("method") == "tools/call" else None
            began = time.monotonic()
            told = agent.post({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "look"}})
            assert time.monotonic() - began < 5
            assert b"secret" not in told.content
            if told.content:
                assert '"code":-32603' in told.text, told.text
                assert "one" in told.text
            one.say = lambda _: None
            assert agent.ask("tools/call", name="look")["content"], "and the next one is served"


def test_a_server_that_keeps_failing_is_left_alone_and_tried_again(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            one.dead = True
            for _ in range(3):
                assert "did not answer" in agent.ask("tools/call", name="look")["message"]
            asked = len(one.asked)
            refused = agent.ask("tools/call", name="look")
            assert (refused["code"], "is not asked for another" in refused["message"]) == (-32603, True)
            assert len(one.asked) == asked
            one.dead = False
            found = until(lambda: agent.ask("tools/call", name="look").get("content"), patience=10)
            assert found[0]["text"] == "one: look"


def test_names_that_are_not_there_do_not_have_servers_list_what_they_have(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two", tools=("see",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            calls = [{"jsonrpc": "2.0", "id": number, "method": "tools/call"} for number in range(30)]
            began = time.monotonic()
            with ThreadPoolExecutor(10) as pool:
                told = list(pool.map(lambda each: agent.post(each | {"params": {"name": f"no-{each['id']}"}}), calls))
            took = time.monotonic() - began
            assert {each.json()["error"]["code"] for each in told} == {-32602}
            assert one.methods.count("tools/list") <= 1 + took, "once a second"
            two.tools.append("new")
            until(lambda: "content" in agent.ask("tools/call", name="new"), patience=3, what="new names are found")


def test_all_who_ask_first_are_answered(program: Program, admin: Admin) -> None:
    with Scripted("one", late=0.2) as one, Scripted("two", tools=("see",)) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            calls = [{"jsonrpc": "2.0", "id": number, "method": "tools/call"} for number in range(10)]
            with ThreadPoolExecutor(10) as pool:
                told = list(pool.map(lambda each: agent.post(each | {"params": {"name": "see"}}), calls))
            assert all("result" in each.json() for each in told)
            assert one.methods.count("tools/list") == 1


def test_who_listens_is_not_sent_away_where_nobody_speaks(program: Program, admin: Admin) -> None:
    with Scripted("one") as one, Scripted("two") as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            headers = agent.headers | {"accept": "text/event-stream"}
            with httpx.stream("GET", agent.url, headers=headers, trust_env=False, timeout=1) as told:
                lines = told.iter_lines()
                assert next(lines) == ": listening"
                with pytest.raises(httpx.ReadTimeout):  # and no end, which callers would come back from at once
                    list(lines)
