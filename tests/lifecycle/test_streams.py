"""Live answers under policies: judged as they pass, held where they must be, accounted for however they end."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from trustgate import Answer, Chunk, Deny, Proceed, RequestContext, Rewrite, Usage
from trustgate.contract.context import AnswerView
from trustgate.contract.upstream import UpstreamFailure
from trustgate.settings import Limits

from .kit import (
    ASKED,
    DONE,
    SOON,
    Buffering,
    Holding,
    House,
    Line,
    Piece,
    Rule,
    event,
    live,
    rule,
    says,
    stream,
    text_of,
    whole,
)

pytestmark = pytest.mark.anyio
COUNTED = Usage(input=9, output=1, estimated=True)
"""What we count ourselves of a stream that says "Hi" and breaks off."""
STREAMED = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
LOST = UpstreamFailure("connection_lost", "")


async def soften(chunk: Chunk) -> Rewrite | None:
    return Rewrite(text=chunk.text.replace("LOUD", "loud")) if "LOUD" in chunk.text else None


async def forbid(chunk: Chunk) -> Deny | None:
    return Deny(code="leaked", message="Too much.", details={"word": 1}) if "secret" in chunk.text else None


class Ear:
    """A policy that hears of usage."""

    def __init__(self) -> None:
        self.heard: list[Usage] = []

    def rule(self, **hooks: Any) -> Rule:
        async def post_response(usage: Usage) -> None:
            self.heard.append(usage)

        return rule(post_response=post_response, **hooks)


# As it passes.


@pytest.mark.parametrize("kind", [b"text/event-stream", b"Text/Event-Stream;charset=UTF-8"])
async def test_a_stream_is_known_by_its_media_type_in_any_case(kind: bytes) -> None:
    house = House(Line(live(*stream("Hi"), headers=((b"content-type", kind),))))
    told = await house.ask(STREAMED)
    assert (told.status, told.body) == (200, b"".join(stream("Hi")))
    assert house.event.response.streaming


async def test_a_stream_is_rewritten_while_it_lives() -> None:
    gate = asyncio.Event()
    upstream = live(says("It is LO"), says("UD in here, really."), gate, *stream(" Bye"))
    house = House(Line(upstream), rule(Holding, on_chunk=soften))
    caller = house.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await caller.until(b"It is lo")  # the provider is still talking
    assert not asking.done()
    gate.set()
    told = await asking
    assert text_of(told.body) == "It is loud in here, really. Bye"
    assert told.ended
    assert told.body.endswith(DONE)
    assert house.event.response.complete
    assert [(finding.stage, finding.decision) for finding in house.event.policy_chain] == [("on_chunk", "rewritten")]


async def test_a_stream_is_stopped_in_the_middle() -> None:
    gate = asyncio.Event()
    upstream = live(says("Here comes a long story and then the sec"), says("ret"), gate, *stream("more"))
    house = House(Line(upstream), rule(Holding, on_chunk=forbid))
    told = await house.ask(STREAMED)
    assert told.status == 200
    assert told.error["code"] == "leaked"
    assert b"sec" not in told.body.replace(b"second", b"")
    assert not told.ended, "the connection does not end as if the answer were whole"
    assert upstream.closed
    found = house.event
    assert (found.response.complete, found.status.reason, found.client_disconnected) == (False, "leaked", False)
    assert [(it.decision, it.details) for it in found.policy_chain] == [("block", {"word": 1})]
    assert found.is_flagged


async def test_a_stream_leaves_one_finding_a_policy_and_it_is_the_strongest() -> None:
    async def count(chunk: Chunk) -> Rewrite | None:
        return Rewrite(text=chunk.text.replace("b", "c")) if "b" in chunk.text else None

    house = House(
        Line(live(*stream("a", "b", "a"))),
        rule(on_chunk=count),
        rule(on_chunk=lambda: None),
        rule(pre_request=lambda: None),
    )
    told = await house.ask(STREAMED)
    assert text_of(told.body) == "aca"
    assert sorted((it.policy_id, it.stage, it.decision) for it in house.event.policy_chain) == [
        ("p0", "on_chunk", "rewritten"),
        ("p1", "on_chunk", "allowed"),
    ]


async def test_an_observer_of_a_stream_changes_nothing_and_is_flagged() -> None:
    pieces = stream("a", " secret")
    house = House(Line(live(*pieces)), rule(on_chunk=forbid, fields={"mode": "observe"}))
    told = await house.ask(STREAMED)
    assert told.body == b"".join(pieces)
    assert house.event.is_flagged
    assert [finding.decision for finding in house.event.policy_chain] == ["observe"]


async def test_policies_of_whole_answers_do_not_touch_a_stream_unless_they_ask_for_it() -> None:
    pieces = stream("a")
    no = Deny(code="no", message="No.")
    house = House(Line(live(*pieces)), rule(pre_response=lambda: no))
    assert (await house.ask(STREAMED)).body == b"".join(pieces)
    assert house.event.policy_chain == ()


async def test_streaming_policies_do_not_touch_a_whole_answer() -> None:
    house = House(Line(whole), rule(on_chunk=lambda: Deny(code="no", message="No.")))
    assert (await house.ask()).status == 200


# Held to its end.


class Judge:
    """A policy of whole answers that needs streams held; it keeps what it saw."""

    def __init__(self, verdict: object = None) -> None:
        self.seen: list[AnswerView] = []
        self._verdict = verdict

    def rule(self, **fields: Any) -> Rule:
        async def pre_response(answer: AnswerView) -> object:
            self.seen.append(answer)
            return self._verdict

        return rule(Buffering, pre_response=pre_response, **fields)


async def test_a_stream_that_must_be_judged_whole_is_given_again_as_it_came() -> None:
    pieces, judge = stream("Hello", " world"), Judge(Proceed(headers=((b"x-a", b"1"),)))
    upstream = live(*pieces)
    house = House(Line(upstream), judge.rule())
    told = await house.ask(STREAMED)
    assert (told.status, told.body, told.ended, told.header(b"x-a")) == (200, b"".join(pieces), True, "1")
    (view,) = judge.seen
    assert (view.text, view.streamed, view.status) == ("Hello world", True, 200)
    assert upstream.closed
    found = house.event
    assert (found.response.complete, found.response.streaming) == (True, True)
    assert found.usage is not None


async def test_nothing_of_a_held_stream_leaves_before_it_is_judged() -> None:
    gate = asyncio.Event()
    upstream = live(says("Hello"), gate, *stream(" world"))
    house = House(Line(upstream), Judge().rule())
    caller = house.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await upstream.waiting.wait()
    assert (caller.told.status, caller.told.body) == (0, b"")
    gate.set()
    await asking


async def test_a_held_stream_that_is_refused_is_an_ordinary_refusal_and_was_paid_for() -> None:
    ear = Ear()
    house = House(Line(live(*stream("Hello"))), Judge(Deny(code="no", message="No.", status=403)).rule(), ear.rule())
    told = await house.ask(STREAMED)
    assert (told.status, told.error["code"], told.ended) == (403, "no", True)
    assert told.header(b"content-type") == "application/json"
    assert b"Hello" not in told.body
    assert house.event.usage is not None
    assert ear.heard == [Usage(input=9, output=2)]


async def test_a_held_stream_can_be_rewritten() -> None:
    """A redacting policy that needs whole answers: what it took out must not reach the caller."""
    pieces = stream("a secret")
    rewritten = b"".join(pieces).replace(b"secret", b"******")
    house = House(Line(live(*pieces)), Judge(Proceed(body=rewritten)).rule())
    told = await house.ask(STREAMED)
    assert told.body == rewritten
    assert told.ended


async def test_what_a_held_stream_used_stays_known_when_its_rewrite_does_not_say_it() -> None:
    ear = Ear()
    rewritten = b"".join([says("short"), says(None, "stop"), DONE])
    house = House(Line(live(*stream("a long story"))), Judge(Proceed(body=rewritten)).rule(), ear.rule())
    assert (await house.ask(STREAMED)).body == rewritten
    assert ear.heard == [Usage(input=9, output=2)]
    assert house.event.usage is not None


async def test_a_held_stream_can_be_answered_for() -> None:
    house = House(Line(live(*stream("Hello"))), Judge(Answer(body=b'{"other":1}')).rule())
    told = await house.ask(STREAMED)
    assert (told.status, told.json) == (200, {"other": 1})


@pytest.mark.parametrize("pieces", [[says("Hello"), LOST], [LOST]])
async def test_a_held_stream_that_breaks_is_an_ordinary_refusal(pieces: list[Piece]) -> None:
    upstream, judge = live(*pieces), Judge()
    house = House(Line(upstream), judge.rule())
    told = await house.ask(STREAMED)
    assert (told.status, told.error["code"]) == (502, "provider_connection_lost")
    assert (judge.seen, upstream.closed) == ([], True)
    assert house.event.status.reason == "provider_connection_lost"


async def test_a_held_stream_without_its_end_does_not_look_whole() -> None:
    house = House(Line(live(says("Hello"))), Judge().rule())
    told = await house.ask(STREAMED)
    assert told.status == 502 or not told.ended
    assert told.error["code"] == "provider_incomplete_stream"


async def test_a_stream_too_large_to_hold() -> None:
    upstream = live(*stream("x" * 5000))
    house = House(Line(upstream), Judge().rule(), limits=Limits(max_buffered_answer_bytes=1024))
    told = await house.ask(STREAMED)
    assert (told.status, told.error["code"]) == (502, "provider_answer_too_large")
    assert upstream.closed


async def test_held_and_live_policies_go_together() -> None:
    house = House(Line(live(*stream("It is LOUD", " here"))), Judge().rule(), rule(Holding, on_chunk=soften))
    assert text_of((await house.ask(STREAMED)).body) == "It is loud here"


# However it ends, the policies hear of what was used.


@pytest.mark.parametrize(
    ("pieces", "usage", "complete"),
    [
        (stream("Hi"), Usage(input=9, output=2), True),
        (stream("Hi")[:-1], Usage(input=9, output=2), True),
        ([*stream("Hi")[:-1], LOST], Usage(input=9, output=2), False),
        ([says("Hi"), LOST], COUNTED, False),
        ([says("Hi")], COUNTED, False),
        ([says("Hi"), event({"error": {"message": "Overloaded."}})], COUNTED, False),
    ],
)
async def test_usage_is_heard_of_whatever_the_end(pieces: list[Piece], usage: Usage, complete: bool) -> None:
    ear = Ear()
    house = House(Line(live(*pieces)), ear.rule())
    told = await house.ask(STREAMED)
    assert ear.heard == [usage]
    assert told.ended == complete
    found = house.event
    assert found.response.complete == complete
    assert (found.usage is not None) == bool(usage.total)
    assert found.policy_chain == (), "who only listens has nothing to say"


async def test_usage_is_heard_of_after_a_whole_answer_and_after_refusals() -> None:
    ear, no = Ear(), Deny(code="no", message="No.")
    house = House(Line(whole), ear.rule())
    await house.ask()
    house = House(Line(whole), ear.rule(), rule(pre_request=lambda: no, fields={"priority": -1}))
    await house.ask()
    house = House(Line(UpstreamFailure("connect_failed", "")), ear.rule())
    await house.ask()
    assert ear.heard == [Usage(input=9, output=2), Usage(), Usage()]


async def test_who_hears_of_usage_sees_the_request_as_it_was_sent() -> None:
    seen: list[bytes | bytearray] = []
    rewritten = b'{"model":"m-1","messages":[]}'

    async def look(ctx: RequestContext) -> None:
        seen.append(ctx.body.raw)

    house = House(Line(whole), rule(pre_request=lambda: Proceed(body=rewritten)), rule(post_response=look))
    await house.ask()
    assert seen == [rewritten]


async def test_the_event_leaves_after_the_policies_have_heard() -> None:
    gate = asyncio.Event()

    async def slow() -> None:
        await gate.wait()

    house = House(Line(whole), rule(post_response=slow))
    told = await house.caller().call()
    assert told.ended, "nobody waits for it"
    assert house.records == []
    gate.set()
    await house.settled()
    assert [finding.stage for finding in house.event.policy_chain] == ["post_response"]


# The caller leaves.


@pytest.mark.parametrize("rules", [(), (rule(Holding, on_chunk=lambda: None),)], ids=["passing", "guarded"])
async def test_a_caller_who_leaves_stops_the_provider(rules: tuple[Rule, ...]) -> None:
    ear = Ear()
    upstream = live(says("A long enough beginning"), says(" of it all"), asyncio.Event(), *stream("never"))
    house = House(Line(upstream), *rules, ear.rule())
    before = asyncio.all_tasks()
    caller = house.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await caller.until(b"A long")
    caller.left.set()
    told = await asking
    await house.settled()
    assert upstream.closed
    assert not told.ended
    found = house.event
    assert (found.client_disconnected, found.response.complete) == (True, False)
    (usage,) = ear.heard
    assert usage == replace(COUNTED, output=8), "what has passed is counted, though nobody has told what it was"
    assert asyncio.all_tasks() == before


async def test_a_caller_who_leaves_before_the_answer_cancels_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from trustgate.planes.proxy import app  # noqa: PLC0415 - its clock is the only thing of it that is changed

    monkeypatch.setattr(app, "ROUND", 0.002)
    house = House(Line(asyncio.Event()))
    before = asyncio.all_tasks()
    caller = house.caller()
    asking = asyncio.create_task(caller.call())
    await house.line.asked.wait()
    caller.left.set()
    told = await asking
    assert (told.status, told.ended) == (0, False)
    assert house.event.client_disconnected
    assert asyncio.all_tasks() == before


async def test_a_caller_who_leaves_while_a_stream_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    from trustgate.planes.proxy import app  # noqa: PLC0415 - its clock is the only thing of it that is changed

    monkeypatch.setattr(app, "ROUND", 0.002)
    upstream = live(says("Hello"), asyncio.Event(), *stream("never"))
    house = House(Line(upstream), Judge().rule())
    caller = house.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await upstream.waiting.wait()
    caller.left.set()
    await asking
    assert upstream.closed
    assert house.event.client_disconnected


async def test_a_caller_who_leaves_before_its_request_is_complete() -> None:
    house = House(Line(whole))
    caller = house.caller(parts=[b'{"model":', b"never sent"])
    caller.parts.pop()
    caller.left.set()
    told = await caller.call()
    assert told.status == 0
    assert house.event.client_disconnected
    assert house.line.calls == []


async def test_many_streams_at_once_do_not_mix_and_leave_nothing_behind() -> None:
    house = House(Line(*(live(*stream(f"{at} is LOUD ", "end")) for at in range(100))), rule(Holding, on_chunk=soften))
    before = asyncio.all_tasks()
    async with asyncio.timeout(SOON):
        told = await asyncio.gather(*(house.caller(STREAMED).call() for _ in range(100)))
    assert sorted(text_of(one.body) for one in told) == sorted(f"{at} is loud end" for at in range(100))
    assert len(house.records) == 100
    assert house.lifecycle.in_flight == 0
    assert asyncio.all_tasks() == before


async def test_what_is_under_way_can_be_cut_and_leaves_its_event() -> None:
    upstream = live(says("Hello"), asyncio.Event())
    house = House(Line(upstream))
    caller = house.caller(STREAMED)
    asking = asyncio.create_task(caller.call())
    await caller.until(b"Hello")
    assert await house.app.cut() == 1
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert upstream.closed
    assert not house.event.response.complete
    assert not caller.told.ended
