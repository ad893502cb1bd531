"""Addresses of services, as configuration names them."""

from urllib.parse import urlsplit


def check_url(field: str, url: str) -> None:
    """Check that a text is an http or https address that holds no user or password. Raises ValueError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        good = False
    if not good or not url.isascii() or any(blank in url for blank in " \t\r\n"):
        raise ValueError(f"{field} is not an address: write it as https://host[:port][/path]")
    if "@" in parts.netloc:
        raise ValueError(f"{field} must hold no credentials: they would be read back")
