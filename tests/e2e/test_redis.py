"""Two processes that count together on a real Redis, and go on by `on_error` when it is gone."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import httpx
import pytest

from tests.contracts.redis_server import RedisServer

from .program import Program, running, until

PASSWORD = "a password that no log shows"
ASKED = {"model": "echo-1", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer(password=PASSWORD)
    server.start()
    yield server
    server.close()


def ask(program: Program, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(program.url("proxy", "/app/v1/chat/completions"), json=ASKED, headers=headers, trust_env=False)


def test_two_proxies_share_a_limit_and_outlive_their_redis(redis: RedisServer, folder: Path) -> None:
    place = redis.place()
    env = {"REDIS_HOST": place.host, "REDIS_PORT": str(place.port), "REDIS_PASSWORD": PASSWORD}
    env["REDIS_TIMEOUT"] = "5s"  # a busy machine is slow, and slow is not gone: what is counted here is exact
    with (
        running("run", folder=folder, variables=env) as first,
        running("proxy", folder=folder, secret=first.secret, variables=env) as second,
    ):
        with first.admin() as admin:
            gateway = admin.gateway()
            consumer = gateway.consumer("app", gateway.registry("echo", "echo"))
            headers = gateway.key(consumer).headers
            limit = gateway.policy("rate_limiter", consumer, limit=50, window="1h")
            until(lambda: ask(second, headers).status_code == 200 or None)

            def one(number: int) -> int:
                return ask((first, second)[number % 2], headers).status_code

            with ThreadPoolExecutor(20) as callers:
                told = Counter(callers.map(one, range(120)))
            spent = 50 - told[200]
            assert told.keys() == {200, 429}
            assert 1 <= spent <= 3  # what was asked until the second process knew of the gateway

            redis.kill()
            began = perf_counter()
            answer = ask(first, headers)
            assert (answer.status_code, answer.headers["x-ag-policy-degraded"]) == (200, "rate_limiter")
            assert perf_counter() - began < 1
            admin.done("PUT", gateway.path(f"/policies/{limit}"), {"on_error": "deny"})
            refused = ask(first, headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "policy_unavailable")
            redis.start()
            until(lambda: ask(first, headers).status_code == 200 or None)
        assert PASSWORD not in first.stdout + first.stderr + second.stdout + second.stderr
