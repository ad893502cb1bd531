"""Addresses that an auth names: where a token is asked for, where a resource is."""

from trustgate.contract.addresses import check_url
from trustgate.providers.credentials.references import BadCredential


def check_address(field: str, url: str) -> None:
    """Check that a text is an http or https address that holds no user or password. Raises BadCredential."""
    try:
        check_url(field, url)
    except ValueError as error:
        raise BadCredential(str(error)) from None
