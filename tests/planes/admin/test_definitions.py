"""What servers say of their tools, for administrators."""

import pytest

from trustgate.planes.admin.plane import AdminServices
from trustgate.storage.definitions import Said

from .api import Api
from .conftest import World, make_world

pytestmark = pytest.mark.anyio


async def server_of(api: Api, world: World, services: AdminServices) -> str:
    target = {"url": "https://mcp.example.com/mcp"}
    made = await api.ok("POST", f"{world.root}/registries", {"name": "tools", "type": "MCP", "mcp_target": target})
    where = world.gateway, made["id"]
    await services.definitions.pin(*where, [Said("look", "d1", '{"name":"look"}'), Said("see", "d1", "")])
    await services.definitions.note(*where, [Said("look", "d2", '{"name":"look","description":"x"}')])
    return f"{world.root}/registries/{made['id']}/tool-definitions"


async def test_what_changed_is_seen_beside_what_was_accepted(api: Api, world: World, services: AdminServices) -> None:
    path = await server_of(api, world, services)
    page = await api.ok("GET", path)
    assert (page["page"], page["size"], page["total"]) == (1, 20, 2)
    look, see = page["items"]
    assert (look["status"], look["digest"], look["seen_digest"]) == ("changed", "d1", "d2")
    assert (look["definition"], look["seen_definition"]) == (
        {"name": "look"},
        {"name": "look", "description": "x"},
    )
    assert look["first_seen_at"] <= look["changed_at"]
    assert see["status"] == "accepted"
    assert not {"seen_digest", "seen_definition", "definition", "changed_at", "accepted_at"} & set(see)
    assert (await api.ok("GET", f"{path}?status=changed&size=1"))["items"] == [look]
    assert (await api.ok("GET", f"{path}?page=2&size=1"))["items"] == [see]


async def test_what_was_looked_at_is_accepted(api: Api, world: World, services: AdminServices) -> None:
    path = await server_of(api, world, services)
    accept = f"{path}/accept"
    await api.no("POST", accept, {"definitions": {"look": "d1"}}, code="conflict", says="look")
    await api.no("POST", accept, {"definitions": {"none": "d2"}}, code="conflict", says="none")
    await api.no("POST", accept, {}, code="validation_failed", says="definitions")
    await api.no(
        "POST", accept, {"definitions": {"look": 1}}, code="validation_failed", says="definitions[...]: Expected `str`"
    )
    many = {f"t{number}": "d" for number in range(1001)}
    await api.no("POST", accept, {"definitions": many}, code="validation_failed", says="at most 1000")
    assert await api.ok("POST", accept, {"definitions": {"look": "d2"}}) == {"accepted": 1}
    assert await api.ok("POST", accept, {"definitions": {}}) == {"accepted": 0}
    assert (await api.ok("GET", f"{path}?status=changed"))["total"] == 0
    (look, _) = (await api.ok("GET", path))["items"]
    assert (look["digest"], look["accepted_at"] >= look["changed_at"]) == ("d2", True)


async def test_another_gateway_does_not_reach_them(api: Api, world: World, services: AdminServices) -> None:
    path = await server_of(api, world, services)
    other = await make_world(api, "other")
    across = path.replace(world.gateway, other.gateway)
    await api.no("GET", across, code="not_found")
    await api.no("POST", f"{across}/accept", {"definitions": {"look": "d2"}}, code="not_found")
    assert (await api.ok("GET", f"{path}?status=changed"))["total"] == 1
