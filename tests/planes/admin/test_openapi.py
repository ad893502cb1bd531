"""The document says what the routes do: nothing less, nothing more, and its examples work."""

import json
import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Route

from trustgate.planes.admin.app import admin_app
from trustgate.planes.admin.examples import PROBLEMS, REQUESTS
from trustgate.planes.admin.openapi import codes_of, document, rendered
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.table import OPERATIONS

from .api import Api
from .conftest import World, make_world
from .test_boundaries import BODIES, address, ids_of

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]


def test_it_is_openapi() -> None:
    validate(document())


async def test_every_route_is_in_it_and_nothing_else(services: AdminServices) -> None:
    app = admin_app(services)
    assert isinstance(app, Starlette)
    routed = {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method.upper()) for path, item in document()["paths"].items() for method in item}
    assert routed == described
    assert len(described) == len(OPERATIONS) == len({operation.name for operation in OPERATIONS})


async def test_it_is_what_is_served(client: AsyncClient) -> None:
    assert (await client.get("/openapi.json")).json() == document()


def test_the_committed_file_is_current() -> None:
    assert (ROOT / "docs" / "openapi.json").read_text("utf-8") == rendered(), "run `make openapi` and commit the file"


def test_the_command_tells_the_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = runpy.run_path(str(ROOT / "cmd" / "openapi" / "main.py"))
    file = tmp_path / "openapi.json"
    monkeypatch.setitem(command["main"].__globals__, "FILE", file)
    assert command["main"](["--check"]) == 1
    assert command["main"]([]) == 0
    assert command["main"](["--check"]) == 0
    file.write_text(file.read_text("utf-8").replace("TrustGate", "Trustgate"), "utf-8")
    assert command["main"](["--check"]) == 1
    assert "cmd" not in sys.modules or hasattr(sys.modules["cmd"], "Cmd")


def test_every_code_is_explained_and_every_explanation_used() -> None:
    assert {code for operation in OPERATIONS for code in codes_of(operation)} == set(PROBLEMS)
    assert set(REQUESTS) <= {operation.name for operation in OPERATIONS}


def test_secured_operations_say_so() -> None:
    for path, item in document()["paths"].items():
        for operation in item.values():
            assert (operation["security"] == [{"token": []}]) == path.startswith("/v1/")
            assert ("401" in operation["responses"]) == path.startswith("/v1/")


def test_no_secret_is_in_what_is_read_back() -> None:
    for name, schema in document()["components"]["schemas"].items():
        if name.endswith(("View", "List", "Group")):
            assert "writeOnly" not in json.dumps(schema), name


async def test_every_operation_goes_well_as_it_is_described(api: Api) -> None:
    """The answers are held against the document by `Api`; here each operation answers at least once."""
    for operation in sorted(OPERATIONS, key=lambda each: each.method == "DELETE"):
        world = await make_world(api, f"w-{operation.name.lower()}")
        body = {"body": BODIES.get(operation.name, {})} if operation.method in ("POST", "PUT") else {}
        await api.ok(operation.method, address(operation, ids_of(operation, world)), **body)
    assert api.seen == {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_the_examples_work(api: Api, name: str) -> None:
    operation = next(each for each in OPERATIONS if each.name == name)
    for number, example in enumerate(REQUESTS[name].values()):
        fresh = await make_world(api, f"example-{number}")
        body = _with_ids(example, fresh)
        if operation.name == "testConnection" and body.get("provider") != "echo":
            continue  # nobody outside is called
        if operation.name in ("createConsumer", "createPolicy"):
            body = body | {"name": "another"}
        await api.ok(operation.method, address(operation, ids_of(operation, fresh)), body)


def _with_ids(example: Any, world: World) -> Any:
    text = re.sub(r"01920f3e-[0-9a-f-]+", world.registry, json.dumps(example))
    return json.loads(text)


class Assets(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        given = dict(attrs)
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value]
        self.inline |= tag == "style" or (tag == "script" and "src" not in given)
        self.inline |= any(name.startswith("on") or name == "style" for name in given)


async def test_the_page_needs_nobody_else(client: AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assets = Assets()
    assets.feed(page.text)
    assert not assets.inline  # the content security policy would not run it
    for path in assets.loaded:
        assert path.startswith("/")
        assert (await client.get(path)).status_code == 200
    script = (await client.get("/docs/page.js")).text
    assert "http://" not in script
    assert "https://" not in script
    assert "innerHTML" not in script
