"""The admin plane asks servers: what they have, and whether they can be used."""

from tests.e2e.program import Admin, Program, free_ports

from .kit import Agency
from .scripted import Scripted


def test_the_tools_of_a_server(program: Program, admin: Admin) -> None:
    with Scripted("one", tools=("look", "touch")) as one:
        auth = {"mode": "static", "header": "X-Key", "value": "a-secret-of-the-server"}
        agency = Agency(admin, {"one": {"url": one.url, "auth": auth}})
        path = agency.gateway.path(f"/registries/{agency.registries['one']}/tools")
        told = admin.done("GET", path)
        assert [tool["name"] for tool in told["tools"]] == ["look", "touch"]
        assert (told["protocol_version"], told["server"]["name"]) == ("2025-11-25", "one")
        assert one.headers[-1]["x-key"] == "a-secret-of-the-server"
        one.dead = True
        refused = admin.call("GET", path)
        assert (refused.status_code, refused.json()["error"]) == (502, "bad_gateway")
        assert "one did not answer" in refused.json()["message"]
        echo = agency.gateway.registry("echo", "echo")
        assert admin.done("GET", agency.gateway.path(f"/registries/{echo}/tools")) == {"tools": []}


def test_a_server_is_tried_before_it_is_kept(program: Program, admin: Admin) -> None:
    with Scripted("one") as one:
        agency = Agency(admin, {"one": one.url})
        path = agency.gateway.path("/registries/test-connection")
        told = admin.done("POST", path, {"registry_id": agency.registries["one"]})
        assert (told["ok"], told["provider"]) == (True, "mcp")
        assert admin.done("POST", path, {"mcp_target": {"url": one.url}})["ok"]
        (dead,) = free_ports(1)
        told = admin.done("POST", path, {"mcp_target": {"url": f"http://127.0.0.1:{dead}/mcp"}})
        assert (told["ok"], told["stage"]) == (False, "connectivity")
        assert "did not answer" in told["message"]
        refused = admin.call("POST", path, {"mcp_target": {"url": "nowhere"}})
        assert (refused.status_code, "mcp_target.url" in refused.text) == (422, True)
