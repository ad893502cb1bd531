"""What the catalogue says of a server, and choosing among them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

FILE: Final = Path(__file__).with_name("servers.json")

Hint = Literal["none", "static", "oauth"]


class UrlVariable(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"place": "in"}):
    """A part of the address that everybody fills in."""

    name: str
    description: str = ""
    required: bool
    secret: bool
    place: Literal["path", "query"]


class AuthHeader(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A header that proves who asks. Its value is a secret behind the word of `scheme`, or (`raw`) alone."""

    name: str
    description: str = ""
    required: bool
    secret: bool
    scheme: Literal["Bearer", "Token", "Basic", "ApiKey", "App", "raw"] = "raw"


class OAuthNeed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server that asks each user to log in: whether clients register by themselves, or by hand at its vendor."""

    required: bool
    registration: Literal["auto", "manual"]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One public server. `relevance` (0 to 100) puts first what more people look for; `hidden` ones are not shown."""

    code: str
    display_name: str
    vendor: str
    category: str
    description: str
    url: Annotated[str, Meta(description="Where it is; may hold `{variables}`.")]
    transport: Literal["streamable-http", "sse"] = "streamable-http"
    auth_hint: Hint
    relevance: int
    url_variables: tuple[UrlVariable, ...] = ()
    auth_headers: tuple[AuthHeader, ...] = ()
    oauth: OAuthNeed | None = None
    hidden: bool = False

    @property
    def requires_auth(self) -> bool:
        """Whether nobody is served without a proof."""
        return self.auth_hint != "none"

    @property
    def requires_config(self) -> bool:
        """Whether there is something to fill in before it can be asked."""
        return any(variable.required for variable in self.url_variables) or any(
            header.required for header in self.auth_headers
        )


def read(path: Path) -> list[Entry]:
    """Return the entries of a file. Raises ValueError for one that is no catalogue."""
    entries = msgspec.json.decode(path.read_bytes(), type=list[Entry])
    codes = [entry.code for entry in entries]
    if len(set(codes)) != len(codes):
        raise ValueError(f"{path} has two entries with one code")
    return entries


def write(path: Path, entries: Sequence[Entry]) -> None:
    """Write entries in the form that differences are read in: one line each, by code."""
    lines = [b"  " + msgspec.json.encode(entry) for entry in sorted(entries, key=lambda each: each.code)]
    path.write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")


@cache
def shipped() -> tuple[Entry, ...]:
    """Return what is shown of the catalogue that is shipped: what more people look for first, then by name."""
    shown = [entry for entry in read(FILE) if not entry.hidden]
    return tuple(sorted(shown, key=lambda each: (-each.relevance, each.display_name, each.code)))


def chosen(search: str = "", *, category: str = "", auth_hint: str = "") -> list[Entry]:
    """Return the entries that have all words of a search somewhere, in any case, and are of a kind."""
    words = search.lower().split()
    return [
        entry
        for entry in shipped()
        if category.lower() in ("", entry.category.lower())
        and auth_hint in ("", entry.auth_hint)
        and all(word in _said(entry) for word in words)
    ]


def _said(entry: Entry) -> str:
    return f"{entry.code} {entry.display_name} {entry.vendor} {entry.category} {entry.description} {entry.url}".lower()
