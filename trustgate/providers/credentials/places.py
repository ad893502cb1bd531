"""Addresses that an auth names: where a token is asked for, where a resource is."""

from urllib.parse import urlsplit

from trustgate.providers.credentials.references import BadCredential


def check_address(field: str, url: str) -> None:
    """Check that a text is an http or https address that holds no user or password. Raises BadCredential."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        good = False
    if not good or not url.isascii() or any(blank in url for blank in " \t\r\n"):
        raise BadCredential(f"{field} is not an address: write it as https://host[:port][/path]")
    if "@" in parts.netloc:
        raise BadCredential(f"{field} must hold no credentials: they would be read back")
