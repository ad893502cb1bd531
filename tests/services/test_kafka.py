"""Events on a real broker: each once, in order within a gateway, whatever becomes of the broker and of the proxy."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from tests.e2e.program import Program, running, until
from tests.services.kafka_server import KafkaServer

TOPIC = "trustgate.requests"
ASKED = {"model": "echo-1", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def consumed(kafka: KafkaServer, number: int, *, patience: float = 30.0) -> list[Any]:
    """Return all records of the topic once there are so many of them, and a moment later."""

    async def consume() -> list[Any]:
        consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=kafka.brokers, auto_offset_reset="earliest", group_id=None)
        found: list[Any] = []
        await consumer.start()
        try:
            async with asyncio.timeout(patience):
                while len(found) < number:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += records
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += records
        finally:
            await consumer.stop()
        return found

    return asyncio.run(consume())


class Load:
    """One caller that asks on and on, and keeps the trace ids of what was answered."""

    def __init__(self, program: Program) -> None:
        with program.admin() as admin:
            gateway = admin.gateway()
            self.gateway_id = gateway.id
            self.headers = gateway.key(gateway.consumer("app", gateway.registry("echo", "echo"))).headers
        self.asked: list[str] = []
        self.statuses: Counter[int] = Counter()
        self._url = program.url("proxy", "/app/v1/chat/completions")
        self._stops = False
        self._thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with httpx.Client(trust_env=False, headers=self.headers, timeout=20) as client:
            while not self._stops:
                try:
                    told = client.post(self._url, json=ASKED)
                except httpx.HTTPError:
                    return  # the program was killed
                self.statuses[told.status_code] += 1
                self.asked.append(told.headers["x-ag-trace-id"])

    def start(self) -> "Load":
        self._thread.start()
        return self

    def after(self, number: int) -> None:
        """Wait until so many more were answered."""
        goal = len(self.asked) + number
        until(lambda: len(self.asked) >= goal or None, patience=60, what=f"{goal} answers")

    def stop(self) -> list[str]:
        self._stops = True
        self._thread.join(30)
        return self.asked


def variables(kafka: KafkaServer) -> dict[str, str]:
    return {"KAFKA_BROKERS": kafka.brokers}


def test_a_broker_that_dies_costs_no_event_and_doubles_none(kafka: KafkaServer, folder: Path) -> None:
    with running("run", folder=folder, variables=variables(kafka)) as program:
        load = Load(program).start()
        load.after(200)
        kafka.kill()
        load.after(300)
        until(lambda: "degraded" in program.get("proxy", "/readyz")[1] or None, patience=20)
        load.after(100)
        kafka.start()
        load.after(200)
        asked = load.stop()
        assert load.statuses.keys() == {200}
        records = consumed(kafka, len(asked))
        until(lambda: "degraded" not in program.get("proxy", "/readyz")[1] or None, patience=20)
    events = [json.loads(record.value) for record in records]
    assert [event["trace_id"] for event in events] == asked, "each once, and in order"
    assert {record.key for record in records} == {load.gateway_id.encode()}
    assert [dict(record.headers)["trace_id"].decode() for record in records] == asked
    assert not list((folder / "spool").iterdir()), "nothing is left on disk"


def test_a_broker_that_hangs_is_waited_for(kafka: KafkaServer, folder: Path) -> None:
    with running("run", folder=folder, variables=variables(kafka)) as program:
        load = Load(program).start()
        load.after(100)
        kafka.pause()
        try:
            until(lambda: "degraded" in program.get("proxy", "/readyz")[1] or None, patience=20)
            load.after(200)
        finally:
            kafka.resume()
        asked = load.stop()
        records = consumed(kafka, len(asked), patience=60)
    assert [dict(record.headers)["trace_id"].decode() for record in records] == asked


def test_a_proxy_that_is_killed_loses_nothing_that_was_on_disk(kafka: KafkaServer, folder: Path) -> None:
    program = Program("run", folder=folder, variables=variables(kafka)).start()
    load = Load(program).start()
    load.after(200)
    kafka.kill()
    load.after(300)
    spooled = 0

    def settled() -> bool:
        nonlocal spooled
        before, spooled = spooled, int(program.metrics()["trustgate_spool_bytes"])
        return bool(before)

    until(settled)
    on_disk = [
        line.split(b"\t", 2)[1].decode()
        for segment in sorted((folder / "spool").glob("*/*.events"))
        for line in segment.read_bytes().splitlines()
    ]
    program.kill()
    load.stop()
    kafka.start()
    with running("run", folder=folder, secret=program.secret, variables=variables(kafka)) as after:
        records = consumed(kafka, len(on_disk))
        until(lambda: after.metrics()["trustgate_spool_bytes"] == 0 or None, patience=30)
    arrived = Counter(dict(record.headers)["trace_id"].decode() for record in records)
    assert not set(on_disk) - set(arrived)
    # what the broker had, and died before it said so, is the head of what waits: nobody alive knows that it arrived;
    # on disk there may be before it what the broker did confirm
    twice = {trace_id for trace_id, times in arrived.items() if times > 1}
    assert max(arrived.values()) <= 2
    places = sorted(on_disk.index(trace_id) for trace_id in twice)
    assert not places or places == list(range(places[0], places[-1] + 1))
    assert len(twice) < len(on_disk)


def test_an_event_that_the_broker_will_not_have_is_counted_and_holds_nothing_up(folder: Path) -> None:
    with (
        KafkaServer(**{"message.max.bytes": "1800"}) as kafka,
        running("run", folder=folder, variables=variables(kafka) | {"KAFKA_COMPRESSION": "none"}) as program,
    ):
        load = Load(program)
        url = program.url("proxy", "/app/v1/chat/completions")
        with httpx.Client(trust_env=False, headers=load.headers) as client:
            small = [client.post(url, json=ASKED).headers["x-ag-trace-id"] for _ in range(3)]
            large = client.post(url, json=ASKED | {"model": "m" * 3000}).headers["x-ag-trace-id"]
            small += [client.post(url, json=ASKED).headers["x-ag-trace-id"] for _ in range(3)]
        records = consumed(kafka, len(small))
        assert {dict(record.headers)["trace_id"].decode() for record in records} == set(small)
        assert until(lambda: program.metrics()["trustgate_kafka_refused_total"] or None) == 1
        assert large in program.stderr


def test_a_password_that_is_wrong_is_said_and_never_shown(folder: Path) -> None:
    jaas = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="admin" password="right" user_admin="right" user_gate="right";'
    )
    with KafkaServer(
        **{
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.plaintext.plain.sasl.jaas.config": jaas,
        }
    ) as kafka:
        wrong = variables(kafka) | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": "gate"}
        with running("run", folder=folder, variables=wrong | {"KAFKA_SASL_PASSWORD": "a-wrong-one"}) as program:
            load = Load(program).start()
            load.after(3)
            load.stop()
            until(lambda: "does not take events" in program.stderr or None, patience=30)
            assert "a-wrong-one" not in program.stderr + program.stdout + program.get("proxy", "/readyz")[1]
        with running("run", folder=folder, variables=wrong | {"KAFKA_SASL_PASSWORD": "right"}) as program:
            until(lambda: program.metrics()["trustgate_spool_bytes"] == 0 or None, patience=30)
