"""How a registry proves itself to its provider: looked up, checked, fetched, signed. Told nobody.

`Credentials` lives as long as the process, so that all targets of a registry share one token.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import Any, Final, TypeVar, assert_never

import msgspec
from msgspec import Struct

from trustgate.config.records import ApiKeyAuth, AwsAuth, AzureAuth, OAuth2Auth, ProviderAuth
from trustgate.contract.ports import Signing
from trustgate.contract.upstream import CannotAuthorise, Credential, Header
from trustgate.providers.credentials import aws, azure, google, oauth2
from trustgate.providers.credentials.keys import check_key
from trustgate.providers.credentials.references import BadCredential, is_reference, refers, resolve, resolved
from trustgate.providers.credentials.tokens import Bearer, Clock, Kept
from trustgate.settings import References

__all__ = [
    "NOTHING",
    "BadCredential",
    "Credentials",
    "check",
    "credential",
    "is_reference",
    "project_of",
    "resolved_key",
]

MOST: Final = 10_000
"""Credentials that are remembered. Beyond it the one that was asked for longest ago is forgotten, with its token."""
NOTHING: Final = References()
"""Rules without a folder and without any variable: every reference is refused."""
S = TypeVar("S", bound=Struct)


class Credentials:
    """The credentials of a process, by registry and auth. A changed auth has a credential of its own."""

    def __init__(self, references: References = NOTHING, *, now: Clock = monotonic) -> None:
        self.references = references
        self._now = now
        self._known: OrderedDict[tuple[str, str, bytes], Credential] = OrderedDict()

    def __repr__(self) -> str:
        """Say how many; they are secret."""
        return f"Credentials({len(self._known)})"

    def key(self, auth: ProviderAuth) -> ApiKeyAuth:
        """Return the key of an auth, looked up now; an empty one where it has none. Raises BadCredential."""
        return resolved_key(auth, self.references)

    def project(self, auth: ProviderAuth) -> str:
        """Return the project that a service account is of; empty where there is none. Raises BadCredential."""
        return project_of(auth, self.references)

    def signing(self, told: Signing) -> Credential:
        """Return what signs calls of policies to AWS; the same object each time. Raises BadCredential."""
        block = AwsAuth(
            region=told.region,
            access_key_id=told.access_key_id,
            secret_access_key=told.secret_access_key,
            session_token=told.session_token,
            use_role=bool(told.role),
            role=told.role,
        )
        auth = ProviderAuth(type="aws", aws=block)
        _, made = self.credential("policy", auth, service=told.service, options={})
        assert made is not None, "what AWS takes is a signature"
        return made

    def credential(
        self, registry_id: str, auth: ProviderAuth, *, service: str, options: Mapping[str, Any]
    ) -> tuple[Sequence[Header], Credential | None]:
        """Return fixed headers and what makes those that are not; the same object each time. Raises BadCredential."""
        digest = sha256(msgspec.json.encode((auth, options.get("sts_url")))).digest()
        name = (registry_id, service, digest)
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return (), known
        headers, made = credential(
            auth, service=service, options=options, references=self.references, holder=registry_id, now=self._now
        )
        if made is not None:
            self._known[name] = made
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        return headers, made


def check(auth: ProviderAuth, references: References) -> None:
    """Look every reference up and check that the auth is complete and consistent. Raises BadCredential."""
    match auth.type:
        case "none":
            return
        case "api_key":
            check_key(resolved(auth.api_key or ApiKeyAuth(), references, "auth.api_key"))
        case "azure":
            _azure(auth, references)
        case "aws":
            _aws(auth, references)
        case "oauth2":
            _oauth(auth, references)
        case "gcp_service_account":
            google.check(_account(auth, references))
        case _:
            assert_never(auth.type)


def resolved_key(auth: ProviderAuth, references: References) -> ApiKeyAuth:
    """Return the key of an auth: of type api_key, or azure with one; else an empty one. Raises BadCredential."""
    if auth.type == "api_key":
        key = resolved(auth.api_key or ApiKeyAuth(), references, "auth.api_key")
        check_key(key)
        return key
    if auth.type == "azure":
        return ApiKeyAuth(api_key=_azure(auth, references).api_key)
    return ApiKeyAuth()


def project_of(auth: ProviderAuth, references: References) -> str:
    """Return the project that a service account is of; empty where there is none. Raises BadCredential."""
    return google.check(_account(auth, references)).project_id if auth.type == "gcp_service_account" else ""


def credential(
    auth: ProviderAuth,
    *,
    service: str,
    options: Mapping[str, Any],
    references: References,
    holder: str = "",
    now: Clock = monotonic,
) -> tuple[Sequence[Header], Credential | None]:
    """Return fixed headers, and what makes those that expire. Raises BadCredential.

    `service` is what AWS signatures are for, `options` are the registry's provider_options (`sts_url`), `holder` is the
    registry's id, under which AWS logs what an assumed role does. Secrets are looked up again with each token.
    """
    check(auth, references)
    match auth.type:
        case "none" | "api_key":
            return (), None
        case "azure":
            key = _azure(auth, references).api_key
            look = _looking(partial(_azure, auth, references))
            return (), None if key else Bearer(Kept(partial(azure.fetch, look), what=azure.WHAT, now=now))
        case "aws":
            url = str(options.get("sts_url") or "")
            return (), _signed(auth, references, service=service, sts_url=url, holder=holder, now=now)
        case "oauth2":
            grants = oauth2.Grants(_looking(partial(_oauth, auth, references)))
            return (), Bearer(Kept(grants.fetch, what=oauth2.WHAT, now=now))
        case "gcp_service_account":
            text = _looking(partial(_account, auth, references))
            return (), Bearer(Kept(partial(google.fetch, text), what=google.WHAT, now=now))
        case _:
            assert_never(auth.type)


def _signed(
    auth: ProviderAuth, references: References, *, service: str, sts_url: str, holder: str, now: Clock
) -> Credential:
    block = _block(auth.aws, "aws")
    if block.use_role:
        session = f"trustgate-{holder}"[:64].rstrip("-")
        fetch = partial(aws.role_keys, block, session=session, sts_url=sts_url)
    else:
        fetch = partial(aws.own_keys, _looking(partial(_aws, auth, references)), again=refers(block))
    return aws.Signed(Kept(fetch, what=aws.WHAT, now=now), region=block.region, service=service)


T = TypeVar("T")


def _looking(look: Callable[[], T]) -> Callable[[], T]:
    """Look secrets up while a call is under way: what is missing then may be there in a moment."""

    def looked_up() -> T:
        try:
            return look()
        except BadCredential as error:
            raise CannotAuthorise(str(error), retryable=True) from None

    return looked_up


def _azure(auth: ProviderAuth, references: References) -> AzureAuth:
    block = resolved(_block(auth.azure, "azure"), references, "auth.azure")
    azure.check(block)
    check_key(ApiKeyAuth(api_key=block.api_key or "none"), "auth.azure")
    return block


def _aws(auth: ProviderAuth, references: References) -> AwsAuth:
    block = resolved(_block(auth.aws, "aws"), references, "auth.aws")
    aws.check(block)
    return block


def _oauth(auth: ProviderAuth, references: References) -> OAuth2Auth:
    block = resolved(_block(auth.oauth, "oauth"), references, "auth.oauth")
    oauth2.check(block)
    return block


def _account(auth: ProviderAuth, references: References) -> str:
    if not auth.gcp_service_account:
        raise BadCredential(f"{google.FIELD} is missing: send the JSON of a service account's key file")
    try:
        return resolve(auth.gcp_service_account, references)
    except BadCredential as error:
        raise BadCredential(f"{google.FIELD}: {error}") from None


def _block(block: S | None, name: str) -> S:
    if block is None:
        raise BadCredential(f"auth.{name} is missing")
    return block
