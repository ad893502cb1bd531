"""What the planes share: one container of singletons. A plane adds its app; `run` is all of them over one ground."""

import platform
from collections.abc import Mapping

from dependency_injector import containers, providers

from trustgate.board import Board
from trustgate.config.snapshot import Snapshot
from trustgate.config.watch import Watch
from trustgate.contract.ports import Cache, Ledger, Limiter, Services, Vectors
from trustgate.contract.upstream import Transport
from trustgate.embedding import RegistryEmbedder
from trustgate.enforcement.plugins import load_plugins
from trustgate.explaining.run import Explainer
from trustgate.explaining.traces import Traces
from trustgate.forwarding.by_scheme import ByScheme
from trustgate.forwarding.httpx_adapter import Proxies, make_transport
from trustgate.forwarding.outbound import HttpOutbound
from trustgate.lifecycle import Lifecycle
from trustgate.mcp.admission import Doors
from trustgate.mcp.gate import Gate
from trustgate.mcp.policing import Police
from trustgate.mcp.reach.programs import Allowed
from trustgate.mcp.speaking import Speaker
from trustgate.parts import Parts
from trustgate.planes.house import DataPlane
from trustgate.planes.presence import Presence, this_process
from trustgate.planes.probes import Probes
from trustgate.planes.readiness import Readiness
from trustgate.planes.secret import make_folder, server_secret
from trustgate.planes.serve import Drain
from trustgate.planes.telling import collectors, make_fanout, make_kafka, make_routes, version_of
from trustgate.probing import Prober
from trustgate.providers.credentials import Credentials
from trustgate.providers.echo import EchoTransport
from trustgate.providers.estimate import estimate_usage, expected_usage
from trustgate.providers.prices import PriceBook
from trustgate.providers.replay import replay
from trustgate.settings import Settings
from trustgate.state.memory import MemoryLimiter
from trustgate.state.memory_cache import MemoryCache
from trustgate.state.memory_ledger import MemoryLedger
from trustgate.state.redis_cache import RedisCache
from trustgate.state.redis_cluster import ClusterLink
from trustgate.state.redis_ledger import RedisLedger
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link
from trustgate.state.vectors import in_memory, in_redis
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.database import Database
from trustgate.storage.definitions import Definitions
from trustgate.storage.factory import open_database, open_vectors
from trustgate.storage.kept import KeptSnapshot
from trustgate.storage.processes import Processes
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Store
from trustgate.telemetry.fanout import Fanout
from trustgate.telemetry.kafka import KafkaSink
from trustgate.telemetry.meters import Meters
from trustgate.telemetry.process import LoopLag, add_process
from trustgate.telemetry.routes import Routes
from trustgate.telemetry.together import Together


def _database(settings: Settings) -> Database:
    postgres = settings.postgres
    if not postgres.host:
        make_folder(settings.data_dir)
        return open_database(SqliteSettings(path=settings.data_dir / "trustgate.db"))
    return open_database(
        PostgresSettings(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            password=postgres.password,
            name=postgres.name,
            ssl_mode=postgres.ssl_mode,
            ssl_root_cert=postgres.ssl_root_cert,
            min_conns=postgres.min_conns,
            max_conns=postgres.max_conns,
            connect_timeout=postgres.connect_timeout,
        )
    )


def _transport(settings: Settings) -> Transport:
    proxies = Proxies(
        http=settings.proxies.get("http"),
        https=settings.proxies.get("https"),
        no_proxy=tuple(settings.no_proxy.split(",")) if settings.no_proxy else (),
    )
    return ByScheme(make_transport(proxies), {"echo": EchoTransport()})


def _link(settings: Settings) -> Link | None:
    if not settings.redis.host:
        return None
    return ClusterLink(settings.redis) if settings.redis.mode == "cluster" else Link(settings.redis)


def _credentials(settings: Settings) -> Credentials:
    return Credentials(settings.references)


def _outbound(transport: Transport, credentials: Credentials) -> HttpOutbound:
    return HttpOutbound(transport, credentials.signing)


def _embedder(settings: Settings, transport: Transport, credentials: Credentials) -> RegistryEmbedder:
    return RegistryEmbedder(transport, credentials, settings.clocks, version_of(settings))


def _vectors(settings: Settings, link: Link | None, database: Database) -> Mapping[str, Vectors]:
    """The stores that this process has: what is shared by all processes where that is possible, and its own memory."""
    found: dict[str, Vectors] = {"memory": in_memory(max_bytes=settings.cache_max_bytes)}
    if link is not None:
        found["redis"] = in_redis(link)
    if (kept := open_vectors(database)) is not None:
        found["pgvector"] = kept
    return found


def _services(
    settings: Settings,
    *,
    link: Link | None,
    prices: PriceBook,
    http: HttpOutbound,
    vectors: Mapping[str, Vectors],
    embedder: RegistryEmbedder,
) -> Services:
    if link is None:
        limiter: Limiter = MemoryLimiter()
        ledger: Ledger = MemoryLedger()
        cache: Cache = MemoryCache(max_bytes=settings.cache_max_bytes)
    else:
        limiter, ledger, cache = RedisLimiter(link), RedisLedger(link), RedisCache(link)
    return Services(
        limiter=limiter,
        ledger=ledger,
        cache=cache,
        vectors=vectors,
        embedder=embedder,
        http=http,
        pricing=prices,
        estimate=estimate_usage,
        expect=expected_usage,
        replay=replay,
        variables=settings.variables,
    )


def _parts(settings: Settings, services: Services, credentials: Credentials) -> Parts:
    return Parts(
        plugins=load_plugins(settings.plugins),
        services=services,
        clocks=settings.clocks,
        credentials=credentials,
        base_domain=settings.gateway_base_domain,
        policy_timeout=settings.limits.policy_timeout,
    )


def _meters(settings: Settings) -> Meters:
    meters = Meters()
    add_process(meters.registry, version=version_of(settings))
    return meters


def _traces(settings: Settings, services: Services) -> Traces:
    return Traces(most=settings.trace_store_size, cache=services.cache, shared_for=settings.trace_store_ttl)


def _explainer(settings: Settings, parts: Parts, watch: Watch, traces: Traces) -> Explainer:
    return Explainer(parts, limits=settings.limits, version=version_of(settings), newest=watch.newest, traces=traces)


def _lifecycle(
    settings: Settings, parts: Parts, transport: Transport, *, fanout: Fanout, traces: Traces, meters: Meters
) -> Lifecycle:
    lifecycle = Lifecycle(
        parts,
        transport,
        limits=settings.limits,
        version=version_of(settings),
        emit=fanout.emit,
        keep=traces.keep if settings.trace_store_size else None,
    )
    meters.gauge("trustgate_requests_in_flight", "Requests under way.", lambda: lifecycle.in_flight)
    health = parts.health
    meters.gauge("trustgate_targets_left_alone", "Targets that are asked for nothing now.", health.left_alone)
    meters.gauge("trustgate_requests_queued", "Requests that wait for a target that is full.", health.waiting)
    meters.gauge("trustgate_snapshot_revision", "The configuration's revision.", lambda: lifecycle.revision)
    return lifecycle


def _sessions(services: Services, link: Link | None) -> Cache:
    """Where sessions of the MCP plane live: room of their own, so that no policy's entries push them out."""
    return MemoryCache() if link is None else services.cache


def _gate(
    settings: Settings,
    parts: Parts,
    transport: Transport,
    sessions: Cache,
    *,
    definitions: Definitions,
    lifecycle: Lifecycle,
    fanout: Fanout,
    traces: Traces,
    meters: Meters,
) -> Gate:
    doors = Doors(
        base_domain=settings.gateway_base_domain,
        hosts=settings.mcp_allowed_hosts,
        origins=settings.mcp_allowed_origins,
        local=settings.ports.host in ("127.0.0.1", "::1", "localhost"),
    )
    programs = Allowed(
        any_at_all=settings.mcp_allow_stdio,
        commands=settings.mcp_stdio_commands,
        environment=settings.mcp_stdio_environment,
    )
    police = Police(
        throttle_wait=settings.limits.throttle_wait,
        emit=fanout.emit,
        revision=lambda: lifecycle.revision,
        keep=traces.keep_mcp if settings.trace_store_size else None,
    )
    meters.gauge("trustgate_mcp_requests_in_flight", "MCP requests under way, streams too.", lambda: police.in_flight)
    gate = Gate(
        parts, Speaker(transport, programs), cache=sessions, definitions=definitions, doors=doors, police=police
    )
    changed = "Definitions of tools that were not what was accepted."
    meters.counter("trustgate_mcp_tool_changes_total", changed, lambda: gate.pins.changes)
    return gate


def _board(parts: Parts, link: Link | None) -> Board:
    return Board(parts.health, parts.services.cache, shared=link is not None)


def _prober(parts: Parts, transport: Transport) -> Prober:
    return Prober(transport, parts.credentials, parts.health)


def _watch(
    settings: Settings,
    source: StoredConfig,
    lifecycle: Lifecycle,
    *,
    embedder: RegistryEmbedder,
    prober: Prober,
    meters: Meters,
    routes: Routes,
    gate: Gate,
) -> Watch:
    def swap(snapshot: Snapshot) -> None:
        routes.swap(collectors(settings, snapshot))
        embedder.swap(snapshot)
        prober.swap(snapshot)
        lifecycle.swap(snapshot)
        gate.swap(snapshot)

    watch = Watch(source, swap, every=settings.config_poll, max_staleness=settings.config_max_staleness)
    lifecycle.refuse_unless(watch, settings.config_refuse_stale)
    gate.refuse_unless(watch, settings.config_refuse_stale)
    meters.gauge("trustgate_snapshot_checked_seconds", "When the store was last seen, Unix.", lambda: watch.checked_at)
    meters.counter("trustgate_snapshot_errors_total", "Times the store could not be read.", lambda: watch.errors)
    return watch


def about(settings: Settings) -> dict[str, str]:
    """Return what `/__/version` tells."""
    return {
        "app_name": "TrustGate",
        "version": version_of(settings),
        "python_version": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def _kept(settings: Settings, sealer: Sealer) -> KeptSnapshot | None:
    """Keep a snapshot where the database is elsewhere."""
    if not settings.postgres.host or not settings.config_keep:
        return None
    return KeptSnapshot(settings.data_dir / "snapshot.sealed", sealer)


def _presence(
    settings: Settings, watch: Watch, processes: Processes, kept: KeptSnapshot | None, planes: str
) -> Presence:
    return Presence(watch, processes, kept, this_process(planes, version_of(settings)))


def _probes(
    settings: Settings, drain: Drain, together: Together, *, watch: Watch, link: Link | None, kafka: KafkaSink | None
) -> Probes:
    ready = Readiness(drain, snapshot=watch, link=link, kafka=kafka, refuses_stale=settings.config_refuse_stale)
    return Probes(about=about(settings), dependencies=ready.of_data_plane, metrics=together.render)


def _admin_probes(
    settings: Settings, drain: Drain, together: Together, *, database: Database, link: Link | None
) -> Probes:
    ready = Readiness(drain, database=database, link=link)
    return Probes(about=about(settings), dependencies=ready.of_admin_plane, metrics=together.render)


class Ground(containers.DeclarativeContainer):
    """One of each. `settings` is given; the rest follows from it."""

    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)
    secret = providers.Singleton(server_secret, settings)
    database = providers.Singleton(_database, settings)
    sealer = providers.Singleton(Sealer, secret)
    store = providers.Singleton(Store, database, sealer)
    source = providers.Singleton(StoredConfig, database, sealer)
    processes = providers.Singleton(Processes, database)
    definitions = providers.Singleton(Definitions, database)
    kept = providers.Singleton(_kept, settings, sealer)
    planes: providers.Provider[str] = providers.Object("")
    transport = providers.Singleton(_transport, settings)
    prices = providers.Singleton(PriceBook)
    link = providers.Singleton(_link, settings)
    credentials = providers.Singleton(_credentials, settings)
    outbound = providers.Singleton(_outbound, transport, credentials)
    embedder = providers.Singleton(_embedder, settings, transport, credentials)
    vectors = providers.Singleton(_vectors, settings, link, database)
    policy_services = providers.Singleton(
        _services, settings, link=link, prices=prices, http=outbound, vectors=vectors, embedder=embedder
    )
    parts = providers.Singleton(_parts, settings, policy_services, credentials)
    meters = providers.Singleton(_meters, settings)
    together = providers.Singleton(Together, meters.provided.render)
    routes = providers.Singleton(make_routes, settings, meters)
    kafka = providers.Singleton(make_kafka, settings, meters)
    fanout = providers.Singleton(make_fanout, settings, meters, prices, kafka=kafka, routes=routes)
    loop_lag = providers.Singleton(LoopLag, meters.provided.registry)
    traces = providers.Singleton(_traces, settings, policy_services)
    lifecycle = providers.Singleton(_lifecycle, settings, parts, transport, fanout=fanout, traces=traces, meters=meters)
    sessions = providers.Singleton(_sessions, policy_services, link)
    gate = providers.Singleton(
        _gate,
        settings,
        parts,
        transport,
        sessions,
        definitions=definitions,
        lifecycle=lifecycle,
        fanout=fanout,
        traces=traces,
        meters=meters,
    )
    board = providers.Singleton(_board, parts, link)
    prober = providers.Singleton(_prober, parts, transport)
    watch = providers.Singleton(
        _watch, settings, source, lifecycle, embedder=embedder, prober=prober, meters=meters, routes=routes, gate=gate
    )
    explainer = providers.Singleton(_explainer, settings, parts, watch, traces)
    drain = providers.Singleton(Drain)
    presence = providers.Singleton(_presence, settings, watch, processes, kept, planes)
    probes = providers.Singleton(_probes, settings, drain, together, watch=watch, link=link, kafka=kafka)
    admin_probes = providers.Singleton(_admin_probes, settings, drain, together, database=database, link=link)
    data_plane = providers.Singleton(
        DataPlane,
        watch=watch,
        lifecycle=lifecycle,
        gate=gate,
        fanout=fanout,
        loop_lag=loop_lag,
        transport=transport,
        prices=prices,
        link=link,
        traces=traces,
        board=board,
        prober=prober,
        presence=presence,
        kept=kept,
        kafka=kafka,
    )
