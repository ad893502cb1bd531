"""Asking a provider whether a registry would work. The one place where the admin plane calls out.

Rule 1: what the upstream says is never passed on: only its status, and what that means.
Rule 2: nothing is followed (no redirects) and nothing waits for longer than ten seconds.
Rule 3: no unit of the store is open while the upstream is asked.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from trustgate.config.records import ApiKeyAuth, ProviderAuth
from trustgate.planes.admin.operation import Ask, Nothing
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways, registries
from trustgate.planes.admin.services.fields import checked_id
from trustgate.planes.admin.services.problems import invalid
from trustgate.planes.admin.services.registries import AuthForm, ProviderOptions
from trustgate.planes.admin.wire import Id
from trustgate.providers.catalog import Options, Provider

LONGEST: Final = 10.0

Stage = Literal["connectivity", "authentication", "provider", "unsupported"]


class TryConnection(Struct, frozen=True, kw_only=True):
    """Either a stored registry, or `provider`, `provider_options` and `auth` as they would be stored."""

    registry_id: Id | None = None
    provider: str | None = None
    provider_options: ProviderOptions | None = None
    auth: AuthForm | None = None


class Connection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far it went: `stage` is where it ended, well or not."""

    ok: bool
    stage: Stage
    provider: str
    status_code: int | None = None
    latency_ms: Annotated[int, Meta(ge=0)]
    message: str = ""


class Account(Struct, frozen=True, kw_only=True):
    """What is asked: a provider, where it is and how to prove oneself."""

    provider: Provider
    options: Mapping[str, Any]
    auth: ProviderAuth

    def __repr__(self) -> str:
        """Name the provider; the rest is secret."""
        return f"Account({self.provider.name})"


async def try_connection(services: AdminServices, ask: Ask[TryConnection, Nothing]) -> Connection:
    """Return what the provider says. Raises Refused when there is nothing to ask."""
    account = await _account(services, ask)
    options = account.provider.options(account.options)
    if not isinstance(options, Options):
        return Connection(ok=True, stage="authentication", provider=account.provider.name, latency_ms=0)
    started = time.monotonic()
    status, failure = await _status(account, options)
    return _judged(account.provider.name, status, failure, round((time.monotonic() - started) * 1000))


async def _account(services: AdminServices, ask: Ask[TryConnection, Nothing]) -> Account:
    form = ask.body
    inline = (form.provider, form.provider_options, form.auth) != (None, None, None)
    if inline == (form.registry_id is not None):
        raise invalid("send either registry_id, or provider with provider_options and auth")
    async with services.store.read() as unit:
        work = services.work(unit, ask.who)
        await gateways.visible(work, ask.gateway)
        if form.registry_id is None:
            return _inline(services, form)
        registry = await registries.get(work, ask.gateway, checked_id("registry_id", form.registry_id))
    provider = registries.checked_provider(services.tools, registry.provider)
    return Account(provider=provider, options=registry.provider_options, auth=registry.auth)


def _inline(services: AdminServices, form: TryConnection) -> Account:
    if not form.provider:
        raise invalid("provider is required: name one of the providers catalog")
    provider = registries.checked_provider(services.tools, form.provider)
    options = registries.checked_options(provider, form.provider_options or {}, {})
    return Account(provider=provider, options=options, auth=registries.checked_auth(provider, form.auth, None))


async def _status(account: Account, options: Options) -> tuple[int, str]:
    """Return the status of the upstream's list of models, or 0 and why there is none."""
    import httpx  # noqa: PLC0415 - costs 80 ms of start-up, and is needed only here

    base_url = options.base_url or account.provider.base_url
    key = account.auth.api_key or ApiKeyAuth()
    try:
        async with asyncio.timeout(LONGEST), httpx.AsyncClient(timeout=LONGEST, follow_redirects=False) as client:
            url = httpx.URL(base_url)
            url = url.copy_with(path=url.path.rstrip("/") + "/models")
            if key.param_name:
                url = url.copy_merge_params({key.param_name: key.param_value})
            async with client.stream("GET", url, headers=_headers(key, options)) as response:
                return response.status_code, ""
    except (TimeoutError, httpx.TimeoutException):
        return 0, f"the provider did not answer within {LONGEST:g} seconds"
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return 0, f"the provider cannot be reached ({type(error).__name__}): check base_url and the network"


def _headers(key: ApiKeyAuth, options: Options) -> dict[str, str]:
    own = {name.lower(): value for name, value in options.headers.items()}
    if key.header_name:
        return {key.header_name.lower(): key.header_value} | own
    return ({"authorization": f"Bearer {key.api_key}"} if key.api_key else {}) | own


def _judged(provider: str, status: int, failure: str, latency_ms: int) -> Connection:
    stage, message = _verdict(status, failure)
    return Connection(
        ok=not message,
        stage=stage,
        provider=provider,
        status_code=status or None,
        latency_ms=latency_ms,
        message=message,
    )


def _verdict(status: int, failure: str) -> tuple[Stage, str]:
    if not status:
        return "connectivity", failure
    if 200 <= status < 300:
        return "authentication", ""
    if status in (401, 403):
        return "authentication", f"provider rejected the credentials (status {status})"
    return "provider", f"provider answered with status {status}: check base_url"
