"""What a process that is killed under load leaves reserved: as long as its lease, and no longer."""

import asyncio
import time
from pathlib import Path
from threading import Thread

import httpx
import msgspec

from tests.contracts.redis_server import RedisServer
from tests.e2e.program import Program, running, until
from tests.fleet.kit import ASKED, Town
from trustgate.contract.ports import Standing
from trustgate.state.redis_ledger import RedisLedger
from trustgate.state.redis_link import Link
from trustgate_plugins.token_rate_limiter import LEASE
from trustgate_plugins.token_rate_limiter.settings import TokenRateLimiterSettings

SETTINGS = {"aggregate": {"max": 1_000_000, "time_window": "1h"}}
UNDER_WAY = 20


def hang(program: Program, town: Town) -> None:
    """Have many requests wait for an answer that does not come."""

    def ask() -> None:
        url = program.url("proxy", "/app/v1/chat/completions")
        body = {**ASKED, "max_tokens": 100, "metadata": {"echo.latency": "60s"}}
        try:
            httpx.post(url, json=body, headers=town.key.headers, trust_env=False, timeout=90)
        except httpx.TransportError:
            return

    for _ in range(UNDER_WAY):
        Thread(target=ask, daemon=True).start()


def standing(redis: RedisServer, who: str, *, later: float = 0.0) -> Standing:
    """Say how the budget stands, now or so many seconds later."""

    async def look() -> Standing:
        link = Link(redis.place())
        await link.open()
        try:
            at = time.time() + later
            ledger = RedisLedger(link, now=lambda: round(at * 1e6))
            settings = msgspec.convert(SETTINGS, TokenRateLimiterSettings)
            (budget,) = settings.of("echo-1")
            return (await ledger.look([budget.want(who, 0, at, strict=False)]))[0]
        finally:
            await link.aclose()

    return asyncio.run(look())


def test_what_a_killed_process_has_reserved_is_free_after_its_lease(tmp_path: Path) -> None:
    with (
        RedisServer() as redis,
        running("run", folder=tmp_path / "data", variables=redis.variables()) as program,
        program.admin() as admin,
    ):
        town = Town(admin)
        policy = town.gateway.policy("token_rate_limiter", town.consumer, **SETTINGS)
        who = f"{town.gateway.id}:token_rate_limiter:{policy}:consumer:{town.consumer}"
        assert town.ask(program).status_code == 200
        # what an answer used is counted after the caller has it
        used = until(lambda: standing(redis, who).used)
        hang(program, town)
        until(lambda: standing(redis, who).reserved >= UNDER_WAY * 100 or None)
        program.kill()
        left = standing(redis, who)
        assert left.reserved >= UNDER_WAY * 100, "nobody has settled it"
        assert left.used == used
        assert standing(redis, who, later=LEASE - 30).reserved == left.reserved
        over = standing(redis, who, later=LEASE + 1)
        assert (over.reserved, over.used) == (0, used)
        program.start()
        again = town.ask(program)
        assert again.status_code == 200
        assert int(again.headers["x-ratelimit-remaining-tokens"]) < 1_000_000
