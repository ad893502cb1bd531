"""Nobody reaches what is not theirs. The attempts are made from the table, so a new route is attempted by itself."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from trustgate.planes.admin.operation import Nothing, Operation
from trustgate.planes.admin.table import OPERATIONS

from .api import UNKNOWN, Answer, Api, token
from .conftest import World, make_world

pytestmark = pytest.mark.anyio

WITH_IDS: Final = [operation for operation in OPERATIONS if operation.ids]
SECURED: Final = [operation for operation in OPERATIONS if operation.secured]
KINDS: Final = {"registries": "registry", "consumers": "consumer", "auths": "auth", "policies": "policy"}
BODIES: Final[Mapping[str, Any]] = {
    "acceptToolDefinitions": {"definitions": {}},
    "createRegistry": {"name": "mine now", "provider": "echo"},
    "createConsumer": {"name": "mine now"},
    "createAuth": {"name": "mine now", "type": "api_key"},
    "createPolicy": {"name": "mine now", "slug": "rate_limiter", "settings": {"limit": 1, "window": "1s"}},
    "testConnection": {"provider": "echo"},
    "explainRequest": {"consumer": "my-app", "body": {"model": "m-1", "messages": []}},
}


def names(operation: Operation) -> str:
    """Name a test by its operation."""
    return operation.name


def body_of(operation: Operation) -> Any:
    """A body that would change something, were it let in."""
    if operation.method == "PUT":
        return {"name": "mine now"}
    return BODIES.get(operation.name, {})


def address(operation: Operation, ids: Mapping[str, str]) -> str:
    """The operation's path with these ids in it."""
    return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], operation.path)


def ids_of(operation: Operation, world: World) -> dict[str, str]:
    """The ids of a world, by the names that they have in the operation's path."""
    parts = operation.path.split("/")
    kinds = {"id": KINDS.get(parts[4] if len(parts) > 4 else "", "")}
    named = {name: getattr(world, kinds.get(name, name.removesuffix("_id"))) for name in operation.ids}
    return {name: str(id_) for name, id_ in named.items()}


def foreign_mixes(operation: Operation, own: World, other: World) -> Iterator[dict[str, str]]:
    """The paths that start in our own gateway and name something of another, one id at a time."""
    ours, theirs = ids_of(operation, own), ids_of(operation, other)
    for name in operation.ids:
        if name != "gateway_id":
            yield {**ours, name: theirs[name]}


async def state(api: Api, world: World) -> Any:
    """All that a gateway holds."""
    paths = ("", *(f"/{kind}" for kind in KINDS))
    return [await api.ok("GET", world.root + path) for path in paths]


async def attempt(api: Api, operation: Operation, ids: Mapping[str, str], **more: Any) -> Answer:
    """Try an operation."""
    body = {"body": body_of(operation)} if operation.body is not Nothing else {}
    return await api.call(operation.method, address(operation, ids), **body, **more)


@pytest.mark.parametrize("operation", WITH_IDS, ids=names)
async def test_a_tenant_does_not_reach_anothers_gateway(api: Api, operation: Operation) -> None:
    theirs = await make_world(api, "theirs", tenant_id="theirs")
    nobodys = await make_world(api, "nobodys")
    for world in (theirs, nobodys):
        before = await state(api, world)
        answer = await attempt(api, operation, ids_of(operation, world), token=token(tenant_id="mine"))
        assert (answer.status, answer.json) == (404, {"error": "not_found"})
        assert await state(api, world) == before


@pytest.mark.parametrize("operation", WITH_IDS, ids=names)
async def test_one_gateway_does_not_reach_into_another(api: Api, operation: Operation) -> None:
    own, other = await make_world(api, "own"), await make_world(api, "other")
    before = await state(api, own), await state(api, other)
    for ids in foreign_mixes(operation, own, other):
        answer = await attempt(api, operation, ids)
        assert (answer.status, answer.json) == (404, {"error": "not_found"}), ids
    assert (await state(api, own), await state(api, other)) == before


@pytest.mark.parametrize("operation", WITH_IDS, ids=names)
async def test_unknown_ids_are_not_found(api: Api, world: World, operation: Operation) -> None:
    known = ids_of(operation, world)
    for name in operation.ids:
        answer = await attempt(api, operation, {**known, name: UNKNOWN})
        assert (answer.status, answer.json) == (404, {"error": "not_found"}), name


@pytest.mark.parametrize("operation", WITH_IDS, ids=names)
async def test_what_is_no_id_is_refused(api: Api, world: World, operation: Operation) -> None:
    known = ids_of(operation, world)
    for name in operation.ids:
        for wrong in ("nonsense", known[name][:-1], known[name] + "0", "%00", "..%2f.."):
            answer = await attempt(api, operation, {**known, name: wrong})
            assert answer.status in (400, 404, 405), (wrong, answer.text)
            if wrong == "nonsense":
                assert answer.json == {"error": "invalid_uuid", "message": "invalid uuid path parameter"}


@pytest.mark.parametrize("form", ["urn:uuid:{}", "{{{}}}", "dashless", "UPPER"])
async def test_any_form_of_an_id_is_the_same_id(api: Api, world: World, form: str) -> None:
    for operation in (each for each in WITH_IDS if each.method == "GET"):
        known = ids_of(operation, world)
        written = {name: _written(form, id_) for name, id_ in known.items()}
        assert (await attempt(api, operation, written)).json == (await attempt(api, operation, known)).json


def _written(form: str, id_: str) -> str:
    match form:
        case "dashless":
            return id_.replace("-", "")
        case "UPPER":
            return id_.upper()
    return form.format(id_)


@pytest.mark.parametrize("operation", SECURED, ids=names)
async def test_nothing_happens_without_a_token(api: Api, world: World, operation: Operation) -> None:
    before = await state(api, world)
    for header in ("", "Bearer nonsense", "Basic YTpi"):
        ids = ids_of(operation, world)
        answer = await attempt(api, operation, ids, headers={"authorization": header})
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await state(api, world) == before


async def test_a_foreign_registry_cannot_be_bound_or_tried(api: Api) -> None:
    own, other = await make_world(api, "own"), await make_world(api, "other")
    body = {"registries": [{"id": other.registry}]}
    await api.no("POST", f"{own.root}/consumers", {"name": "x", **body}, code="validation_failed", says="no registry")
    await api.no("PUT", f"{own.root}/consumers/{own.consumer}", body, code="validation_failed", says="no registry")
    await api.no("POST", f"{own.root}/registries/test-connection", {"registry_id": other.registry}, code="not_found")
    assert (await api.ok("GET", f"{own.root}/consumers?auth_id={other.auth}"))["items"] == []


async def test_a_tenant_reaches_all_of_its_own(api: Api) -> None:
    api.token = token(tenant_id="mine")
    world = await make_world(api, "mine")
    for operation in WITH_IDS:
        if operation.method == "GET":
            assert (await attempt(api, operation, ids_of(operation, world))).status == 200
