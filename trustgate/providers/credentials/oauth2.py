"""OAuth 2.0: tokens from a token endpoint, by the three grants that need nobody in front of a browser.

https://www.rfc-editor.org/rfc/rfc6749#section-4.4 (client_credentials), #section-6 (refresh_token), #section-4.3
(password), #section-2.3.1 (how the client proves itself), #section-5 (what comes back).
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from trustgate.config.records import OAuth2Auth
from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials.places import check_address
from trustgate.providers.credentials.references import BadCredential
from trustgate.providers.credentials.tokens import UNSAID, Fetched, checked_token, code_of

if TYPE_CHECKING:
    import httpx

WHAT: Final = "the token endpoint"
LARGEST: Final = 256 * 1024
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "client_credentials": ("client_id", "client_secret"),
    "refresh_token": ("refresh_token",),
    "password": ("username", "password"),
}
_USES: Final[Mapping[str, tuple[str, ...]]] = {
    "client_credentials": (),
    "refresh_token": ("refresh_token",),
    "password": ("username", "password"),
}
_WRITTEN: Final = frozenset(
    ("grant_type", "scope", "audience", "client_id", "client_secret", "refresh_token", "username", "password")
)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1000}")


def check(auth: OAuth2Auth) -> None:
    """Check that a grant has what it needs and nothing that it would ignore. Raises BadCredential."""
    check_address("auth.oauth.token_url", auth.token_url)
    _check_fields(auth)
    if bool(auth.client_secret) and not auth.client_id:
        raise BadCredential("auth.oauth.client_id is missing: a client_secret is nothing without it")
    if auth.use_basic_auth and not (auth.client_id and auth.client_secret):
        raise BadCredential("auth.oauth.use_basic_auth needs client_id and client_secret")
    if wrong := [scope for scope in auth.scopes if not _SCOPE.fullmatch(scope)]:
        raise BadCredential(f"auth.oauth.scopes: {wrong[0][:100]!r} is no scope: give each one by itself")
    if taken := sorted(_WRITTEN & set(auth.extra)):
        raise BadCredential(f"auth.oauth.extra may not have {', '.join(taken)}: there are fields for these")


def _check_fields(auth: OAuth2Auth) -> None:
    for field in _NEEDS[auth.grant_type]:
        if not getattr(auth, field):
            raise BadCredential(f"auth.oauth.{field} is missing: grant_type {auth.grant_type} needs it")
    for field in ("refresh_token", "username", "password"):
        if getattr(auth, field) and field not in _USES[auth.grant_type]:
            raise BadCredential(f"auth.oauth.{field} is not used by grant_type {auth.grant_type}: leave it out")


class Grants:
    """Asks one token endpoint. A refresh token that it rotates is remembered, as long as the configured one stays."""

    def __init__(self, look: Callable[[], OAuth2Auth]) -> None:
        self._look = look
        self._configured = ""
        self._rotated = ""

    async def fetch(self) -> Fetched[bytes]:
        """Return a token. Raises CannotAuthorise."""
        auth = self._look()
        if auth.refresh_token != self._configured:
            self._configured, self._rotated = auth.refresh_token, ""
        answer = await _ask(auth, self._rotated or auth.refresh_token)
        token = checked_token(answer.get("access_token"), WHAT)
        kind = answer.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise CannotAuthorise(f"{WHAT} answered with a token that is no bearer token")
        rotated = answer.get("refresh_token")
        if auth.grant_type == "refresh_token" and isinstance(rotated, str) and rotated:
            self._rotated = rotated
        return Fetched(token, _lifetime(answer.get("expires_in")))


def _lifetime(said: object) -> float:
    """Some endpoints send their seconds as text."""
    try:
        seconds = float(said) if isinstance(said, int | float | str) else UNSAID
    except ValueError:
        seconds = UNSAID
    if not 0 < seconds < 1e9:
        raise CannotAuthorise(f"{WHAT} answered with a token that has run out")
    return seconds


async def _ask(auth: OAuth2Auth, refresh_token: str) -> Mapping[str, object]:
    import httpx  # noqa: PLC0415 - costs 80 ms of start-up, and most registries need no token

    context = await asyncio.to_thread(_trusted)
    try:
        async with (
            httpx.AsyncClient(timeout=10.0, follow_redirects=False, verify=context) as client,
            client.stream(
                "POST", auth.token_url, headers=_headers(auth), content=_form(auth, refresh_token)
            ) as response,
        ):
            return _judged(response.status_code, await _body(response))
    except httpx.TimeoutException:
        raise CannotAuthorise(f"{WHAT} did not answer in time", retryable=True) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise CannotAuthorise(f"{WHAT} cannot be reached ({type(error).__name__})", retryable=True) from None


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Reading the certificates takes 20 ms: too long for the loop, and too long for each token."""
    import httpx  # noqa: PLC0415 - see above

    return httpx.create_ssl_context()


async def _body(response: "httpx.Response") -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) > LARGEST:
            raise CannotAuthorise(f"{WHAT} answered with more than 256 KiB")
    return bytes(raw)


def _judged(status: int, raw: bytes) -> Mapping[str, object]:
    try:
        answer = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if status != 200:
        retryable = status >= 500 or status == 429
        raise CannotAuthorise(f"{WHAT} answered with status {status}{code_of(answer)}", retryable=retryable)
    if not isinstance(answer, dict):
        raise CannotAuthorise(f"{WHAT} answered with something that is no JSON object")
    return answer


def _headers(auth: OAuth2Auth) -> dict[str, str]:
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    if auth.use_basic_auth:
        pair = f"{quote_plus(auth.client_id)}:{quote_plus(auth.client_secret)}"
        headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
    return headers


def _form(auth: OAuth2Auth, refresh_token: str) -> bytes:
    in_form = not auth.use_basic_auth
    fields = {
        "grant_type": auth.grant_type,
        "client_id": auth.client_id if in_form else "",
        "client_secret": auth.client_secret if in_form else "",
        "refresh_token": refresh_token,
        "username": auth.username,
        "password": auth.password,
        "scope": " ".join(auth.scopes),
        "audience": auth.audience,
        **auth.extra,
    }
    return urlencode({name: value for name, value in fields.items() if value}).encode()
