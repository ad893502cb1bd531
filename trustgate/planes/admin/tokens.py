"""Admin tokens: HS256 over SERVER_SECRET_KEY, never without an end. A tenant's token sees that tenant only."""

import time
from collections.abc import Mapping
from typing import Any, Final

import jwt

from trustgate.contract.errors import Refused
from trustgate.planes.admin.services.work import Principal

_LEEWAY: Final = 60.0
_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)
_OPTIONS: Final = {"require": ["exp"], "verify_aud": False, "verify_iat": False, "verify_iss": False}
_OTHER_USES: Final = ("purpose", "token_use")


def mint_token(secret: str, *, subject: str, tenant_id: str = "", lifetime_seconds: int) -> str:
    """Return a token for the admin plane. With a tenant it sees only that tenant's gateways."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": subject, "iat": now, "exp": now + lifetime_seconds}
    return jwt.encode(claims | ({"tenant_id": tenant_id} if tenant_id else {}), secret, algorithm="HS256")


def authenticate(header: str | None, secret: str) -> Principal:
    """Return on whose behalf a request is made, from its Authorization header. Raises Refused: 401."""
    claims = _claims(_bearer(header), secret)
    if any(claims.get(name) for name in _OTHER_USES):
        raise _refused("Token not valid for admin API")
    subject, tenant_id = claims.get("sub") or "", claims.get("tenant_id") or ""
    if not isinstance(tenant_id, str) or not isinstance(subject, str):
        raise _refused("Invalid token")
    return Principal(subject=subject, tenant_id=tenant_id)


def _bearer(header: str | None) -> str:
    if not header or not header.strip():
        raise _refused("Authorization required")
    if header.rstrip() == "Bearer":
        raise _refused("Empty token provided")
    if not header.startswith("Bearer "):
        raise _refused("Invalid authorization format")
    return header.removeprefix("Bearer ").strip()


def _claims(token: str, secret: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=_options())
        issued = float(claims.get("iat") or 0)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        # The last four are what a forged header or odd claims make json and arithmetic raise.
        raise _refused("Invalid token") from None
    if not issued <= time.time() + _LEEWAY:  # also for nan
        raise _refused("Invalid token")
    return claims


def _options() -> Any:
    return dict(_OPTIONS)


def _refused(message: str) -> Refused:
    return Refused("unauthorized", message, status=401, headers=_CHALLENGE)
