"""What may be said about browsers, and everything that follows from it and not from a request."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import PolicySettings

_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9.-]+(:\d{1,5})?|\*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")

Names = tuple[str, ...]


class CorsSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Which web pages may ask from a browser, with which methods and headers, and what they may read of the answer."""

    title: ClassVar[str] = "CORS"
    rewrites: ClassVar[bool] = False
    modes: ClassVar[tuple[Literal["enforce", "throttle", "observe"], ...]] = ("enforce",)

    allowed_origins: Annotated[
        Names,
        Meta(
            min_length=1,
            description="Origins such as `https://app.example.com`, `https://*.example.com` for everything below a "
            "domain, or `*` for any.",
        ),
    ]
    allowed_methods: Annotated[Names, Meta(description="HTTP methods that a page may use.")] = ("GET", "POST")
    allowed_headers: Annotated[
        Names, Meta(description="Request headers that a page may send; `*` is any, and empty is those it asks for.")
    ] = ()
    exposed_headers: Annotated[Names, Meta(description="Answer headers that a page may read.")] = (
        *("x-ag-trace-id", "x-request-id", "x-session-id", "retry-after"),
        *("x-selected-provider", "x-selected-model"),
    )
    allow_credentials: Annotated[
        bool, Meta(description="Whether a browser may send cookies and its own authentication along.")
    ] = False
    max_age: Annotated[
        int, Meta(ge=0, le=86400, description="Seconds for which a browser may remember the answer to a preflight.")
    ] = 600

    def __post_init__(self) -> None:
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"`allowed_origins` holds {origin!r}, which is no origin: write https://app.example.com"
                )
        if self.allow_credentials and "*" in self.allowed_origins:
            raise ValueError("`allow_credentials` cannot go with the origin `*`: name the origins")
        for field in ("allowed_methods", "allowed_headers", "exposed_headers"):
            wrong = [name for name in getattr(self, field) if not _TOKEN.fullmatch(name)]
            if wrong:
                raise ValueError(f"`{field}` holds {wrong[0]!r}, which is not the name of one")

    @cached_property
    def exact(self) -> frozenset[str]:
        """The origins that are allowed as they stand."""
        return frozenset(origin for origin in self.allowed_origins if "*" not in origin)

    @cached_property
    def wildcards(self) -> tuple[tuple[str, str], ...]:
        """The beginnings and ends of the origins below allowed domains."""
        halves = (origin.partition("*") for origin in self.allowed_origins if "*." in origin)
        return tuple((before, behind) for before, _, behind in halves)

    @cached_property
    def methods(self) -> frozenset[str]:
        """The allowed methods in capitals."""
        return frozenset(method.upper() for method in self.allowed_methods)

    @cached_property
    def headers(self) -> frozenset[str]:
        """The allowed headers in small letters."""
        return frozenset(name.lower() for name in self.allowed_headers)

    def allows(self, origin: str) -> bool:
        """Say whether pages of an origin may ask. Only whole labels stand for a wildcard: no `evilexample.com`."""
        if "*" in self.allowed_origins or origin in self.exact:
            return True
        return any(
            origin.startswith(before) and origin.endswith(behind) and _is_below(origin[len(before) : -len(behind)])
            for before, behind in self.wildcards
        )


def _is_below(labels: str) -> bool:
    return bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", labels))
