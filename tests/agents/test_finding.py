"""Two tools in the place of many."""

from typing import Any

from tests.e2e.program import Admin, Program, until

from .kit import Agency, Agent
from .scripted import Scripted

MANY = ("create_invoice", "list_invoices", "sendEmail", "weather_forecast", *(f"other_{n}" for n in range(60)))


def test_an_agent_searches_and_calls_what_it_found(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=MANY) as one, Scripted("two", tools=("delete_invoice", "secret_tool")) as two:
        agency = Agency(admin, {"one": one.url, "two": two.url})
        first, second = agency.registries["one"], agency.registries["two"]
        toolkit = [{"registry_id": first, "tool": "*"}, {"registry_id": second, "tool": "delete_invoice"}]
        agency.set(tool_search=True, toolkit=toolkit)
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            listed = agent.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            assert [tool["name"] for tool in listed.json()["result"]["tools"]] == ["search_tools", "call_tool"]
            event = until(lambda: program.event(listed.headers["x-ag-trace-id"]))
            assert event["mcp"]["tokens_saved"] > 300

            def search(query: str, **more: Any) -> list[str]:
                found = agent.ask("tools/call", name="search_tools", arguments={"query": query, **more})
                return [tool["name"] for tool in found["structuredContent"]["tools"]]

            assert set(search("an invoice")) == {"create_invoice", "list_invoices", "delete_invoice"}
            assert search("send an email") == ["sendEmail"]
            assert search("invoice", limit=1) == ["delete_invoice"], "what a toolkit names comes first"
            assert search("secret") == [], "what it may not use it does not find"
            assert search("nothing like it") == []
            given = {"name": "delete_invoice", "arguments": {"id": 7}}
            called = agent.ask("tools/call", name="call_tool", arguments=given)
            assert called["content"][0]["text"] == "two: delete_invoice"
            assert two.asked[-1]["params"]["arguments"] == {"id": 7}
            denied = agent.ask("tools/call", name="call_tool", arguments={"name": "secret_tool"})
            assert denied["code"] in (-32001, -32602)
            assert agent.ask("tools/call", name="call_tool", arguments={})["code"] == -32602
            assert agent.ask("tools/call", name="search_tools", arguments={"query": " "})["code"] == -32602


def test_what_is_called_that_way_is_counted_as_what_it_is(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=("look", "touch")) as one:
        agency = Agency(admin, {"one": one.url}, tool_search=True)
        rules = [{"tool": "look", "windows": [{"duration": "1h", "max": 1}]}]
        agency.gateway.policy("per_tool_rate_limiter", agency.consumer, rules=rules)
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            asked = {"name": "call_tool", "arguments": {"name": "look"}}
            assert "content" in agent.ask("tools/call", **asked)
            assert agent.ask("tools/call", **asked)["code"] == -32004
