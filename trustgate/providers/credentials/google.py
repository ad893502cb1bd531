"""Google Cloud: a service account's key file → access tokens. https://developers.google.com/identity/protocols/oauth2/service-account

Rule: only key files of type `service_account`. Other types that Google's libraries read name addresses and commands to
run, which is nothing for a tenant to choose.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials.places import check_address
from trustgate.providers.credentials.references import BadCredential
from trustgate.providers.credentials.tokens import UNSAID, Fetched, checked_token, code_of, hush

if TYPE_CHECKING:
    from google.auth.exceptions import GoogleAuthError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
WHAT: Final = "Google's token endpoint"
FIELD: Final = "auth.gcp_service_account"


class ServiceAccount(Struct, frozen=True, kw_only=True):
    """What of a key file has to be there."""

    type: str
    client_email: str
    private_key: str
    token_uri: str
    project_id: str = ""

    def __repr__(self) -> str:
        """Name the account; the key is secret."""
        return f"ServiceAccount({self.client_email})"


def check(text: str) -> ServiceAccount:
    """Return what a key file says, its private key tried. Raises BadCredential."""
    try:
        account = msgspec.json.decode(text, type=ServiceAccount)
    except msgspec.ValidationError as error:
        raise BadCredential(f"{FIELD} is no key file of a service account: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadCredential(f"{FIELD} is not JSON: send the key file as it was downloaded") from None
    if account.type != "service_account":
        raise BadCredential(f"{FIELD}.type is not service_account: only key files of service accounts are taken")
    check_address(f"{FIELD}.token_uri", account.token_uri)
    try:
        load_pem_private_key(account.private_key.encode(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCredential(f"{FIELD}.private_key is no private key in PEM") from None
    return account


async def fetch(look: Callable[[], str]) -> Fetched[bytes]:
    """Return a token for the whole of Google Cloud. Raises CannotAuthorise."""
    return await asyncio.to_thread(_fetch, look())


def _fetch(text: str) -> Fetched[bytes]:
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - google-auth costs 150 ms, and few need it
    from google.auth.transport.requests import Request  # noqa: PLC0415 - see above
    from google.oauth2.service_account import Credentials  # noqa: PLC0415 - see above
    from requests import Session  # noqa: PLC0415 - see above

    hush("google", "urllib3")
    info: dict[str, Any] = msgspec.json.decode(text)
    try:
        with Session() as session:
            account = Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
            account.refresh(partial(Request(session), timeout=10))
    except GoogleAuthError as error:
        raise _failure(error) from None
    except (ValueError, TypeError, AttributeError, OverflowError):  # of an answer that is no JSON object
        raise CannotAuthorise(f"{WHAT} answered with something that is no token") from None
    return Fetched(checked_token(account.token, WHAT), _lifetime(account.expiry))


def _lifetime(expiry: datetime | None) -> float:
    """The library gives times in UTC that do not say so."""
    return UNSAID if expiry is None else (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()


def _failure(error: "GoogleAuthError") -> CannotAuthorise:
    from google.auth.exceptions import TransportError  # noqa: PLC0415 - see above

    if isinstance(error, TransportError):
        return CannotAuthorise(f"{WHAT} cannot be reached", retryable=True)
    answer = error.args[1] if len(error.args) > 1 else None
    return CannotAuthorise(f"{WHAT} refused the service account{code_of(answer)}", retryable=bool(error.retryable))
