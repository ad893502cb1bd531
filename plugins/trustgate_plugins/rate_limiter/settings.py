"""What a rate limit can be told, and everything that follows from it and not from a request."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import Duration, PolicySettings, seconds

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class RateLimiterSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """At most so many requests in any window of time, for one consumer, or for a whole gateway if it is global."""

    title: ClassVar[str] = "Rate limiter"
    rewrites: ClassVar[bool] = False
    modes: ClassVar[tuple[Literal["enforce", "throttle", "observe"], ...]] = ("enforce", "throttle", "observe")
    on_error: ClassVar[Literal["deny", "allow"]] = "allow"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request"})

    limit: Annotated[int, Meta(gt=0, description="How many requests fit into one window.")]
    window: Annotated[Duration, Meta(description="How long a window is, at least `1s`. It slides: there is no edge.")]
    retry_after: Annotated[
        Duration | None,
        Meta(description="What a refused caller is told to wait; without it, until its next request fits."),
    ] = None
    group_by_header: Annotated[
        str,
        Meta(description="Count each value of this request header by itself; requests without it share one count."),
    ] = ""

    def __post_init__(self) -> None:
        if seconds(self.window) < 1:
            raise ValueError(f"`window` is {self.window}, which is too short: use at least 1s")
        if self.group_by_header and not _HEADER_NAME.fullmatch(self.group_by_header):
            raise ValueError(f"`group_by_header` is {self.group_by_header!r}, which is not the name of a header")

    @cached_property
    def window_seconds(self) -> float:
        """The window as a number."""
        return seconds(self.window)

    @cached_property
    def told_to_wait(self) -> float | None:
        """`retry_after` as a number."""
        return seconds(self.retry_after) if self.retry_after else None

    @cached_property
    def group_header(self) -> bytes:
        """The name of the grouping header as it is looked up."""
        return self.group_by_header.lower().encode("latin-1")

    @cached_property
    def limit_text(self) -> bytes:
        """The limit as a header value."""
        return b"%d" % self.limit
