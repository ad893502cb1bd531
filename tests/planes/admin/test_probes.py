"""Probes: for everybody, of no tenant, and honest."""

import pytest
from httpx import AsyncClient
from msgspec import structs

from trustgate import __version__
from trustgate.planes.admin.plane import AdminServices

from .api import Api
from .test_doors import caller

pytestmark = pytest.mark.anyio


async def test_alive(client: AsyncClient) -> None:
    for path in ("/healthz", "/health"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["version"]) == ("healthy", __version__)


async def test_ready_as_long_as_everything_is(services: AdminServices) -> None:
    states = {"database": "ok"}

    async def dependencies() -> dict[str, str]:
        return states

    async with caller(structs.replace(services, dependencies=dependencies)) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        states["draining"] = "the process is stopping"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert answer.json()["dependencies"] == states
        assert (await client.get("/healthz")).status_code == 200


async def test_version(api: Api) -> None:
    version = await api.ok("GET", "/__/version")
    assert list(version) == ["app_name", "version", "commit", "build_date", "python_version", "platform"]
    assert version["app_name"] == "TrustGate"


async def a_total() -> str:
    return "a_total 1\n"


async def test_metrics_are_what_they_are_given(services: AdminServices) -> None:
    async with caller(structs.replace(services, metrics=a_total)) as client:
        answer = await client.get("/metrics")
    assert answer.text == "a_total 1\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_nobody_needs_a_token(client: AsyncClient) -> None:
    for path in ("/healthz", "/health", "/readyz", "/__/version", "/metrics", "/openapi.json", "/docs"):
        assert (await client.get(path)).status_code == 200
