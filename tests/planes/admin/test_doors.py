"""What every answer has, and what is said where there is nothing: headers, CORS, HEAD, 404, 405, surprises."""

import logging
import uuid
from typing import Any

import httpx
import pytest
from msgspec import structs

from trustgate.config.records import Gateway
from trustgate.planes.admin.app import admin_app
from trustgate.planes.admin.plane import AdminServices
from trustgate.settings import CorsSettings
from trustgate.storage.store import Store

from .api import SECRET, Api, token
from .conftest import World

pytestmark = pytest.mark.anyio


def caller(services: AdminServices, base_url: str = "http://admin") -> httpx.AsyncClient:
    """A client with a token."""
    headers = {"authorization": f"Bearer {token()}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(admin_app(services)), base_url=base_url, headers=headers)


@pytest.mark.parametrize("path", ["/healthz", "/v1/gateways", "/nonsense", "/v1/nonsense", "/docs"])
async def test_headers_that_every_answer_has(api: Api, path: str) -> None:
    answer = await api.call("GET", path)
    expected = {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-site",
        "cache-control": "no-store",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert uuid.UUID(answer.headers["x-request-id"])
    assert "strict-transport-security" not in answer.headers
    assert not {"server", "access-control-allow-origin"} & {name.lower() for name in answer.headers}


async def test_a_request_id_is_given_back_if_it_is_one(api: Api) -> None:
    for given, same in (("abc-123", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)):
        answer = await api.call("GET", "/healthz", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is same


async def test_https_is_kept(services: AdminServices) -> None:
    async with caller(services, "https://admin") as client:
        assert "max-age=31536000" in (await client.get("/healthz")).headers["strict-transport-security"]


async def test_unknown_routes_are_json(api: Api) -> None:
    for path in ("/", "/nonsense", "/v1", "/v1/", "/v1/nonsense", "/v1/gateways/a/b/c/d/e/f", "//v1/gateways"):
        answer = await api.no("GET", path, code="not_found", says="no such route")
        assert answer.status == 404


async def test_a_wrong_method_says_which_are_right(api: Api, world: World) -> None:
    for method, path, allowed in (
        ("PATCH", "/v1/gateways", {"GET", "HEAD", "POST"}),
        ("POST", world.root, {"GET", "HEAD", "PUT", "DELETE"}),
        ("GET", f"{world.root}/policies/{world.policy}/global", {"POST", "DELETE"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("OPTIONS", "/v1/gateways", {"GET", "HEAD", "POST"}),
        ("TRACE", "/v1/gateways", {"GET", "HEAD", "POST"}),
    ):
        answer = await api.no(method, path, code="method_not_allowed", says="takes")
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == allowed


async def test_the_token_is_asked_for_first(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1"),
        ("GET", "/v1/nonsense"),
        ("GET", "/V1/Gateways"),
        ("PATCH", "/v1/gateways"),
        ("POST", "/v1/gateways/"),
        ("GET", "/v1/gateways/nonsense"),
        ("GET", "/v1/providers-catalog"),
        ("OPTIONS", "/v1/gateways"),
    ):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized"), path
    assert (await client.get("/v1x")).status_code == 404


async def test_paths_are_tolerant(api: Api, world: World) -> None:
    for path in ("/v1/gateways/", "/V1/GATEWAYS", f"{world.root.upper()}/Registries/"):
        assert (await api.call("GET", path)).status == 200


async def test_head_is_get_without_a_body(api: Api, world: World) -> None:
    for path in ("/healthz", "/v1/gateways", world.root, "/docs"):
        get, head = await api.call("GET", path), await api.call("HEAD", path)
        assert (head.status, head.text) == (get.status, "")
        assert head.headers["content-type"] == get.headers["content-type"]
    assert (await api.call("HEAD", "/v1/gateways/nonsense")).status == 400


async def test_answers_are_compact_json(api: Api, world: World) -> None:
    answer = await api.call("GET", world.root)
    assert answer.headers["content-type"] == "application/json"
    assert answer.text.startswith('{"id":"')
    assert answer.headers["content-length"] == str(len(answer.text.encode()))
    gone = await api.call("DELETE", world.root)
    assert "content-type" not in gone.headers


async def test_a_preflight_is_answered_before_the_token_is_asked_for(client: httpx.AsyncClient) -> None:
    asked = {
        "origin": "https://console.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-own",
    }
    answer = await client.options("/v1/gateways", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization, x-own"
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "600"
    plain = await client.get("/v1/gateways", headers={"origin": "https://console.example.com"})
    assert plain.status_code == 401
    assert plain.headers["access-control-allow-origin"] == "*"
    assert "X-AG-Revision" in plain.headers["access-control-expose-headers"]


async def test_only_named_origins_are_let_in(services: AdminServices) -> None:
    cors = CorsSettings(origins=("https://a.example",), credentials=True)
    async with caller(structs.replace(services, cors=cors)) as client:
        friend = await client.get("/healthz", headers={"origin": "https://a.example"})
        assert friend.headers["access-control-allow-origin"] == "https://a.example"
        assert friend.headers["access-control-allow-credentials"] == "true"
        for path, method in (("/healthz", "GET"), ("/v1/gateways", "OPTIONS")):
            asked = {"origin": "https://b.example", "access-control-request-method": "GET"}
            stranger = await client.request(method, path, headers=asked)
            assert not [name for name in stranger.headers if name.startswith("access-control")]
            assert stranger.headers["vary"] == "Origin"


async def test_every_write_is_told_before_it_is_answered(services: AdminServices) -> None:
    told: list[int] = []

    async def applied(revision: int) -> None:
        async with services.store.read() as unit:  # it is committed by now
            assert await unit.gateways.count() == revision
        told.append(revision)

    async with caller(structs.replace(services, applied=applied)) as client:
        for number in (1, 2):
            answer = await client.post("/v1/gateways", json={"name": "x"})
            assert answer.headers["x-ag-revision"] == str(number)
        await client.get("/v1/gateways")
        await client.post("/v1/gateways", json={"name": 7})
    assert told == [1, 2]


async def test_a_write_stays_when_telling_fails(services: AdminServices, records: list[logging.LogRecord]) -> None:
    async def applied(_: int) -> None:
        raise RuntimeError(SECRET)

    async with caller(structs.replace(services, applied=applied)) as client:
        assert (await client.post("/v1/gateways", json={"slug": "x"})).status_code == 201
        assert (await client.get("/v1/gateways")).json()["total"] == 1
    said = [record.getMessage() for record in records if record.name == "trustgate.admin"]
    assert len(said) == 1
    assert "revision 1 is written" in said[0]
    assert SECRET not in said[0]


class Broken(Store):
    """A store that cannot be read."""

    def read(self) -> Any:
        """Fail."""
        raise RuntimeError(f"a surprise with {SECRET} in it")


async def test_a_surprise_is_a_500_and_a_trace_without_its_words(
    services: AdminServices, records: list[logging.LogRecord]
) -> None:
    broken = structs.replace(services, store=Broken.__new__(Broken))
    async with caller(broken) as client:
        answer = await client.get("/v1/gateways", headers={"x-request-id": "find-me"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal_error"})
    assert answer.headers["x-frame-options"] == "DENY"
    [record] = [record for record in records if record.name == "trustgate.admin"]
    said = record.getMessage()
    assert "find-me broke with RuntimeError" in said
    assert "test_doors.py" in said
    assert SECRET not in said + repr(record.__dict__)


async def test_a_record_that_cannot_be_opened_is_named_in_the_log(
    api: Api, world: World, services: AdminServices, records: list[logging.LogRecord]
) -> None:
    from trustgate.storage.seal import Sealer  # noqa: PLC0415 - only here another secret is in force

    other = Store(services.store._database, Sealer("another secret than before, long enough"))
    async with caller(structs.replace(services, store=other)) as client:
        answer = await client.get(f"{world.root}/registries/{world.registry}")
        assert (answer.status_code, answer.json()) == (500, {"error": "internal_error"})
        assert (await client.get(world.root)).status_code == 200
    [record] = [record for record in records if record.levelno == logging.ERROR]
    assert world.registry in record.getMessage()


async def test_nothing_of_a_refused_write_stays(api: Api, world: World, services: AdminServices) -> None:
    """A unit that is left by an exception is rolled back, also what went well before it."""
    with pytest.raises(RuntimeError):
        async with services.store.unit() as unit:
            await unit.gateways.insert(Gateway(id=str(uuid.uuid4()), slug="ghost", name="ghost"))
            raise RuntimeError
    assert (await api.ok("GET", "/v1/gateways?slug=ghost"))["total"] == 0
