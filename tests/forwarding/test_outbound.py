"""What policies ask of services: answered whole, in time, or told at once that there is no answer."""

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from tests.service import Question, Reply, Service, hang
from trustgate import HttpAnswer, ServiceUnavailable, Signing
from trustgate.forwarding.circuits import FIRST_PAUSE, LONGEST_PAUSE, Circuit
from trustgate.forwarding.outbound import HttpOutbound
from trustgate.forwarding.transport import Pool
from trustgate.providers.credentials import Credentials

pytestmark = pytest.mark.anyio
WITHIN = 2.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def outbound(clock: Clock) -> AsyncIterator[HttpOutbound]:
    pool = Pool()
    yield HttpOutbound(pool, Credentials().signing, now=clock)
    await pool.aclose()


async def ask(outbound: HttpOutbound, service: Service, *, within: float = WITHIN, most: int = 1000) -> HttpAnswer:
    return await outbound.send("POST", f"{service.url}/judge?how=well", body=b"{}", within=within, most=most)


async def test_an_answer_comes_back_whole(outbound: HttpOutbound) -> None:
    async with Service(lambda _: Reply({"a": 1}, headers=[("X-Told", "yes")])) as service:
        answer = await outbound.send(
            "POST", f"{service.url}/judge?how=well", headers=[(b"x-key", b"1")], body=b"[2]", within=WITHIN
        )
        assert (answer.status, answer.body) == (200, b'{"a": 1}')
        assert (b"x-told", b"yes") in answer.headers
        (question,) = service.asked
        assert (question.method, question.path, question.body) == ("POST", "/judge?how=well", b"[2]")
        assert question.headers["x-key"] == "1"


async def test_a_redirect_is_an_answer_like_any_other(outbound: HttpOutbound) -> None:
    async with Service(lambda _: Reply({}, status=302, headers=[("location", "http://169.254.169.254/")])) as service:
        assert (await ask(outbound, service)).status == 302
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(raw=b"I do not speak HTTP at all\r\n\r\n"), "malformed_answer"),
        (Reply(b"x" * 1001), "longer than 1000 bytes"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"), "within"),
    ],
)
async def test_what_is_no_answer_is_said(outbound: HttpOutbound, reply: Reply, word: str) -> None:
    async with Service(lambda _: reply) as service:
        with pytest.raises(ServiceUnavailable, match=word):
            await ask(outbound, service, within=0.2)


async def test_who_hangs_is_left_after_its_time(outbound: HttpOutbound) -> None:
    async with Service(hang) as service:
        began = perf_counter()
        with pytest.raises(ServiceUnavailable):
            await ask(outbound, service, within=0.1)
        assert perf_counter() - began < 1


async def test_a_slow_drip_does_not_outlast_its_time(outbound: HttpOutbound) -> None:
    async def drip(_: Question) -> Reply:
        return Reply(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123")

    async with Service(drip) as service:
        began = perf_counter()
        with pytest.raises(ServiceUnavailable):
            await ask(outbound, service, within=0.1)
        assert perf_counter() - began < 1


async def test_who_is_gone_is_asked_no_more_until_a_probe_finds_it_back(outbound: HttpOutbound, clock: Clock) -> None:
    async with Service(lambda _: Reply({})) as service:
        await ask(outbound, service)
        await service.stop()
        for _ in range(3):
            with pytest.raises(ServiceUnavailable, match="gave no answer"):
                await ask(outbound, service)
        await service.start()
        service.asked.clear()
        with pytest.raises(ServiceUnavailable, match="is not asked for another"):
            await ask(outbound, service)
        assert not service.asked
        clock.now += FIRST_PAUSE + 0.1
        assert [(await ask(outbound, service)).status for _ in range(3)] == [200, 200, 200]


async def test_while_nobody_knows_one_asks_at_a_time(outbound: HttpOutbound, clock: Clock) -> None:
    gate = asyncio.Event()

    async def answer(_: Question) -> Reply:
        await gate.wait()
        return Reply({})

    async with Service(lambda _: Reply({}, status=500)) as service:
        for _ in range(3):
            assert (await ask(outbound, service)).status == 500
        service.answer, service.asked = answer, []
        clock.now += FIRST_PAUSE + 0.1
        probe = asyncio.create_task(ask(outbound, service))
        while not service.asked:  # noqa: ASYNC110 - a socket tells nobody
            await asyncio.sleep(0.001)
        with pytest.raises(ServiceUnavailable):
            await ask(outbound, service)
        gate.set()
        assert (await probe).status == 200
        assert (await ask(outbound, service)).status == 200


@pytest.mark.parametrize("status", [429, 503])
async def test_who_asks_to_be_left_alone_is(outbound: HttpOutbound, clock: Clock, status: int) -> None:
    async with Service(lambda _: Reply({}, status=status, headers=[("retry-after", "7")])) as service:
        assert (await ask(outbound, service)).status == status
        clock.now += 6.9
        with pytest.raises(ServiceUnavailable):
            await ask(outbound, service)
        clock.now += 0.2
        assert (await ask(outbound, service)).status == status


async def test_whoever_leaves_is_no_failure_of_the_service(outbound: HttpOutbound) -> None:
    async with Service(hang) as service:
        for _ in range(5):
            call = asyncio.create_task(ask(outbound, service, within=30))
            while not service.asked:  # noqa: ASYNC110 - a socket tells nobody
                await asyncio.sleep(0.001)
            service.asked.clear()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        service.answer = lambda _: Reply({})
        assert (await ask(outbound, service)).status == 200


async def test_services_are_judged_apart(outbound: HttpOutbound) -> None:
    async with Service(lambda _: Reply({}, status=500)) as bad, Service(lambda _: Reply({})) as good:
        for _ in range(3):
            await ask(outbound, bad)
        with pytest.raises(ServiceUnavailable):
            await ask(outbound, bad)
        assert (await ask(outbound, good)).status == 200


@pytest.mark.parametrize("url", ["ftp://host/", "nonsense", "http://", "http://host:99999/", "http://hö.test/"])
async def test_what_is_no_address_is_said(outbound: HttpOutbound, url: str) -> None:
    with pytest.raises(ServiceUnavailable, match="address"):
        await outbound.send("GET", url, within=WITHIN)


async def test_calls_to_aws_are_signed_and_the_keys_are_nowhere(outbound: HttpOutbound) -> None:
    signing = Signing(region="eu-west-1", service="bedrock", access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXU")
    assert "wJalrXU" not in repr(signing)
    async with Service(lambda _: Reply({})) as service:
        await outbound.send("POST", service.url, body=b"{}", within=WITHIN, signing=signing)
        (question,) = service.asked
        proof = question.headers["authorization"]
        assert proof.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        assert "/eu-west-1/bedrock/aws4_request" in proof
        assert "wJalrXU" not in str(question.headers)


def test_a_circuit_waits_longer_after_each_probe_that_fails_and_no_longer_than_it_may() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(20):  # twenty that were under way together are one outage
        assert circuit.enter()
    for _ in range(20):
        circuit.failed()
    pauses = []
    for _ in range(8):
        pauses.append(circuit.closed_for)
        assert not circuit.enter()
        clock.now += circuit.closed_for
        assert circuit.enter()
        circuit.failed()
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert pauses[-1] == LONGEST_PAUSE
    clock.now += 30
    assert circuit.enter()
    circuit.succeeded()
    circuit.failed()
    assert circuit.enter()  # one failure is none in a row
