"""Which gateway's events go to which Collector: those that all have, and those of its own.

Each Collector has a lane: a bounded queue and a task, so that one that is dead costs itself its newest events, counted,
and nobody else anything.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trustgate.contract.event import Event, Sink
from trustgate.telemetry.fanout import Lane
from trustgate.telemetry.otlp import OtlpPlace, OtlpSink

FLUSH: Final = 3.0
"""Seconds that a lane that is no longer wanted has to deliver what it holds."""


class Route:
    """One Collector, with those who send to it."""

    def __init__(self, place: OtlpPlace, lane: Lane) -> None:
        self.place = place
        self.lane = lane
        self.task = asyncio.create_task(lane.run())

    async def end(self) -> None:
        """Deliver what waits, as far as there is time."""
        self.lane.close()
        await asyncio.wait((self.task,), timeout=FLUSH)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.lane.finish()


class Routes:
    """A sink that deals events out. `defaults` are Collectors by name, for gateways that name none so themselves."""

    def __init__(
        self, defaults: Mapping[str, OtlpPlace], size: int, *, make: Callable[[OtlpPlace], Sink] = OtlpSink
    ) -> None:
        self._defaults = defaults
        self._size = size
        self._make = make
        self._of: Mapping[str, Mapping[str, OtlpPlace]] = {}
        self._routes: dict[OtlpPlace, Route] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._gone = [0, 0, 0]

    def swap(self, of: Mapping[str, Mapping[str, OtlpPlace]]) -> None:
        """Hear which Collectors each gateway names, by their names."""
        self._of = of
        wanted = {place for places in of.values() for place in places.values()} | set(self._defaults.values())
        for place in [each for each in self._routes if each not in wanted]:
            route = self._routes.pop(place)
            ending = asyncio.create_task(self._end(route))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def deliver(self, events: Sequence[Event]) -> None:
        """Give each event to those who are to have it. Never waits for any of them."""
        for place, ours in self._dealt(events).items():
            route = self._routes.get(place) or self._add(place)
            route.lane.offer(ours)
            route.lane.wake()

    async def aclose(self) -> None:
        """Deliver what waits, as far as there is time."""
        routes, self._routes = list(self._routes.values()), {}
        await asyncio.gather(*(self._end(route) for route in routes), *self._ending)

    @property
    def dropped(self) -> int:
        """How many events were lost because a Collector was away for too long."""
        return self._gone[0] + sum(route.lane.dropped for route in self._routes.values())

    @property
    def errors(self) -> int:
        """How many batches were not taken."""
        return self._gone[1] + sum(route.lane.errors for route in self._routes.values())

    @property
    def delivered(self) -> int:
        """How many events Collectors have taken."""
        return self._gone[2] + sum(route.lane.delivered for route in self._routes.values())

    def _dealt(self, events: Sequence[Event]) -> Mapping[OtlpPlace, list[Event]]:
        found: dict[OtlpPlace, list[Event]] = {}
        if not self._defaults and not self._of:  # mostly
            return found
        for event in events:
            for place in {**self._defaults, **self._of.get(event.gateway_id, {})}.values():
                found.setdefault(place, []).append(event)
        return found

    def _add(self, place: OtlpPlace) -> Route:
        route = self._routes[place] = Route(place, Lane("otlp", self._make(place), self._size))
        return route

    async def _end(self, route: Route) -> None:
        await route.end()
        lane = route.lane
        self._gone = [self._gone[0] + lane.dropped, self._gone[1] + lane.errors, self._gone[2] + lane.delivered]
