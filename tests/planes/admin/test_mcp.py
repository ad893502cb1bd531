"""Registries of MCP servers, and consumers with a toolkit."""

from typing import Any

import pytest

from .api import Api
from .conftest import World

pytestmark = pytest.mark.anyio

SECRET = "a-secret-of-the-server"


def server(name: str = "tools", **target: Any) -> dict[str, Any]:
    return {"name": name, "type": "mcp", "mcp_target": {"url": "https://mcp.example.com/mcp", **target}}


def static(api: Api) -> dict[str, Any]:
    return {"mode": "static", "header": "X-Key", "value": api.hide(SECRET)}


async def test_a_server_is_a_registry_whose_secrets_are_masked(api: Api, world: World) -> None:
    root = f"{world.root}/registries"
    made = await api.ok("POST", root, server(auth=static(api), headers={"X-Team": api.hide("a-header-secret")}))
    assert made["type"] == "MCP"
    assert "provider" not in made
    assert made["mcp_target"]["auth"] == {"mode": "static", "header": "X-Key", "value": "***rver"}
    assert made["mcp_target"]["headers"] == {"X-Team": "***cret"}
    path = f"{root}/{made['id']}"
    assert await api.ok("GET", path) == made
    back = {"mcp_target": made["mcp_target"], "description": "same secrets"}
    assert (await api.ok("PUT", path, back))["mcp_target"] == made["mcp_target"]
    elsewhere = made["mcp_target"] | {"url": "https://evil.example.com/mcp"}
    await api.no("PUT", path, {"mcp_target": elsewhere}, code="validation_failed", says="masked secret")
    await api.no("PUT", path, {"type": "LLM"}, code="validation_failed", says="type cannot be changed")
    await api.no("PUT", path, {"provider": "openai"}, code="validation_failed", says="provider is not used")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"url": "mcp.example.com"}, "mcp_target.url is not an address"),
        ({"url": "https://me:pw@mcp.example.com"}, "must hold no credentials"),
        ({"transport": "stdio"}, "transport"),
        ({"prefix": "a b"}, "mcp_target.prefix"),
        ({"headers": {"Host": "x"}}, "names the header Host"),
        ({"headers": {"X": "a\nb"}}, "visible ASCII"),
        ({"auth": {"mode": "static", "header": "X"}}, "auth.value is required"),
        ({"auth": {"mode": "none", "header": "X", "value": "y"}}, "auth.header is not used by mode none"),
        ({"auth": {"mode": "passthrough"}}, "expected_audience is required"),
        ({"auth": {"mode": "client_credentials", "client_id": "a"}}, "client_secret is required"),
        ({"auth": {"mode": "exchange"}}, "mode"),
        (
            {"auth": {"mode": "static", "header": "Authorization", "value": "x"}, "headers": {"authorization": "y"}},
            "may",
        ),
        ({"timeout_ms": 1}, "timeout_ms"),
        ({"url_": "x"}, "url_"),
    ],
)
async def test_what_no_server_can_be_reached_with(api: Api, world: World, target: dict[str, Any], says: str) -> None:
    await api.no("POST", f"{world.root}/registries", server(**target), code="validation_failed", says=says)


async def test_without_a_target_there_is_no_server(api: Api, world: World) -> None:
    root = f"{world.root}/registries"
    await api.no("POST", root, {"name": "t", "type": "MCP"}, code="validation_failed", says="mcp_target is required")
    await api.no("POST", root, {"name": "t"}, code="validation_failed", says="provider is required")


async def test_a_consumer_has_a_toolkit(api: Api, world: World) -> None:
    registry = (await api.ok("POST", f"{world.root}/registries", server()))["id"]
    toolkit = [
        {"registry_id": registry, "tool": "search", "expose_as": "find"},
        {"registry_id": registry, "prompt": "*"},
        {"registry_id": registry, "resource": "docs://*"},
    ]
    body = {"name": "agent", "type": "MCP", "registries": [{"id": registry}], "toolkit": toolkit, "fail_mode": "closed"}
    made = await api.ok("POST", f"{world.root}/consumers", body)
    assert (made["type"], made["toolkit"], made["fail_mode"]) == ("MCP", toolkit, "closed")
    path = f"{world.root}/consumers/{made['id']}"
    assert (await api.ok("PUT", path, {"toolkit": []}))["toolkit"] == [], "nothing, which is not everything"
    everything = await api.ok("POST", f"{world.root}/consumers", {"name": "all", "type": "MCP"})
    assert "toolkit" not in everything
    await api.ok("PUT", path, {"toolkit": toolkit})
    refused = await api.call("DELETE", f"{path}/registries/{registry}")
    assert (refused.status, "toolkit names this registry" in refused.text) == (409, True)
    await api.ok("DELETE", f"{world.root}/registries/{registry}")
    assert (await api.ok("GET", path))["toolkit"] == []


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([{"tool": "a", "prompt": "b"}], "exactly one of"),
        ([{}], "exactly one of"),
        ([{"tool": "a"}, {"tool": "a"}], "twice"),
        ([{"resource": "a://b", "expose_as": "c"}], "one tool or prompt"),
        ([{"tool": "*", "expose_as": "c"}], "one tool or prompt"),
        ([{"tool": "a", "expose_as": "b c"}], "expose_as must be"),
        ([{"tool": "a*"}], "takes * alone"),
        ([{"resource": "a*b"}], "takes * alone"),
        ([{"tool": "a", "expose_as": "x"}, {"tool": "b", "expose_as": "x"}], "names two tools"),
        ([{"tool": "a", "expose_as": "b"}, {"tool": "b"}], "names two tools"),
    ],
)
async def test_a_toolkit_that_is_unclear(api: Api, world: World, entries: list[dict[str, str]], says: str) -> None:
    registry = (await api.ok("POST", f"{world.root}/registries", server()))["id"]
    toolkit = [{"registry_id": registry, **entry} for entry in entries]
    body = {"name": "agent", "type": "MCP", "registries": [{"id": registry}], "toolkit": toolkit}
    await api.no("POST", f"{world.root}/consumers", body, code="validation_failed", says=says)


async def test_what_is_attached_is_of_one_type(api: Api, world: World) -> None:
    registry = (await api.ok("POST", f"{world.root}/registries", server()))["id"]
    agent = (await api.ok("POST", f"{world.root}/consumers", {"name": "agent", "type": "MCP"}))["id"]
    root = f"{world.root}/consumers"
    refused = await api.call("POST", f"{root}/{world.consumer}/registries/{registry}")
    assert (refused.status, "both have to be of one type" in refused.text) == (422, True)
    refused = await api.call("POST", f"{root}/{agent}/registries/{world.registry}")
    assert refused.status == 422
    stranger = [{"registry_id": registry, "tool": "*"}]
    await api.no("PUT", f"{root}/{agent}", {"toolkit": stranger}, code="validation_failed", says="not attached")
    assert (await api.call("POST", f"{root}/{agent}/registries/{registry}")).status == 204
