"""What cannot be read is a clear 4xx, whatever it is, and nothing of it is written."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustgate.planes.admin.app import admin_app
from trustgate.planes.admin.operation import Nothing, Operation
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.reading import DEEPEST
from trustgate.planes.admin.table import OPERATIONS

from .api import SECRET, Api
from .conftest import World
from .test_boundaries import address, ids_of, names, state

pytestmark = pytest.mark.anyio

WITH_BODY: Final = [operation for operation in OPERATIONS if operation.body is not Nothing]
LIMIT: Final = 8 * 1024 * 1024


def nested(levels: int) -> bytes:
    """An object that many levels deep."""
    return b'{"a":' * levels + b"1" + b"}" * levels


UNREADABLE: Final[Mapping[str, bytes]] = {
    "cut off": b'{"name": "x"',
    "not JSON": b"name=x",
    "two values": b"{} {}",
    "an array": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "a number": b"7",
    "not a number": b'{"a": NaN}',
    "a trailing comma": b'{"a": 1,}',
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": json.dumps({"name": "x"}).encode("utf-16"),
    "half a surrogate": b'{"name": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL": b'{"name": "a\\u0000b"}',
    "a NUL in a key": b'{"a\\u0000b": 1}',
    "a number beyond 64 bits": b'{"name": "x", "priority": 123456789012345678901234567890}',
    "a number beyond everything": b'{"name": "x", "priority": 1e999}',
    "too deep": nested(DEEPEST + 1),
    "far too deep": nested(200_000),
    "deep arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("operation", WITH_BODY, ids=names)
async def test_a_body_that_cannot_be_read(api: Api, world: World, operation: Operation) -> None:
    path = address(operation, ids_of(operation, world))
    before = await state(api, world)
    for what, raw in UNREADABLE.items():
        answer = await api.no(operation.method, path, raw=raw, code="validation_failed")
        assert answer.status == 422, what
        assert "validation failed" in answer.message, what
    if not operation.body_optional:
        await api.no(operation.method, path, raw=b"", code="validation_failed")
    assert await state(api, world) == before


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_another_content_type(api: Api, content_type: str) -> None:
    headers = {"content-type": content_type}
    answer = await api.no(
        "POST", "/v1/gateways", raw=b'{"slug":"x"}', headers=headers, code="validation_failed", says="application/json"
    )
    assert answer.status == 422
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 0


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/merge+JSON"]
)
async def test_content_types_that_are_json(api: Api, content_type: str) -> None:
    headers = {"content-type": content_type}
    assert (await api.call("POST", "/v1/gateways", raw=b'{"slug":"x"}', headers=headers)).status == 201


async def test_the_last_of_two_equal_fields_counts(api: Api) -> None:
    answer = await api.call("POST", "/v1/gateways", raw=b'{"slug":"a","slug":"b"}')
    assert answer.json["slug"] == "b"


async def test_unknown_fields_are_ignored(api: Api) -> None:
    made = await api.ok("POST", "/v1/gateways", {"slug": "a", "id": "mine", "nonsense": {"a": [1]}})
    assert made["id"] != "mine"


async def test_as_deep_as_allowed(api: Api) -> None:
    assert (await api.call("POST", "/v1/gateways", raw=nested(DEEPEST - 1))).status == 201


async def test_a_body_that_is_too_large(api: Api, client: httpx.AsyncClient) -> None:
    large = b'{"slug":"x","metadata":{"a":"' + b"x" * LIMIT + b'"}}'
    answer = await api.no("POST", "/v1/gateways", raw=large, code="request_too_large", says="8388608 bytes (8 MiB)")
    assert answer.status == 413
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 65536

    headers = {"authorization": f"Bearer {api.token}", "content-type": "application/json"}
    unannounced = await client.post("/v1/gateways", content=endless(), headers=headers)
    assert (unannounced.status_code, unannounced.json()["error"]) == (413, "request_too_large")
    assert read <= LIMIT // 65536 + 2
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 0


async def test_a_large_body_without_a_token_is_not_read(client: httpx.AsyncClient) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    assert (await client.post("/v1/gateways", content=never())).status_code == 401


async def test_a_caller_that_leaves_half_way_changes_nothing(api: Api, services: AdminServices) -> None:
    messages = [{"type": "http.request", "body": b'{"slug":"x"', "more_body": True}, {"type": "http.disconnect"}]
    headers = [(b"authorization", f"Bearer {api.token}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/gateways", "query_string": b"", "headers": headers}

    async def receive() -> Any:
        return messages.pop(0)

    async def send(_: Any) -> None:
        raise AssertionError("nobody is there")

    await admin_app(services)(scope, receive, send)
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 0


async def test_writers_at_once_never_share_a_slug(api: Api) -> None:
    answers = await asyncio.gather(*(api.call("POST", "/v1/gateways", {"slug": "one"}) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 9
    named = await asyncio.gather(*(api.call("POST", "/v1/gateways", {"name": "Same"}) for _ in range(8)))
    assert len({answer.json["slug"] for answer in named}) == 8
    revisions = [int(answer.headers["x-ag-revision"]) for answer in named]
    assert sorted(revisions) == list(range(min(revisions), min(revisions) + 8))


NAMES: Final = sorted(
    {key for operation in WITH_BODY for key in getattr(operation.body, "__struct_fields__", ())}
    | {"api_key", "base_url", "limit", "window", "id", "weight", "allowed", "default", "header_name", "header_value"}
    | {"tier", "burst_per_min", "quota_per_month", "max_instances", "headers", "timeouts", "registry_id"}
)
TEXTS: Final = st.sampled_from(
    [
        "",
        "a",
        "openai",
        "echo",
        "openai_compatible",
        "rate_limiter",
        "guard",
        "api_key",
        "none",
        "LLM",
        "1m",
        "***",
        "x" * 300,
    ]
) | st.text(max_size=20)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=4),
    max_leaves=8,
)
PLAUSIBLE: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "name": TEXTS,
    "slug": TEXTS,
    "type": TEXTS,
    "provider": st.sampled_from(["openai", "echo", "openai_compatible"]),
    "settings": st.fixed_dictionaries({"limit": st.integers(1), "window": st.just("1m")}, optional={"x": VALUES}),
    "auth": st.fixed_dictionaries(
        {"type": TEXTS}, optional={"api_key": st.dictionaries(st.sampled_from(NAMES), TEXTS)}
    ),
}
BODIES: Final = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(NAMES, VALUES), **PLAUSIBLE}
)
FUZZ: Final = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("operation", WITH_BODY, ids=names)
@FUZZ
@given(body=BODIES)
async def test_no_body_breaks_it(api: Api, world: World, operation: Operation, body: dict[str, Any]) -> None:
    if operation.name == "testConnection":
        body = {**body, "provider": "echo"}  # nobody outside is called
    answer = await api.call(operation.method, address(operation, ids_of(operation, world)), body)
    assert answer.status in (200, 201, 204, 409, 413, 422), answer.text


Pairs = list[tuple[str, str | int | float | bool | None]]
PARAMETERS: Final = st.lists(
    st.tuples(
        st.sampled_from(
            ["page", "size", "sort", "order", "search", "name", "type", "active", "category", "view", "slug"]
        ),
        st.sampled_from(["", "1", "-1", "t", "name", "asc", "LLM", "grouped", "%", "\\", "'", "a,b", "\0"]) | st.text(),
    ),
    max_size=4,
)


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.query is not Nothing], ids=names)
@FUZZ
@given(parameters=PARAMETERS)
async def test_no_query_breaks_it(
    client: httpx.AsyncClient,
    api: Api,
    world: World,
    operation: Operation,
    parameters: Pairs,
) -> None:
    headers = {"authorization": f"Bearer {api.token}"}
    path = address(operation, ids_of(operation, world))
    answer = await client.get(path, params=httpx.QueryParams(parameters), headers=headers)
    assert answer.status_code in (200, 400, 422), answer.text
    assert SECRET not in answer.text
