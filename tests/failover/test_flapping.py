"""A provider that comes and goes: nobody loses an answer, and little is lost on trying it."""

import pytest

from tests.failover.rows import FLAPPING
from tests.lifecycle.kit import House, configured, consumer, registry, whole
from tests.lifecycle.test_failover import Hosts, failing
from trustgate.forwarding.health import Health

pytestmark = pytest.mark.anyio
MINUTE = 60.0


async def test_a_minute_of_flapping_costs_nobody_an_answer() -> None:
    """In a time of our own, so that it does not take a minute."""
    now = 0.0
    line = Hosts(r1=lambda: whole() if int(now) % 2 else failing(500)(), r2=whole)
    records = configured(registry("r1"), registry("r2"), consumer("r1", "r2"))
    house = House(line, records=records, health=Health(now=lambda: now))
    statuses = []
    for tick in range(FLAPPING.requests):
        now = tick * MINUTE / FLAPPING.requests
        statuses.append((await house.ask()).status)
    assert statuses == [200] * FLAPPING.requests
    lost = len(line.order) - FLAPPING.requests
    assert 0 < lost <= FLAPPING.lost
    assert line.order.count("r1") - lost > FLAPPING.requests / 10, "it is used while it is up"
