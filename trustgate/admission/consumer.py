"""Who is asking: an API key → the consumer that may use it. Only the SHA-256 of a key is ever looked up."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

from trustgate.config.records import Auth, Consumer
from trustgate.config.snapshot import Snapshot, Tenant
from trustgate.contract.context import Caller
from trustgate.contract.errors import Refused

_BEARER: Final = b"bearer "
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="trustgate"'),)


class Admitted(Struct, frozen=True, kw_only=True):
    """A caller who was let in, with the records that say so."""

    tenant: Tenant
    consumer: Consumer
    caller: Caller


def presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the key that the caller presents, or the empty string.

    X-AG-API-Key, x-api-key (Anthropic's SDKs), a bearer token (OpenAI's and Cohere's), then x-goog-api-key (Google's)
    and api-key (Azure's): an SDK that is given our key as its own sends it where its vendor wants it.
    """
    key = headers.get(b"x-ag-api-key") or headers.get(b"x-api-key")
    if key:
        return key.strip()
    bearer = headers.get(b"authorization", b"")
    if bearer[:7].lower() == _BEARER:
        return bearer[7:].strip()
    return (headers.get(b"x-goog-api-key") or headers.get(b"api-key") or b"").strip()


def admit(
    snapshot: Snapshot, named: Tenant | None, slug: str, key: bytes, *, kind: Literal["LLM", "MCP"] = "LLM"
) -> Admitted:
    """Return who is asking, for a consumer of that type.

    Raises Refused: 401 bad key, 403 may not, 404 no such consumer, 400 unclear.
    """
    tenant, auth = _credential(snapshot, named, key)
    if tenant.gateway.status != "active":
        raise Refused("gateway_inactive", "This gateway is switched off.", status=403, retry=False)
    consumer = _named(tenant, slug, auth) if slug else _only(tenant, auth, kind)
    if consumer.type != kind:
        plane = "the MCP plane, at /{consumer}/mcp" if consumer.type == "MCP" else "the proxy plane"
        raise Refused(
            "consumer_not_found",
            f'The consumer "{slug}" is no {kind} consumer: it is served on {plane}.',
            status=404,
            retry=False,
        )
    return Admitted(tenant=tenant, consumer=consumer, caller=caller_of(tenant, consumer, auth))


def _credential(snapshot: Snapshot, named: Tenant | None, key: bytes) -> tuple[Tenant, Auth]:
    if not key:
        raise _unauthenticated("missing_api_key", "No API key was sent: send it as X-AG-API-Key or as a bearer token.")
    owner = snapshot.keys.get(sha256(key).hexdigest())
    if owner is None or (named is not None and named.gateway.id != owner.gateway_id):
        raise _unauthenticated("invalid_api_key", "The API key is not valid here: check the key and its gateway.")
    tenant = snapshot.tenants[owner.gateway_id]
    auth = tenant.auths[owner.auth_id]
    if not auth.enabled:
        raise _unauthenticated("invalid_api_key", "The API key is disabled.")
    return tenant, auth


def _named(tenant: Tenant, slug: str, auth: Auth) -> Consumer:
    consumer = tenant.consumer(slug)
    if consumer is None or not consumer.active:
        raise Refused("consumer_not_found", f'There is no consumer "{slug}" in this gateway.', status=404, retry=False)
    if auth.id not in consumer.auth_ids:
        raise Refused("forbidden", f'This API key is not attached to the consumer "{slug}".', status=403, retry=False)
    return consumer


def _only(tenant: Tenant, auth: Auth, kind: str) -> Consumer:
    attached = [tenant.consumers[id_] for id_ in tenant.consumers_of.get(auth.id, ())]
    active = [consumer for consumer in attached if consumer.active and consumer.type == kind]
    if len(active) == 1:
        return active[0]
    if not active:
        raise Refused("forbidden", "This API key is attached to no active consumer.", status=403, retry=False)
    raise Refused(
        "ambiguous_consumer",
        "This API key is attached to several consumers: name one in the path, as in /{consumer}/v1/….",
        status=400,
        retry=False,
    )


def _unauthenticated(code: str, message: str) -> Refused:
    return Refused(code, message, status=401, headers=_CHALLENGE, retry=False)


def caller_of(tenant: Tenant, consumer: Consumer, auth: Auth | None) -> Caller:
    """Return who asks for a consumer, by this credential or by none."""
    return Caller(
        gateway_id=tenant.gateway.id,
        gateway_slug=tenant.gateway.slug,
        tenant_id=tenant.gateway.tenant_id,
        consumer_id=consumer.id,
        consumer_slug=consumer.slug,
        consumer_name=consumer.name,
        auth_id=auth.id if auth else "",
        auth_name=auth.name if auth else "",
    )
