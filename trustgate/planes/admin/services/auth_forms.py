"""How a registry proves itself, as it is sent: each kind is a block of its own, and a secret left out stays.

What a credential needs is said by `providers/credentials`; here is what a form may say, and which secret stays.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from trustgate.config.records import ApiKeyAuth, AwsAuth, AzureAuth, OAuth2Auth, ProviderAuth
from trustgate.contract.policy import Secret
from trustgate.planes.admin import masking
from trustgate.planes.admin.services.explain import explain
from trustgate.planes.admin.services.fields import checked_header
from trustgate.planes.admin.services.problems import invalid
from trustgate.providers.catalog import Provider
from trustgate.providers.credentials import BadCredential, check
from trustgate.settings import References

Block = TypeVar("Block", bound=Struct)
Values = Mapping[str, Any]

_BLOCKS: Final[Mapping[str, str]] = {
    "api_key": "api_key",
    "azure": "azure",
    "aws": "aws",
    "oauth2": "oauth",
    "gcp_service_account": "gcp_service_account",
}
"""Type → the field that holds its block."""
_CODE_FIELDS: Final = ("code", "redirect_uri", "code_verifier")


class ApiKeyForm(Struct, frozen=True, kw_only=True):
    """A provider key, or a header pair, or a query parameter pair that stands for one."""

    api_key: Secret | None = None
    header_name: str | None = None
    header_value: Secret | None = None
    param_name: str | None = None
    param_value: Secret | None = None
    param_location: str | None = None
    keys: Annotated[
        dict[str, Secret] | None,
        Meta(description="Several keys by name, in the place of `api_key`; one that fails rests by itself."),
    ] = None
    key_weights: Annotated[dict[str, int] | None, Meta(description="Their shares of the calls, 1 to 100 each.")] = None


class AzureForm(Struct, frozen=True, kw_only=True):
    """An endpoint and one of: a key; client_id, client_secret and tenant_id; use_managed_identity."""

    endpoint: str | None = None
    version: str | None = None
    api_key: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    tenant_id: str | None = None
    use_managed_identity: bool | None = None


class AwsForm(Struct, frozen=True, kw_only=True):
    """A region and one of: access keys; use_role and the ARN of a role that the gateway's own identity assumes."""

    region: str | None = None
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    use_role: bool | None = None
    role: str | None = None


class OAuth2Form(Struct, frozen=True, kw_only=True):
    """A token endpoint and a grant: client_credentials, refresh_token or password."""

    token_url: str | None = None
    grant_type: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    use_basic_auth: bool | None = None
    scopes: list[str] | None = None
    audience: str | None = None
    refresh_token: Secret | None = None
    username: Secret | None = None
    password: Secret | None = None
    extra: dict[str, Secret] | None = None
    code: Secret | None = None
    redirect_uri: str | None = None
    code_verifier: Secret | None = None


KeyFile = Annotated[
    Secret | dict[str, Any] | None, Meta(description="A service account's key file: its JSON, as text or as an object.")
]


class AuthForm(Struct, frozen=True, kw_only=True):
    """How the registry proves itself; `type` must be one that the provider takes, and has the block named like it
    (that of oauth2 is `oauth`). Instead of a secret, `env:NAME` or `file:/path` may say where it is."""

    type: Annotated[str, Meta(extra_json_schema={"examples": ["api_key"]})]
    api_key: ApiKeyForm | None = None
    azure: AzureForm | None = None
    aws: AwsForm | None = None
    oauth: OAuth2Form | None = None
    gcp_service_account: KeyFile = None


def checked_auth(
    provider: Provider, form: AuthForm | None, stored: ProviderAuth | None, references: References
) -> ProviderAuth:
    """Return how to prove oneself to that provider, with stored secrets kept. Raises Refused."""
    kind = form.type if form else "none"
    if kind not in provider.auth_types:
        missing = "auth is required" if form is None else f'auth.type "{kind[:100]}" is not taken'
        raise invalid(f"{missing} by provider {provider.name}: use auth.type {' or '.join(provider.auth_types)}")
    if form is None or kind == "none":
        return ProviderAuth(type="none")
    _check_blocks(form)
    auth = _built(form, stored or ProviderAuth(type="none"))
    try:
        check(auth, references)
    except BadCredential as error:
        raise invalid(str(error)) from None
    return auth


def kept(kind: type[Struct], new: Values, old: Values, path: str) -> Any:
    """Return the new values with the secrets that they leave out or mask taken from the old. Raises Refused."""
    try:
        return masking.kept(kind, dict(new), dict(old), path=path)
    except masking.MaskedSecret as error:
        raise invalid(str(error)) from None


def _check_blocks(form: AuthForm) -> None:
    for kind, field in _BLOCKS.items():
        if kind != form.type and getattr(form, field) is not None:
            raise invalid(f"auth.{field} is not used by auth.type {form.type}: leave it out")


def _built(form: AuthForm, stored: ProviderAuth) -> ProviderAuth:
    match form.type:
        case "api_key":
            key = _merged(ApiKeyAuth, form.api_key, stored.api_key, "auth.api_key", _same_pair)
            if key.header_name:
                checked_header("auth.api_key.header_name", key.header_name)
            return ProviderAuth(type="api_key", api_key=key)
        case "azure":
            block = _merged(AzureAuth, form.azure, stored.azure, "auth.azure", _same_principal)
            return ProviderAuth(type="azure", azure=block)
        case "aws":
            return ProviderAuth(type="aws", aws=_merged(AwsAuth, form.aws, stored.aws, "auth.aws", _same_keys))
        case "oauth2":
            _check_grant(form.oauth or OAuth2Form())
            oauth = _merged(OAuth2Auth, form.oauth, stored.oauth, "auth.oauth", _same_client)
            return ProviderAuth(type="oauth2", oauth=oauth)
        case _:
            return ProviderAuth(type="gcp_service_account", gcp_service_account=_key_file(form, stored))


def _merged(
    kind: type[Block], form: Struct | None, stored: Block | None, path: str, same: Callable[[Values, Values], bool]
) -> Block:
    """Stored secrets are kept where `same` says that they would be used for the same as before."""
    given = {name: value for name, value in (structs.asdict(form) if form else {}).items() if value is not None}
    old = structs.asdict(stored) if stored else {}
    merged = kept(kind, given, old if stored and same(given, old) else {}, path)
    try:
        return msgspec.convert(merged, kind)
    except msgspec.ValidationError as error:
        raise invalid(explain(error, path)) from None


def _same_pair(given: Values, old: Values) -> bool:
    return _pair(given) == _pair(old)


def _pair(key: Values) -> str:
    """Say which of the three ways a key is given in."""
    return f"header {key['header_name']}" if key.get("header_name") else "param" if key.get("param_name") else "key"


def _same_principal(given: Values, old: Values) -> bool:
    return _identity(given) == _identity(old)


def _identity(block: Values) -> tuple[str, ...]:
    if any(block.get(field) for field in ("client_id", "client_secret", "tenant_id")):
        return "principal", block.get("client_id", ""), block.get("tenant_id", "")
    return ("host",) if block.get("use_managed_identity") else ("key",)


def _same_keys(given: Values, old: Values) -> bool:
    """A secret belongs to its id, so another id keeps nothing."""
    same_way = bool(given.get("use_role") or given.get("role")) == bool(old["use_role"])
    new = given.get("access_key_id") or masking.MARK
    return same_way and (new.startswith(masking.MARK) or new == old["access_key_id"])


def _same_client(given: Values, old: Values) -> bool:
    """A secret is kept for the endpoint that it was given for: else a masked one could be sent anywhere."""
    return all(given.get(field, "") == old[field] for field in ("token_url", "grant_type", "client_id"))


def _check_grant(form: OAuth2Form) -> None:
    if form.grant_type == "authorization_code" or any(getattr(form, field) for field in _CODE_FIELDS):
        raise invalid(
            "auth.oauth.grant_type authorization_code needs somebody in front of a browser: use client_credentials, or "
            "grant_type refresh_token with a refresh_token that was got by it"
        )


def _key_file(form: AuthForm, stored: ProviderAuth) -> str:
    given = form.gcp_service_account
    text = msgspec.json.encode(given).decode() if isinstance(given, dict) else given
    new = {} if text is None else {"gcp_service_account": text}
    merged = kept(ProviderAuth, new, {"gcp_service_account": stored.gcp_service_account}, "auth")
    return _compact(merged.get("gcp_service_account", ""))


def _compact(text: str) -> str:
    """Return JSON without blanks; what is no JSON stays as it is, for the check to say so."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode() if text.lstrip().startswith("{") else text
    except (msgspec.DecodeError, RecursionError):
        return text
