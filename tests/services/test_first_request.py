"""The first request on all that a fleet has: Postgres, Redis, Kafka, an admin plane and two proxies, with the SDK."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from openai import APIStatusError, OpenAI

from tests.contracts.redis_server import RedisServer
from tests.e2e.first_request import FirstRequest, Pair
from tests.e2e.upstream import Upstream, completion
from tests.fleet.kit import Fleet
from tests.fleet.relay import Relay, to_socket
from tests.postgres_server import fresh_database, serving_postgres
from tests.services.kafka_server import KafkaServer

TOPIC = "trustgate.requests"


async def events(kafka: KafkaServer, number: int) -> list[dict[str, Any]]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka.brokers, auto_offset_reset="earliest", group_id=None)
    found: list[dict[str, Any]] = []
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while len(found) < number:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [json.loads(record.value) for record in records]
    finally:
        await consumer.stop()
    return found


@contextmanager
def whole_fleet(folder: Path) -> Iterator[tuple[Fleet, KafkaServer]]:
    """A fleet of nobody yet, with all that fleets have."""
    with RedisServer() as redis, serving_postgres() as server, KafkaServer() as kafka:
        database = fresh_database(server)
        with Relay(to_socket(f"{database.host}/.s.PGSQL.5432")) as line:
            fleet = Fleet(folder, database.name, line)
            fleet.variables |= redis.variables() | {"KAFKA_BROKERS": kafka.brokers}
            try:
                yield fleet, kafka
            finally:
                fleet.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For the tests of the first request: an admin plane and a proxy of a whole fleet with another proxy."""
    with whole_fleet(tmp_path_factory.mktemp("fleet")) as (fleet, _):
        admin = fleet.start("admin")
        proxy, _ = fleet.start("proxy"), fleet.start("proxy")
        yield Pair(admin, proxy)


class TestFirstRequest(FirstRequest):
    """The same tests, on a fleet."""


def test_from_nothing_to_a_completion_on_a_fleet(tmp_path: Path) -> None:
    with whole_fleet(tmp_path) as (fleet, kafka), Upstream() as upstream:
        serve(fleet, kafka, upstream)


def serve(fleet: Fleet, kafka: KafkaServer, upstream: Upstream) -> None:
    upstream.play(completion())
    admin_plane = fleet.start("admin")
    proxies = [fleet.start("proxy"), fleet.start("proxy")]
    with admin_plane.admin() as admin:
        gateway = admin.gateway("demo")
        registry = gateway.registry("openai-primary", "openai", key="sk-fleet", base_url=upstream.url)
        consumer = gateway.consumer("my-app", registry)
        key = gateway.key(consumer, name="my-app-key")
        gateway.policy("rate_limiter", consumer, limit=9, window="1h")
        told = admin.call("PUT", gateway.path() + "?wait=applied", {"name": "My Gateway"})
        assert told.headers["x-ag-applied"] == "2/2"
        statuses: Counter[int] = Counter()
        left = []
        for number in range(12):
            for base in ("/my-app", "/my-app/v1"):
                with OpenAI(
                    base_url=proxies[number % 2].url("proxy", base),
                    api_key="unused",
                    default_headers={"X-AG-Gateway-Slug": "demo", "X-AG-API-Key": key.text},
                    max_retries=0,
                ) as client:
                    raw = client.chat.completions.with_raw_response
                    try:
                        answer = raw.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
                    except APIStatusError as error:
                        statuses[error.status_code] += 1
                        continue
                    statuses[answer.status_code] += 1
                    assert answer.parse().choices[0].message.content
                    left.append(int(answer.headers["x-ratelimit-consumer-remaining"]))
        assert statuses == {200: 9, 429: 15}, "both proxies count together"
        assert left == sorted(left, reverse=True)
    found = asyncio.run(events(kafka, 24))
    assert Counter(event["status"]["code"] for event in found) == statuses
    assert len({event["trace_id"] for event in found}) == 24
