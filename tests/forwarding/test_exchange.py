"""Asking targets one after the other: who is asked at all, what is noted of it, and what a failure means."""

from collections.abc import Sequence
from typing import get_args

import pytest

from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.speech import Spoken, Verbatim
from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, Clocks, FailureKind, Header, Origin, Upstream, UpstreamFailure
from trustgate.forwarding.attempts import UNSENT, Forwarded
from trustgate.forwarding.choice import in_order
from trustgate.forwarding.exchange import Ask, Forwarder
from trustgate.forwarding.failures import refusal
from trustgate.providers.lenses.openai import LENS

pytestmark = pytest.mark.anyio
KINDS = get_args(FailureKind)
SENT = sorted(set(KINDS) - UNSENT)


class Answer:
    """An upstream of which only the head matters."""

    headers: Sequence[Header] = ()

    def __init__(self, status: int) -> None:
        self.status = status

    async def read(self) -> bytes:
        return b""

    async def chunk(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        pass


class Line:
    """A transport whose targets answer by host: with a status, or with a failure."""

    def __init__(self, **answers: int | FailureKind) -> None:
        self._answers = answers
        self.calls: list[Call] = []

    async def send(self, call: Call) -> Upstream:
        self.calls.append(call)
        answer = self._answers[call.origin.host]
        if isinstance(answer, str):
            raise UpstreamFailure(answer, "10.0.0.7 port 443: secret detail")
        return Answer(answer)

    async def aclose(self) -> None:
        pass

    @property
    def asked(self) -> list[str]:
        return [call.origin.host for call in self.calls]


def target(host: str) -> Target:
    own: Header = (b"authorization", f"Bearer sk-{host}".encode())
    return Target(
        registry_id=f"id of {host}",
        provider=f"{host} inc",
        dialect="openai",
        origin=Origin(scheme="https", host=host, port=443),
        ways={},
        headers=(own,),
        names=frozenset((own[0],)),
        clocks=Clocks(total=7),
    )


def speak(target: Target) -> Spoken:
    host = target.origin.host
    return Spoken(method="POST", target=f"/{host}/chat".encode(), body=f"for {host}".encode(), hearing=Verbatim(LENS))


class Forwarding:
    """One request forwarded over a line, with its attempts."""

    def __init__(self, **answers: int | FailureKind) -> None:
        self.line = Line(**answers)
        self.candidates = [target(host) for host in answers]
        self.attempts: list[Attempt] = []

    async def run(self) -> Forwarded:
        ask = Ask(
            speak=speak,
            headers=((b"openai-beta", b"x"), (b"cookie", b"no")),
            agent=b"sdk/1",
            traceparent=b"trace",
        )
        return await Forwarder(self.line, "1.0").forward(ask, in_order(self.candidates, "m"), self.attempts)

    async def refused(self) -> Refused:
        with pytest.raises(Refused) as told:
            await self.run()
        return told.value

    @property
    def noted(self) -> list[tuple[int, str, str, str, int, str]]:
        return [
            (it.attempt, it.registry_id, it.provider, it.outcome, it.status_code, it.failure) for it in self.attempts
        ]


async def test_the_first_that_answers_has_answered() -> None:
    forwarding = Forwarding(one=200, two=200)
    forwarded = await forwarding.run()
    assert forwarded.target is forwarding.candidates[0]
    assert forwarded.upstream.status == 200
    assert forwarding.line.asked == ["one"]
    assert forwarding.noted == [(1, "id of one", "one inc", "success", 200, "")]
    assert 0 <= forwarding.attempts[0].latency_ms == round(forwarded.latency * 1000, 3)


async def test_what_is_sent() -> None:
    forwarding = Forwarding(one=200)
    await forwarding.run()
    assert forwarding.line.calls == [
        Call(
            method="POST",
            origin=Origin(scheme="https", host="one", port=443),
            target=b"/one/chat",
            headers=[
                (b"openai-beta", b"x"),
                (b"authorization", b"Bearer sk-one"),
                (b"user-agent", b"trustgate/1.0 sdk/1"),
                (b"accept-encoding", b"identity"),
                (b"traceparent", b"trace"),
            ],
            body=b"for one",
            clocks=Clocks(total=7),
        )
    ]


@pytest.mark.parametrize("kind", sorted(UNSENT))
async def test_what_was_never_sent_is_sent_to_the_next(kind: FailureKind) -> None:
    forwarding = Forwarding(one=kind, two=kind, three=200)
    forwarded = await forwarding.run()
    assert forwarded.target.origin.host == "three"
    assert forwarding.noted == [
        (1, "id of one", "one inc", "retryable", 0, kind),
        (2, "id of two", "two inc", "retryable", 0, kind),
        (3, "id of three", "three inc", "success", 200, ""),
    ]
    assert [call.body for call in forwarding.line.calls] == [b"for one", b"for two", b"for three"]
    assert [dict(call.headers)[b"authorization"] for call in forwarding.line.calls][2] == b"Bearer sk-three"


@pytest.mark.parametrize("kind", SENT)
async def test_what_may_have_arrived_is_not_sent_again(kind: FailureKind) -> None:
    forwarding = Forwarding(one=kind, two=200)
    told = await forwarding.refused()
    assert told.code == refusal(UpstreamFailure(kind, ""), "one inc").code
    assert forwarding.line.asked == ["one"]
    assert forwarding.noted == [(1, "id of one", "one inc", "retryable", 0, kind)]


@pytest.mark.parametrize("kind", sorted(UNSENT))
async def test_where_nobody_can_be_reached_the_last_failure_is_told(kind: FailureKind) -> None:
    forwarding = Forwarding(one="connect_failed", two=kind)
    told = await forwarding.refused()
    assert told.code == refusal(UpstreamFailure(kind, ""), "").code
    assert "(two inc)" in told.message
    assert [number for number, *_ in forwarding.noted] == [1, 2]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "success") for status in (200, 201, 302)),
        *((status, "terminal") for status in (400, 404, 422)),
        *((status, "retryable") for status in (401, 403, 408, 429, 500, 502, 503, 504, 529)),
    ],
)
async def test_the_last_answer_is_an_answer_whatever_its_status(status: int, outcome: str) -> None:
    forwarding = Forwarding(one=status)
    assert (await forwarding.run()).upstream.status == status
    assert forwarding.noted == [(1, "id of one", "one inc", outcome, status, "")]


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 504, 529])
async def test_an_answer_that_another_may_give_is_asked_of_it(status: int) -> None:
    forwarding = Forwarding(one=status, two=200)
    assert (await forwarding.run()).upstream.status == 200
    assert [(code, by) for _, by, _, _, code, _ in forwarding.noted] == [(status, "id of one"), (200, "id of two")]


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422])
async def test_a_mistake_of_the_caller_is_nobody_elses_to_answer(status: int) -> None:
    forwarding = Forwarding(one=status, two=200)
    assert (await forwarding.run()).upstream.status == status
    assert len(forwarding.noted) == 1


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("connect_failed", 502, "provider_unreachable"),
        ("connect_timeout", 504, "provider_connect_timeout"),
        ("first_byte_timeout", 504, "provider_first_byte_timeout"),
        ("idle_timeout", 504, "provider_idle_timeout"),
        ("total_timeout", 504, "provider_total_timeout"),
        ("connection_lost", 502, "provider_connection_lost"),
        ("malformed_answer", 502, "provider_malformed_answer"),
    ],
)
def test_what_a_caller_is_told_of_a_failure(kind: FailureKind, status: int, code: str) -> None:
    told = refusal(UpstreamFailure(kind, "10.0.0.7 port 443: secret detail"), "openai")
    assert (told.status, told.code, told.source) == (status, code, "upstream")
    assert told.message.startswith("The provider (openai) ")
    assert "10.0.0.7" not in told.message


def test_every_failure_has_its_words() -> None:
    assert len({refusal(UpstreamFailure(kind, ""), "x").code for kind in KINDS}) == len(KINDS)
