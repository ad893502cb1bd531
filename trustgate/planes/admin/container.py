"""How the admin plane is put together."""

from collections.abc import Awaitable, Callable

from dependency_injector import providers

from trustgate.board import Board
from trustgate.explaining.run import Explainer
from trustgate.mcp.reach.programs import Allowed
from trustgate.parts import Parts
from trustgate.planes.admin.app import admin_app
from trustgate.planes.admin.plane import AdminServices, Build
from trustgate.planes.admin.services.work import Tools
from trustgate.planes.ground import Ground
from trustgate.planes.probes import Probes
from trustgate.planes.telling import version_of
from trustgate.settings import Settings
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.definitions import Definitions
from trustgate.storage.processes import Processes
from trustgate.storage.store import Store


def _tools(settings: Settings, parts: Parts) -> Tools:
    return Tools(
        plugins=parts.plugins,
        base_domain=settings.gateway_base_domain,
        references=settings.references,
        version=version_of(settings),
        collects=bool(settings.otlp.endpoint),
        programs=Allowed(
            any_at_all=settings.mcp_allow_stdio,
            commands=settings.mcp_stdio_commands,
            environment=settings.mcp_stdio_environment,
        ),
    )


async def _nobody_to_tell(_: int) -> None:
    """Another process reads the configuration; it watches the revision."""


def _services(
    settings: Settings,
    store: Store,
    source: StoredConfig,
    tools: Tools,
    secret: str,
    *,
    processes: Processes,
    definitions: Definitions,
    explainer: Explainer,
    board: Board,
    applied: Callable[[int], Awaitable[None]],
    probes: Probes,
) -> AdminServices:
    return AdminServices(
        store=store,
        processes=processes,
        definitions=definitions,
        revision=source.revision,
        tools=tools,
        explainer=explainer,
        board=board,
        secret=secret,
        applied=applied,
        dependencies=probes.dependencies,
        metrics=probes.metrics,
        build=Build(version=tools.version),
        cors=settings.cors,
    )


class Admin(Ground):
    """The ground, with the admin API on it. `applied` is overridden where a data plane shares the process."""

    applied: providers.Provider[Callable[[int], Awaitable[None]]] = providers.Object(_nobody_to_tell)
    tools = providers.Singleton(_tools, Ground.settings, Ground.parts)
    services = providers.Singleton(
        _services,
        Ground.settings,
        Ground.store,
        Ground.source,
        tools,
        Ground.secret,
        processes=Ground.processes,
        definitions=Ground.definitions,
        explainer=Ground.explainer,
        board=Ground.board,
        applied=applied,
        probes=Ground.admin_probes,
    )
    admin_app = providers.Singleton(admin_app, services)
