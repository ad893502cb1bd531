"""What a rate limit can be told, and everything that follows from it and not from a request."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import blake2b
from math import inf
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from trustgate import (
    Calendar,
    Caller,
    Duration,
    Period,
    PolicyRef,
    PolicySettings,
    RequestContext,
    Take,
    TimeZone,
    seconds,
    time_zone,
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
Dimension = Literal["gateway", "consumer", "key", "model"]

Positive = Annotated[int, Meta(gt=0)]
Limit = Meta(description="How many requests fit into one window.")
Rolling = Meta(description="How long a window is, at least `1s`. It slides: there is no edge.")

Places = Annotated[int, Meta(gt=0, le=1_000_000)]


def _hashed(told: bytes) -> str:
    # because a caller chooses it: its length must not become ours, nor its content a key that somebody reads
    return blake2b(told, digest_size=16).hexdigest()


_SAY: Final[Mapping[Dimension, Callable[[RequestContext, str], str]]] = {
    "gateway": lambda ctx, _: ctx.caller.gateway_id,
    "consumer": lambda ctx, _: ctx.caller.consumer_id,
    "key": lambda ctx, _: ctx.caller.auth_id,
    "model": lambda _, model: _hashed(model.encode("utf-8", "surrogatepass")),
}


class RateWindow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit among several: of a window that slides, or of a period of the calendar."""

    limit: Annotated[Positive, Limit]
    window: Annotated[Duration | None, Rolling] = None
    period: Annotated[
        Period | None,
        Meta(description="A period of the calendar in the place of `window`; all is back when the next one begins."),
    ] = None


class Rate(Struct, frozen=True, kw_only=True):
    """One limit as it is counted. `calendar` None is a window of `seconds` that slides; `told` is what callers read."""

    limit: int
    limit_text: bytes
    seconds: float
    calendar: Calendar | None
    told: str

    def take(self, key: str, now: float) -> Take:
        """Return what one request takes of it at a moment, in Unix seconds."""
        if self.calendar is None:
            return Take(key=key, limit=self.limit, window=self.seconds)
        span = self.calendar.at(now)
        # by its name too: a day and a week may end at the same moment
        return Take(key=f"{key}:{self.calendar.period}", limit=self.limit, window=0.0, until=span.end)


class _Last:
    """What was worked out for the last request. Most of the time the next one is of the same caller, and counts the
    same; each is kept with all that it follows from."""

    __slots__ = ("caller", "key", "model", "since", "taken_by", "takes", "until")

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.model = self.key = self.taken_by = ""
        self.takes: tuple[Take, ...] = ()
        self.since = self.until = 0.0


class RateLimiterSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """At most so many requests in any window of time, or at a time, for whomever it counts."""

    title: ClassVar[str] = "Rate limiter"
    protocols = ("LLM", "MCP")
    rewrites: ClassVar[bool] = False
    modes: ClassVar[tuple[Literal["enforce", "throttle", "observe"], ...]] = ("enforce", "throttle", "observe")
    on_error: ClassVar[Literal["deny", "allow"]] = "allow"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request", "pre_call", "post_response"})

    limit: Annotated[Positive | None, Limit] = None
    window: Annotated[Duration | None, Rolling] = None
    windows: Annotated[
        tuple[RateWindow, ...],
        Meta(max_length=8, description="More limits; a request has to fit into every one of them, and takes of all."),
    ] = ()
    concurrency: Annotated[Places | None, Meta(description="How many requests may be under way at a time.")] = None
    count_by: Annotated[
        tuple[Dimension, ...],
        Meta(
            description="Who shares a count: `gateway` all of it, `consumer`, `key` (a consumer's credential), `model` "
            "(the one that is really asked for). Several count each combination. Without it a global policy counts "
            "the gateway, and any other each consumer."
        ),
    ] = ()
    group_by_header: Annotated[
        str,
        Meta(description="Count each value of this request header by itself; requests without it share one count."),
    ] = ""
    time_zone: TimeZone = "UTC"
    retry_after: Annotated[
        Duration | None,
        Meta(description="What a refused caller is told to wait; without it, until its next request fits."),
    ] = None

    def __post_init__(self) -> None:
        if (self.limit is None) != (self.window is None):
            raise ValueError("`limit` and `window` go together: give both, or use `windows`")
        if not self.rates and self.concurrency is None:
            raise ValueError("`limit` and `window`, `windows` or `concurrency` has to say what the limit is")
        for each in self.windows:
            if (each.window is None) == (each.period is None):
                raise ValueError("each of `windows` has either a `window` or a `period`")
        for rate in self.rates:
            if rate.calendar is None and rate.seconds < 1:
                raise ValueError(f"`window` is {rate.told}, which is too short: use at least 1s")
        if len({rate.told for rate in self.rates}) < len(self.rates):
            raise ValueError("`windows` names a window twice")
        if len(set(self.count_by)) < len(self.count_by):
            raise ValueError("`count_by` names something twice")
        if self.group_by_header and not _HEADER_NAME.fullmatch(self.group_by_header):
            raise ValueError(f"`group_by_header` is {self.group_by_header!r}, which is not the name of a header")
        time_zone(self.time_zone)

    def skips(self) -> frozenset[str]:
        """Without places there is nothing to leave; who counts models has to wait until one is chosen."""
        unused = {"pre_request" if "model" in self.count_by else "pre_call"}
        return frozenset(unused if self.concurrency else unused | {"post_response"})

    def counts(self) -> bool:
        """Places are entered, and not only counted."""
        return self.concurrency is None

    def line(self, ctx: RequestContext, policy: PolicyRef) -> str:
        """Who is counted together waits in one line."""
        return self.key(ctx, policy, ctx.body.model)

    def key(self, ctx: RequestContext, policy: PolicyRef, model: str = "") -> str:
        """Return under which key a request is counted."""
        last = self._last
        if last.caller is not ctx.caller or last.model != model:
            last.caller, last.model, last.key = ctx.caller, model, self._key(ctx, policy, model)
        return f"{last.key}:{_hashed(ctx.headers.get(self.group_header, b''))}" if self.group_by_header else last.key

    def _key(self, ctx: RequestContext, policy: PolicyRef, model: str) -> str:
        caller = ctx.caller
        key = f"{caller.gateway_id}:rate_limiter:{policy.id}"
        if not self.count_by:
            return f"{key}:global" if policy.is_global else f"{key}:consumer:{caller.consumer_id}"
        for dimension in self.count_by:
            key = f"{key}:{dimension}:{_SAY[dimension](ctx, model)}"
        return key

    def taken(self, key: str, now: float) -> tuple[Take, ...]:
        """Return what one request takes of every window at a moment, in Unix seconds."""
        last = self._last
        if last.taken_by is not key or not last.since <= now < last.until:
            last.takes = tuple([rate.take(key, now) for rate in self.rates])
            last.taken_by, last.since = key, now
            last.until = min((take.until for take in last.takes if take.until), default=inf)
        return last.takes

    def whose(self, policy: PolicyRef) -> str:
        """Return whom a limit is for, as callers read it."""
        if self.count_by:
            return "this " + " and ".join(self.count_by)
        return "this gateway" if policy.is_global else "this consumer"

    @cached_property
    def _last(self) -> "_Last":
        return _Last()

    @cached_property
    def rates(self) -> tuple[Rate, ...]:
        """All limits of windows, as they are counted."""
        own = RateWindow(limit=self.limit, window=self.window) if self.limit and self.window else None
        return tuple(self._rate(each) for each in (*((own,) if own else ()), *self.windows))

    @cached_property
    def told_to_wait(self) -> float | None:
        """`retry_after` as a number."""
        return seconds(self.retry_after) if self.retry_after else None

    @cached_property
    def group_header(self) -> bytes:
        """The name of the grouping header as it is looked up."""
        return self.group_by_header.lower().encode("latin-1")

    def _rate(self, said: RateWindow) -> Rate:
        calendar = Calendar(said.period, self.time_zone) if said.period else None
        return Rate(
            limit=said.limit,
            limit_text=b"%d" % said.limit,
            seconds=seconds(said.window) if said.window else 0.0,
            calendar=calendar,
            told=said.period or said.window or "",
        )
