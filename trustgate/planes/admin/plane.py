"""What the admin plane is made of: plain values that the container hands over. Nothing here does anything."""

import platform
import sys
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from trustgate import __version__
from trustgate.board import Board
from trustgate.explaining.run import Explainer
from trustgate.planes.admin.services.work import PLATFORM, Principal, Tools, Work
from trustgate.settings import CorsSettings
from trustgate.storage.definitions import Definitions
from trustgate.storage.processes import Processes
from trustgate.storage.store import Store, Unit


class Build(Struct, frozen=True, kw_only=True):
    """Which program this is; what `/__/version` says."""

    app_name: str = "TrustGate"
    version: str = __version__
    commit: str = "unknown"
    build_date: str = "unknown"
    python_version: str = platform.python_version()
    platform: str = f"{sys.platform}/{platform.machine()}"


async def _nothing_to_apply(_: int) -> None:
    """Nobody in this process reads the configuration."""


async def _no_dependencies() -> Mapping[str, str]:
    return {}


async def _no_metrics() -> str:
    return ""


class AdminServices(Struct, frozen=True, kw_only=True):
    """Everything that the plane needs.

    `revision` returns the newest committed one; `applied` is awaited with it after each commit and before the answer.
    `processes` are those that serve, here and elsewhere, `definitions` what MCP servers say of their tools. `explainer`
    says why requests go as they go, `board` which registries are well. `dependencies` says what readiness hangs on, as
    name → `ok` or why not; `metrics` returns the text of `/metrics`.
    """

    store: Store
    processes: Processes
    definitions: Definitions
    revision: Callable[[], Awaitable[int]]
    tools: Tools
    explainer: Explainer
    board: Board
    secret: str
    applied: Callable[[int], Awaitable[None]] = _nothing_to_apply
    dependencies: Callable[[], Awaitable[Mapping[str, str]]] = _no_dependencies
    metrics: Callable[[], Awaitable[str]] = _no_metrics
    build: Build = Build()
    cors: CorsSettings = CorsSettings()
    max_body_bytes: int = 8 * 1024 * 1024

    def __repr__(self) -> str:
        """Say nothing: the secret is in here."""
        return "AdminServices()"

    def work(self, unit: Unit, who: Principal = PLATFORM) -> Work:
        """Return work over a unit on somebody's behalf."""
        return Work(unit=unit, tools=self.tools, who=who)
