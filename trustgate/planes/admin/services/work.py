"""What every service is handed: a unit of the store, the tools of the plane, and on whose behalf it works."""

import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from msgspec import Struct, field

from trustgate import __version__
from trustgate.contract.chance import uuid7
from trustgate.enforcement.plugins import Plugins
from trustgate.mcp.reach.programs import NO_PROGRAMS, Allowed
from trustgate.providers.catalog import PROVIDERS, Provider
from trustgate.providers.credentials import NOTHING
from trustgate.settings import References
from trustgate.storage.store import Unit


def utc_now() -> str:
    """Return the time as RFC 3339 in UTC, with microseconds and without their trailing zeros."""
    text = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def uuid4() -> str:
    """Return a random id; gateways have these."""
    return str(uuid.uuid4())


class Principal(Struct, frozen=True, kw_only=True):
    """On whose behalf: `tenant_id` empty is the platform, which sees every tenant."""

    subject: str = ""
    tenant_id: str = ""


PLATFORM = Principal(subject="trustgate")


class Tools(Struct, frozen=True, kw_only=True):
    """What services need of the world beside the store. Below `base_domain` every gateway has a host of its own;
    `collects` says whether there is a Collector for all of them, `programs` which servers over stdio may be started."""

    plugins: Plugins
    providers: Mapping[str, Provider] = field(default_factory=lambda: PROVIDERS)
    base_domain: str = ""
    references: References = NOTHING
    version: str = __version__
    collects: bool = False
    programs: Allowed = NO_PROGRAMS
    now: Callable[[], str] = utc_now
    gateway_id: Callable[[], str] = uuid4
    record_id: Callable[[], str] = uuid7
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


class Work(Struct, frozen=True, kw_only=True):
    """One piece of work: everything that it writes becomes one revision, or nothing of it does."""

    unit: Unit
    tools: Tools
    who: Principal = PLATFORM
