"""The fields that several forms share: names, slugs, ids, header names. Each check says what is accepted."""

import re
import unicodedata
import uuid
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from trustgate.planes.admin.services.problems import invalid

Name = Annotated[str, Meta(description="Not blank, at most 255 bytes.", extra_json_schema={"examples": ["my-app"]})]
Weight = Annotated[int, Meta(ge=1, le=100, description="The share of the traffic, 1 to 100.")]
Count = Annotated[int, Meta(ge=0, le=2**53, description="0 is unlimited.")]

_SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OURS: Final = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"),
        *("proxy-authorization", "proxy-connection", "expect", "accept-encoding", "content-encoding"),
    )
)


def checked_name(name: str | None) -> str:
    """Return a name that can be stored. Raises Refused."""
    if name is None or not name.strip():
        raise invalid("name is required: give one that is not blank")
    return checked_size("name", name, 255)


def checked_size(field: str, text: str, limit: int) -> str:
    """Return a text of at most `limit` bytes. Raises Refused."""
    if len(text.encode()) > limit:
        raise invalid(f"{field} is too long: use at most {limit} bytes")
    return text


def checked_slug(slug: str) -> str:
    """Return a slug, trimmed and in lower case. Raises Refused."""
    wanted = slug.strip().lower()
    if not _SLUG.fullmatch(wanted):
        raise invalid("slug must be 1 to 63 of a-z, 0-9 and hyphens, with no hyphen at either end, such as my-app")
    return wanted


def slug_from(name: str) -> str:
    """Make a slug from a name: `My App` → `my-app`. Empty when nothing of the name can stay."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:60].strip("-")


def checked_id(field: str, text: str) -> str:
    """Return an id in its canonical form. Raises Refused."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise invalid(f"{field} must be a UUID, such as the id in a response of this API") from None


def checked_header(field: str, name: str) -> str:
    """Return a header name that a registry or session may use. Raises Refused."""
    if not _TOKEN.fullmatch(name):
        raise invalid(f"{field} is not a header name: use letters, digits and hyphens")
    if name.lower() in _OURS:
        raise invalid(f"{field} names the header {name}, which the gateway writes itself: use another")
    return name


def checked_secret(field: str, value: str) -> str:
    """Return a secret that can travel in a header. Raises Refused, which never quotes it."""
    if value and not _VISIBLE.fullmatch(value):
        raise invalid(f"{field} must be visible ASCII characters, with no blank or line break at either end")
    return value


def unique(field: str, values: Sequence[str]) -> Sequence[str]:
    """Return values that are all different. Raises Refused."""
    if len(set(values)) != len(values):
        raise invalid(f"{field} names the same one twice: name each once")
    return values
