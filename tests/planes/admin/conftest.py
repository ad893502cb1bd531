"""The real app over a real SQLite store, for each test its own. Whatever it logs is searched for secrets."""

import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct

import trustgate_plugins.rate_limiter
import trustgate_plugins.request_size_limiter
import trustgate_plugins.strategies
from tests.world import services as policy_services
from trustgate.board import Board
from trustgate.config.watch import Watch
from trustgate.contract.ports import Cache
from trustgate.contract.upstream import Clocks
from trustgate.enforcement.plugins import Plugins, assemble
from trustgate.explaining.report import ExplainedConsumer, Explanation
from trustgate.explaining.run import Explainer
from trustgate.explaining.traces import Traces
from trustgate.forwarding.health import Health
from trustgate.parts import Parts
from trustgate.planes.admin.app import admin_app
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services.work import Tools
from trustgate.providers.credentials import Credentials
from trustgate.settings import Limits
from trustgate.state.memory_cache import MemoryCache
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.definitions import Definitions
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.processes import Processes
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import SqliteSettings
from trustgate.storage.store import Store

from . import guard
from .api import SECRET, Api


class World(Struct, frozen=True, kw_only=True):
    """A gateway with one of everything below it."""

    gateway: str
    registry: str
    consumer: str
    auth: str
    policy: str
    trace: str

    @property
    def root(self) -> str:
        """The gateway's address."""
        return f"/v1/gateways/{self.gateway}"


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The first-party plugins, and one with secrets."""
    return assemble(
        {
            "rate_limiter": trustgate_plugins.rate_limiter,
            "request_size_limiter": trustgate_plugins.request_size_limiter,
            "guard": guard.PLUGIN,
            "strategies": trustgate_plugins.strategies,
        }
    )


@pytest.fixture
def traces() -> Cache:
    """Where other processes share what explains their requests."""
    return MemoryCache()


@pytest.fixture
async def services(tmp_path: Path, plugins: Plugins, traces: Cache) -> AsyncIterator[AdminServices]:
    """A plane over an empty database."""
    database = open_database(SqliteSettings(path=tmp_path / "trustgate.db"))
    await database.open()
    await migrate(database)
    sealer = Sealer(SECRET)
    source = StoredConfig(database, sealer)
    parts = Parts(
        plugins=plugins,
        services=policy_services(),
        clocks=Clocks(),
        credentials=Credentials(),
        base_domain="llm.localhost",
        policy_timeout=1.0,
    )
    watch = Watch(source, lambda _: None, every=1.0)
    known = Traces(most=10, cache=traces, shared_for=60.0)
    yield AdminServices(
        store=Store(database, sealer),
        processes=Processes(database),
        definitions=Definitions(database),
        revision=source.revision,
        explainer=Explainer(parts, limits=Limits(), version="1.0", newest=watch.newest, traces=known),
        board=Board(Health(), traces, shared=False),
        tools=Tools(plugins=plugins, base_domain="llm.localhost"),
        secret=SECRET,
    )
    await database.aclose()


@pytest.fixture
async def client(services: AdminServices) -> AsyncIterator[httpx.AsyncClient]:
    """A bare HTTP client of the plane."""
    transport = httpx.ASGITransport(admin_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        yield client


@pytest.fixture
def api(client: httpx.AsyncClient, traces: Cache, records: list[logging.LogRecord]) -> Iterator[Api]:
    """A caller with a platform token; at the end no log record may hold what it hid."""
    api = Api(client, traces)
    yield api
    said = "\n".join(_text(record) for record in records)
    for secret in api.hidden:
        assert secret not in said, "a log record holds a secret"


class Collector(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, found: list[logging.LogRecord]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._found.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Everything that is logged, at every level."""
    found: list[logging.LogRecord] = []
    handler = Collector(found)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


def _text(record: logging.LogRecord) -> str:
    return logging.Formatter("%(message)s").format(record) + repr(record.__dict__)


@pytest.fixture
async def world(api: Api) -> World:
    """A gateway with one of everything, attached to each other."""
    return await make_world(api, "demo")


async def make_world(api: Api, slug: str, **gateway: Any) -> World:
    """Make a gateway with one of everything, attached to each other."""
    made = await api.ok("POST", "/v1/gateways", {"name": slug, "slug": slug, **gateway})
    root = f"/v1/gateways/{made['id']}"
    key = api.hide(f"sk-upstream-of-{slug}-000001")
    auth = {"type": "api_key", "api_key": {"api_key": key}}
    registry = await api.ok("POST", f"{root}/registries", {"name": "primary", "provider": "openai", "auth": auth})
    consumer = await api.ok("POST", f"{root}/consumers", {"name": "my-app", "registries": [{"id": registry["id"]}]})
    minted = await api.ok("POST", f"{root}/auths", {"name": "key", "type": "api_key"})
    settings = {"limit": 10, "window": "1m"}
    policy = await api.ok("POST", f"{root}/policies", {"name": "limit", "slug": "rate_limiter", "settings": settings})
    await api.ok("POST", f"{root}/consumers/{consumer['id']}/auths/{minted['id']}")
    await api.ok("POST", f"{root}/consumers/{consumer['id']}/policies/{policy['id']}")
    trace = uuid.uuid4().hex
    explained = msgspec.json.encode(served(made["id"], consumer["id"], trace))
    await api.traces.set(f"{made['id']}:trace:{trace}", explained, ttl=60.0)
    return World(
        trace=trace,
        gateway=made["id"],
        registry=registry["id"],
        consumer=consumer["id"],
        auth=minted["id"],
        policy=policy["id"],
    )


def served(gateway: str, consumer: str, trace: str) -> Explanation:
    """What another process says of a request that it served."""
    return Explanation(
        hypothetical=False,
        trace_id=trace,
        revision=1,
        gateway_id=gateway,
        consumer=ExplainedConsumer(id=consumer, slug="my-app", name="my-app", auth_id=""),
        operation="chat_completions",
        requested_model="m-1",
        model="m-1",
        outcome="forwarded",
        status=200,
        code="",
        message="",
        policies=(),
        limits=(),
        targets=(),
        attempts=(),
        dropped_params=(),
    )
