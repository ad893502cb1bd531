"""HTTP APIs as servers: what their descriptions say becomes tools, and calls of those become requests."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest

from tests.e2e.program import Admin, Program

from .kit import Agency, Agent
from .scripted import Scripted

Json = dict[str, Any]
PET: Json = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "mother": {"$ref": "#/components/schemas/Pet"},
        "weight": {"type": "number", "nullable": True, "minimum": 0, "exclusiveMinimum": True},
    },
}
TENANT: Json = {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "string"}}
PETS: Json = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "2.1", "description": "All about pets."},
    "servers": [{"url": "/v1"}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "tags": ["reading"],
                "summary": "Lists pets.",
                "parameters": [
                    {"name": "limit", "in": "query", "description": "How many.", "schema": {"type": "integer"}},
                    {"name": "kind", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array"}},
                    {"name": "where", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"$ref": "#/components/parameters/Tenant"},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                    {"name": "Host", "in": "header", "schema": {"type": "string"}},
                ],
            },
            "post": {
                "operationId": "create pet!",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/xml": {},
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}},
                    },
                },
            },
        },
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "getPet", "tags": ["reading"]},
            "delete": {},
        },
        "/search": {
            "post": {
                "operationId": "search",
                "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}},
            }
        },
        "/picture": {"get": {"operationId": "picture"}},
    },
    "components": {"schemas": {"Pet": PET}, "parameters": {"Tenant": TENANT}},
}


class Pets:
    """An API that keeps what it was asked: method, path and query, headers, body."""

    def __init__(self, document: Any = PETS) -> None:
        self.document = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: tuple[int, str, bytes] = (200, "application/json", b'{"pets":[]}')
        handler = type("Handler", (_Handler,), {"api": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def url(self) -> str:
        return self.base + "/openapi.json"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: Pets
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.api.asked.append((self.command, self.path, headers, body))
        status, kind, said = self.api.answer
        if self.path == "/openapi.json":
            status, kind, said = 200, "application/json", self.api.document
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pets() -> Iterator[Pets]:
    with Pets() as api:
        yield api


def target(api: Pets, **more: Any) -> Json:
    auth = {"mode": "static", "header": "Authorization", "value": "Bearer a-secret-of-the-api"}
    return {"transport": "openapi", "url": api.url, "auth": auth, "headers": {"X-Tenant": "acme"}, **more}


@pytest.fixture
def agent(program: Program, admin: Admin, pets: Pets) -> Iterator[Agent]:
    """An agent of a consumer that has the API."""
    agency = Agency(admin, {"pets": target(pets)})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        yield agent


def test_operations_are_tools(program: Program, admin: Admin, pets: Pets) -> None:
    agency = Agency(admin, {"pets": target(pets)})
    with Agent(agency.url(program), agency.key.text) as agent:
        said = agent.begin()
        assert said["serverInfo"] == {"name": "Pets", "version": "2.1"}
        assert said["instructions"] == "All about pets."
        tools = {tool["name"]: tool for tool in agent.ask("tools/list")["tools"]}
        assert list(tools) == ["listPets", "create_pet", "getPet", "delete_pets_id", "search", "picture"]
        listing = tools["listPets"]["inputSchema"]
        assert list(listing["properties"]) == ["limit", "kind", "ids", "where"]
        assert listing["properties"]["limit"] == {"type": "integer", "description": "How many."}
        assert "required" not in listing
        making = tools["create_pet"]["inputSchema"]
        assert making["properties"]["body"] == {"$ref": "#/$defs/Pet"}
        pet = making["$defs"]["Pet"]
        assert pet["properties"]["mother"] == {"$ref": "#/$defs/Pet"}
        assert pet["properties"]["weight"] == {"type": ["number", "null"], "exclusiveMinimum": 0}
        assert tools["getPet"]["annotations"]["readOnlyHint"] is True
        assert tools["delete_pets_id"]["annotations"]["destructiveHint"] is True


def test_calls_are_requests(program: Program, admin: Admin, pets: Pets) -> None:
    agency = Agency(admin, {"pets": target(pets)})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()

        def call(name: str, **arguments: Any) -> Any:
            return agent.ask("tools/call", name=name, arguments=arguments)

        told = call("listPets", limit=3, kind=["cat", "a&b"], ids=[1, 2], where={"age": "old"})
        assert told["structuredContent"] == {"pets": []}
        assert told["content"] == [{"type": "text", "text": '{"pets":[]}'}]
        method, path, headers, _ = pets.asked[-1]
        assert (method, path) == ("GET", "/v1/pets?limit=3&kind=cat&kind=a%26b&ids=1,2&where[age]=old")
        assert headers["authorization"] == "Bearer a-secret-of-the-api"
        assert headers["x-tenant"] == "acme"
        assert not [name for name in headers if name.startswith("mcp-")]
        assert "x-ag-api-key" not in headers
        call("getPet", id="a/b ä?")
        assert pets.asked[-1][1] == "/v1/pets/a%2Fb%20%C3%A4%3F"
        call("create_pet", body={"name": "Tom"})
        assert (pets.asked[-1][0], pets.asked[-1][3]) == ("POST", b'{"name":"Tom"}')
        assert pets.asked[-1][2]["content-type"] == "application/json"
        call("search", body={"q": "a b", "in": ["x", "y"]})
        assert pets.asked[-1][3] == b"q=a+b&in=x&in=y"


def test_what_an_api_answers_is_a_result(program: Program, admin: Admin, pets: Pets) -> None:
    agency = Agency(admin, {"pets": target(pets)})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        pets.answer = (404, "application/json", b'{"message":"no such pet"}')
        told = agent.ask("tools/call", name="getPet", arguments={"id": "x"})
        assert told["isError"] is True
        assert [each["text"] for each in told["content"]] == [
            "The API answered with status 404.",
            '{"message":"no such pet"}',
        ]
        pets.answer = (302, "text/plain", b"")
        assert agent.ask("tools/call", name="getPet", arguments={"id": "x"})["isError"] is True
        pets.answer = (204, "", b"")
        assert agent.ask("tools/call", name="delete_pets_id", arguments={"id": "x"}).get("isError") is None
        pets.answer = (200, "image/png", b"\x89PNG")
        assert agent.ask("tools/call", name="picture")["content"] == [
            {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}
        ]
        pets.answer = (200, "application/json", b"[1, 2]")
        assert "structuredContent" not in agent.ask("tools/call", name="picture")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("getPet", {}, "id is required"),
        ("getPet", {"id": ".."}, "part of a path"),
        ("getPet", {"id": ""}, "part of a path"),
        ("getPet", {"id": "x", "X-Tenant": "other"}, "unknown arguments: X-Tenant"),
        ("create_pet", {}, "body is required"),
        ("search", {"body": "text"}, "must be an object"),
    ],
)
def test_wrong_arguments_are_errors_of_the_tool(agent: Agent, name: str, arguments: Json, says: str) -> None:
    told = agent.ask("tools/call", name=name, arguments=arguments)
    assert told["isError"] is True
    assert says in told["content"][0]["text"]


def test_wrong_arguments_do_not_reach_the_api(agent: Agent, pets: Pets) -> None:
    agent.ask("tools/call", name="getPet", arguments={"id": ".."})
    assert [path for _, path, _, _ in pets.asked] == ["/openapi.json"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"tags": ["reading"]}, ["listPets", "getPet"]),
        ({"operations": ["search"]}, ["search"]),
        ({"paths": ["/pets/*"]}, ["getPet", "delete_pets_id"]),
        ({"paths": ["/picture"], "operations": ["search"]}, ["search", "picture"]),
    ],
)
def test_operations_are_chosen(program: Program, admin: Admin, pets: Pets, wanted: Json, names: list[str]) -> None:
    agency = Agency(admin, {"pets": target(pets, openapi=wanted)})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        assert agent.names() == names


def test_a_description_may_be_a_part_of_the_configuration(program: Program, admin: Admin, pets: Pets) -> None:
    api = {"document": {**PETS, "servers": []}, "base_url": pets.base + "/here"}
    agency = Agency(admin, {"pets": {"transport": "openapi", "openapi": api}})
    with Agent(agency.url(program), agency.key.text) as agent:
        agent.begin()
        agent.ask("tools/call", name="getPet", arguments={"id": "x"})
        assert [path for _, path, _, _ in pets.asked] == ["/here/pets/x"]


def test_it_may_be_written_in_yaml_and_stand_beside_a_server(program: Program, admin: Admin) -> None:
    text = b"openapi: 3.1.0\ninfo: {title: T, version: '1'}\npaths:\n  /now:\n    get: {summary: 'The time.'}\n"
    with Pets(text) as api, Scripted("one") as one:
        agency = Agency(admin, {"api": target(api, prefix="api"), "one": one.url})
        with Agent(agency.url(program), agency.key.text) as agent:
            agent.begin()
            assert agent.names() == ["api_get_now", "look"]
            assert agent.ask("tools/call", name="api_get_now")["structuredContent"] == {"pets": []}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"a: [", "neither JSON nor YAML"),
        (b"a: &a [1, *a]", "more than 2000000 parts"),
        (b"- a\n- list", "no object"),
        (b'{"swagger": "2.0", "paths": {}}', "only OpenAPI 3"),
        (b'{"openapi": "3.1.0"}', "no paths"),
        (b'{"openapi": "3.1.0", "paths": {}}', "no operation"),
        (b'{"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "http://x/y"}]}}}}', "out of the"),
        (b'{"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "#/b"}]}}}, "b": {"$ref": "#/b"}}',
         "without an end"),
        (json.dumps({**PETS, "servers": [{"url": "https://elsewhere.example.com"}]}).encode(), "give base_url"),
    ],
)  # fmt: skip
def test_a_description_that_is_wrong(program: Program, admin: Admin, document: bytes, says: str) -> None:
    with Pets(document) as api:
        agency = Agency(admin, {"pets": target(api)})
        path = agency.gateway.path(f"/registries/{agency.registries['pets']}/tools")
        refused = admin.call("GET", path)
        assert (refused.status_code, says in refused.json()["message"]) == (502, True), refused.text
        with Agent(agency.url(program), agency.key.text) as agent:
            told = agent.begin()
            assert told["code"] == -32603
            assert "elsewhere" not in told["message"]
        assert not [path for _, path, _, _ in api.asked if path != "/openapi.json"]


def test_what_is_configured_wrong_is_refused_when_it_is_written(admin: Admin) -> None:
    gateway = admin.gateway()
    for wrong, says in (
        ({"transport": "openapi"}, "mcp_target.url"),
        ({"url": "https://example.com", "openapi": {}}, "transport openapi"),
        ({"transport": "openapi", "openapi": {"document": {"openapi": "2"}}}, "OpenAPI 3"),
        ({"transport": "openapi", "openapi": {"document": {**PETS, "servers": []}}}, "give base_url"),
        ({"transport": "openapi", "url": "https://x.com", "openapi": {"base_url": "ftp://x"}}, "base_url"),
    ):
        body = {"name": "x", "type": "MCP", "mcp_target": wrong}
        refused = admin.call("POST", gateway.path("/registries"), body)
        assert (refused.status_code, says in refused.text) == (422, True), refused.text
