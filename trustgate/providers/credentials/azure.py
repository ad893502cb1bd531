"""Azure: an API key, or a token of Microsoft Entra for a service principal or for the identity of this host.

https://learn.microsoft.com/azure/ai-services/openai/how-to/managed-identity
"""

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trustgate.config.records import AzureAuth
from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials.places import check_address
from trustgate.providers.credentials.references import BadCredential
from trustgate.providers.credentials.tokens import Fetched, checked_token, hush

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.identity.aio import ClientSecretCredential, ManagedIdentityCredential

SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""Azure OpenAI is a resource of Cognitive Services, and a token is for a resource: with this scope it allows all that
the identity's role assignments there do ("Cognitive Services OpenAI User" is enough)."""
WHAT: Final = "Microsoft Entra"
_PRINCIPAL: Final = ("client_id", "client_secret", "tenant_id")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,200}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.-]{1,40}")
_REASON: Final = re.compile(r"AADSTS\d{4,8}")
"""https://learn.microsoft.com/entra/identity-platform/reference-error-codes: all that is quoted of an answer."""


def check(auth: AzureAuth) -> None:
    """Check that there is an endpoint and exactly one way to prove oneself, complete. Raises BadCredential."""
    check_address("auth.azure.endpoint", auth.endpoint)
    if auth.version and not _VERSION.fullmatch(auth.version):
        raise BadCredential("auth.azure.version is no API version: write it like 2024-10-21")
    principal = [field for field in _PRINCIPAL if getattr(auth, field)]
    if [bool(auth.api_key), bool(principal), auth.use_managed_identity].count(True) != 1:
        raise BadCredential(
            "auth.azure needs exactly one of api_key, or client_id with client_secret and tenant_id, "
            "or use_managed_identity"
        )
    if principal and len(principal) < len(_PRINCIPAL):
        missing = ", ".join(f"auth.azure.{field}" for field in _PRINCIPAL if field not in principal)
        raise BadCredential(f"{missing} missing: a service principal has client_id, client_secret and tenant_id")
    for field in ("client_id", "tenant_id"):
        if getattr(auth, field) and not _ID.fullmatch(getattr(auth, field)):
            raise BadCredential(f"auth.azure.{field} may only have letters, digits, dots and hyphens")


async def fetch(look: Callable[[], AzureAuth]) -> Fetched[bytes]:
    """Return a token of Entra, whose cloud AZURE_AUTHORITY_HOST may name. Raises CannotAuthorise."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - azure-identity costs 300 ms, and few need it

    try:
        async with _identity(look()) as identity:
            token = await identity.get_token(SCOPE)
    except AzureError as error:
        raise _failure(error) from None
    except (ValueError, TypeError, KeyError, AttributeError):  # of variables that the library reads, of odd answers
        raise CannotAuthorise(f"{WHAT} gave no token: check the AZURE_ variables of the gateway, if any") from None
    return Fetched(checked_token(token.token, WHAT), token.expires_on - time.time())


def _identity(auth: AzureAuth) -> "ClientSecretCredential | ManagedIdentityCredential":
    from azure.core.pipeline.transport import AsyncioRequestsTransport  # noqa: PLC0415 - see above
    from azure.identity.aio import ClientSecretCredential, ManagedIdentityCredential  # noqa: PLC0415 - see above

    hush("azure", "msal")
    transport = AsyncioRequestsTransport(connection_timeout=5, read_timeout=10)
    if auth.use_managed_identity:
        return ManagedIdentityCredential(transport=transport, retry_total=1)
    return ClientSecretCredential(
        auth.tenant_id, auth.client_id, auth.client_secret, transport=transport, retry_total=1
    )


def _failure(error: "AzureError") -> CannotAuthorise:
    from azure.core.exceptions import (  # noqa: PLC0415 - see above
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )
    from azure.identity import CredentialUnavailableError  # noqa: PLC0415 - see above

    status = error.status_code if isinstance(error, HttpResponseError) else None
    reason = _REASON.search(str(error))
    quoted = f" ({reason[0]})" if reason else ""
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return CannotAuthorise(f"{WHAT} cannot be reached ({type(error).__name__})", retryable=True)
    if isinstance(error, CredentialUnavailableError):
        return CannotAuthorise("there is no managed identity on this host")
    if status is not None and (status >= 500 or status == 429):
        return CannotAuthorise(f"{WHAT} answered with status {status}", retryable=True)
    if isinstance(error, ClientAuthenticationError):
        return CannotAuthorise(f"{WHAT} refused the identity{quoted}")
    return CannotAuthorise(f"{WHAT} gave no token ({type(error).__name__})")
