"""Asking a provider whether a registry would work. The one place where the admin plane calls out.

Rule 1: what the upstream says is never passed on: only its status, and what that means.
Rule 2: nothing is followed (no redirects) and nothing waits for longer than ten seconds.
Rule 3: no unit of the store is open while the upstream is asked.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct

from trustgate.config.mcp import McpTarget
from trustgate.config.records import ProviderAuth, Registry
from trustgate.contract.context import Dialect
from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, CannotAuthorise, Clocks, pieces
from trustgate.planes.admin.operation import Ask, Nothing
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways, registries
from trustgate.planes.admin.services.auth_forms import AuthForm, checked_auth
from trustgate.planes.admin.services.fields import checked_id
from trustgate.planes.admin.services.mcp import checked_target
from trustgate.planes.admin.services.problems import invalid
from trustgate.planes.admin.services.registries import ProviderOptions
from trustgate.planes.admin.wire import Id
from trustgate.providers.catalog import AZURE_VERSION, Options, Provider
from trustgate.providers.credentials import BadCredential, Credentials
from trustgate.providers.credentials.aws import who_am_i
from trustgate.providers.targets import CannotTarget, compile_target

LONGEST: Final = 10.0

Stage = Literal["connectivity", "authentication", "provider", "unsupported"]


class TryConnection(Struct, frozen=True, kw_only=True):
    """A stored registry; or `provider`, `provider_options` and `auth`, or `mcp_target`, as they would be stored."""

    exact: ClassVar[Mapping[str, Any]] = {"mcp_target": McpTarget}

    registry_id: Id | None = None
    provider: str | None = None
    provider_options: ProviderOptions | None = None
    auth: AuthForm | None = None
    mcp_target: McpTarget | None = None


class Connection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far it went: `stage` is where it ended, well or not."""

    ok: bool
    stage: Stage
    provider: str
    status_code: int | None = None
    latency_ms: Annotated[int, Meta(ge=0)]
    message: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of it; `status` 0 is none, an empty message is well."""

    stage: Stage
    status: int = 0
    message: str = ""


async def try_connection(services: AdminServices, ask: Ask[TryConnection, Nothing]) -> Connection:
    """Return what the provider says. Raises Refused when there is nothing to ask."""
    registry = await _registry(services, ask)
    if registry.type == "MCP":
        from trustgate.planes.admin.agents import try_server  # noqa: PLC0415 - which needs what is here

        return await try_server(services, registry)
    provider = registries.checked_provider(services.tools, registry.provider)
    started = time.monotonic()
    if issubclass(provider.options_type, Options):
        verdict = await _verdict(registry, provider, Credentials(services.tools.references))
    else:
        verdict = Verdict(stage="authentication")
    return Connection(
        ok=not verdict.message,
        stage=verdict.stage,
        provider=provider.name,
        status_code=verdict.status or None,
        latency_ms=round((time.monotonic() - started) * 1000),
        message=verdict.message,
    )


async def _registry(services: AdminServices, ask: Ask[TryConnection, Nothing]) -> Registry:
    """Return the registry to try, as it is stored or as it would be."""
    form = ask.body
    inline = (form.provider, form.provider_options, form.auth, form.mcp_target) != (None, None, None, None)
    if inline == (form.registry_id is not None):
        raise invalid("send either registry_id, or provider with provider_options and auth, or mcp_target")
    async with services.store.read() as unit:
        work = services.work(unit, ask.who)
        await gateways.visible(work, ask.gateway)
        if form.mcp_target is not None:
            target = checked_target(form.mcp_target, None, services.tools.programs)
            return Registry(id="", gateway_id="", name="the server", type="MCP", mcp_target=target)
        if form.registry_id is None:
            return _inline(services, form)
        return await registries.get(work, ask.gateway, checked_id("registry_id", form.registry_id))


def _inline(services: AdminServices, form: TryConnection) -> Registry:
    if not form.provider:
        raise invalid("provider is required: name one of the providers catalog")
    provider = registries.checked_provider(services.tools, form.provider)
    return Registry(
        id="",
        gateway_id="",
        name="",
        provider=provider.name,
        provider_options=registries.checked_options(provider, form.provider_options or {}, {}),
        auth=checked_auth(provider, form.auth, None, services.tools.references),
    )


async def _verdict(registry: Registry, provider: Provider, credentials: Credentials) -> Verdict:
    try:
        async with asyncio.timeout(LONGEST):
            return await _asked(registry, credentials)
    except (CannotTarget, BadCredential) as error:
        return Verdict(stage="provider", message=str(error))
    except CannotAuthorise as failure:
        return Verdict(stage="connectivity" if failure.retryable else "authentication", message=str(failure))
    except TimeoutError:
        return Verdict(stage="connectivity", message=f"{provider.name} did not answer within {LONGEST:g} seconds")


async def _asked(registry: Registry, credentials: Credentials) -> Verdict:
    """Ask with the credential that requests would have, but for tokens of its own: what is cached proves nothing."""
    auth = registry.auth
    if auth.oauth is not None and auth.oauth.grant_type == "refresh_token":
        return Verdict(stage="unsupported", message="trying a refresh token could use it up: send a request instead")
    if auth.aws is not None:
        return await _identified(registry, auth.aws.region, credentials)
    target = compile_target(registry, None, 1, Clocks(), credentials)
    path = _list_of_models(auth, target)
    call = Call(method="GET", origin=target.origin, target=path, headers=[*target.headers, *target.defaults])
    if target.credential is not None:
        call = await target.credential.authorise(call)
    if path:
        return await _sent(call, target.dialect)
    if target.credential is not None:
        return Verdict(stage="authentication")
    return Verdict(stage="unsupported", message=f"{registry.provider} has nothing to ask without using a model")


def _list_of_models(auth: ProviderAuth, target: Target) -> bytes:
    """Return where the models are listed, if anywhere. Azure lists them beside its deployments.

    https://learn.microsoft.com/rest/api/azureopenai/models/list
    """
    if auth.azure is not None:
        return f"{target.base}/openai/models?api-version={auth.azure.version or AZURE_VERSION}".encode()
    ways = target.ways.get("models")
    return ways[0].path.encode() if ways else b""


async def _identified(registry: Registry, region: str, credentials: Credentials) -> Verdict:
    """Bedrock lists nothing without a permission of its own; whose keys these are, AWS tells everybody."""
    options = registry.provider_options
    _, credential = credentials.credential(registry.id, registry.auth, service="sts", options=options)
    assert credential is not None
    return await _sent(await credential.authorise(who_am_i(region, str(options.get("sts_url") or ""))), "bedrock")


async def _sent(call: Call, dialect: Dialect) -> Verdict:
    import httpx  # noqa: PLC0415 - costs 80 ms of start-up, and is needed only here

    origin = call.origin
    try:
        url = httpx.URL(scheme=origin.scheme, host=origin.host, port=origin.port, raw_path=call.target)
        async with (
            httpx.AsyncClient(timeout=LONGEST, follow_redirects=False) as client,
            client.stream(call.method, url, headers=list(call.headers), content=b"".join(pieces(call.body))) as answer,
        ):
            return _judged(answer.status_code, dialect)
    except httpx.TimeoutException:
        raise TimeoutError from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        what = f"the provider cannot be reached ({type(error).__name__}): check its address and the network"
        return Verdict(stage="connectivity", message=what)


def _judged(status: int, dialect: Dialect) -> Verdict:
    if 200 <= status < 300:
        return Verdict(stage="authentication", status=status)
    if status in (401, 403) or (status == 400 and dialect == "gemini"):  # Google calls a wrong key a bad request
        message = f"provider rejected the credentials (status {status})"
        return Verdict(stage="authentication", status=status, message=message)
    return Verdict(stage="provider", status=status, message=f"provider answered with status {status}: check base_url")
