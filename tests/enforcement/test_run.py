"""The runner: what verdicts do, in each mode; who wins; what it means not to decide; and nothing left behind."""

import asyncio
import gc
from typing import Any

import pytest

from trustgate import Answer, Deny, Proceed, RequestContext, Rewrite
from trustgate.contract.context import AnswerView, Chunk
from trustgate.contract.usage import Usage
from trustgate.enforcement.trail import Trail

from .kit import SOON, Desk, Hook, Lenient, Rule, beside, context, policy, raises, reread, rule, says

pytestmark = pytest.mark.anyio

NO = Deny(code="no", message="No.", status=418)
OTHER = Deny(code="other", message="Other.", status=451)
HERE = Answer(body=b"here")
BODY = b'{"model":"m","rewritten":1}'
DEGRADED = (b"x-ag-policy-degraded", b"guard_0")


def judged(verdict: object, **fields: Any) -> Desk:
    return Desk(rule(says(verdict), **fields))


# Verdicts, modes and what is noted of them.


@pytest.mark.parametrize("mode", ["enforce", "throttle"])
@pytest.mark.parametrize(
    ("verdict", "noted", "stops"),
    [
        (None, ("allowed", False, 0), False),
        (Proceed(), ("allowed", False, 0), False),
        (Proceed(body=BODY), ("rewritten", False, 0), False),
        (HERE, ("answered", False, 0), True),
        (NO, ("block", True, 418), True),
    ],
)
async def test_a_verdict_is_heeded(verdict: Any, noted: tuple[str, bool, int], stops: bool, mode: str) -> None:
    desk = judged(verdict, mode=mode)
    ruling = await desk.pre_request()
    assert ruling.stop is (verdict if stops else None)
    (finding,) = desk.findings
    assert (finding.decision, finding.flagged, finding.status_code) == noted
    assert (finding.error, finding.error_type) == (False, "")
    assert (finding.policy_id, finding.slug, finding.name) == ("p0", "guard_0", "policy p0")
    assert (finding.stage, finding.mode) == ("pre_request", mode)
    assert finding.latency_ms >= 0


@pytest.mark.parametrize(
    ("verdict", "decision", "flagged"),
    [
        (None, "allowed", False),
        (Proceed(), "allowed", False),
        (Proceed(body=BODY), "observe", False),
        (HERE, "observe", False),
        (NO, "observe", True),
    ],
)
async def test_an_observer_changes_nothing_and_is_noted(verdict: Any, decision: str, flagged: bool) -> None:
    desk = judged(verdict, mode="observe")
    ruling = await desk.pre_request()
    assert ruling.stop is None
    assert ruling.ctx is desk.ctx
    (finding,) = desk.findings
    assert (finding.decision, finding.flagged) == (decision, flagged)


@pytest.mark.parametrize("verdict", [Proceed(details={"a": 1}), HERE, NO])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_details_go_into_the_finding(verdict: Any, mode: str) -> None:
    desk = judged(verdict, mode=mode)
    await desk.pre_request()
    assert desk.findings[0].details == verdict.details


async def test_headers_come_in_the_order_of_the_policies() -> None:
    desk = Desk(
        rule(says(Proceed(headers=((b"x-a", b"1"),)))),
        rule(says(None)),
        rule(says(Proceed(headers=((b"x-b", b"2"), (b"x-a", b"3"))))),
        rule(says(Proceed(headers=((b"x-c", b"4"),))), priority=5),
    )
    ruling = await desk.pre_request()
    assert list(ruling.headers) == [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3"), (b"x-c", b"4")]


async def test_a_refusal_keeps_the_headers_of_those_before_it() -> None:
    desk = Desk(rule(says(Proceed(headers=((b"x-a", b"1"),)))), rule(says(NO)))
    assert (b"x-a", b"1") in (await desk.pre_request()).headers


# Who wins.


@pytest.mark.parametrize("fields", [{}, {"parallel": False}], ids=["parallel", "one by one"])
async def test_the_first_refusal_wins(fields: dict[str, Any]) -> None:
    desk = Desk(rule(says(None), **fields), rule(says(NO), **fields), rule(says(OTHER), **fields))
    assert (await desk.pre_request()).stop is NO


async def test_nobody_is_asked_behind_a_refusal() -> None:
    calls: list[object] = []
    desk = Desk(rule(says(NO)), rule(says(None, calls), priority=1), rule(says(None, calls), priority=2))
    await desk.pre_request()
    assert calls == []
    assert desk.decisions == [("p0", "block")]


def append(what: bytes) -> Hook:
    async def hook(ctx: RequestContext) -> Proceed:
        return Proceed(body=ctx.body.raw + what, headers=((b"x-by", what),))

    return hook


async def test_of_two_rewrites_the_second_is_made_over_the_first() -> None:
    desk = Desk(rule(append(b" one")), rule(append(b" two")), rule(says(Proceed())), rule(append(b" three")))
    ruling = await desk.pre_request()
    assert ruling.ctx.body.raw == context().body.raw + b" one two three"
    assert [value for _, value in ruling.headers] == [b" one", b" two", b" three"]
    assert desk.decisions == [("p0", "rewritten"), ("p1", "rewritten"), ("p2", "allowed"), ("p3", "rewritten")]


async def test_one_that_says_that_it_never_rewrites_and_does_could_not_decide() -> None:
    desk = Desk(beside(append(b" one")), rule(append(b" two")))
    stop = (await desk.pre_request()).stop
    assert isinstance(stop, Deny)
    assert (stop.code, desk.decisions) == ("policy_unavailable", [("p0", "failed_closed")])


async def test_one_that_refuses_what_another_made_of_the_request_is_heeded() -> None:
    async def refuse_one(ctx: RequestContext) -> Proceed | Deny:
        return NO if b"one" in ctx.body.raw else Proceed(body=ctx.body.raw + b" two")

    desk = Desk(rule(append(b" one")), rule(refuse_one))
    assert (await desk.pre_request()).stop is NO


async def test_two_rewrites_of_a_whole_answer_are_made_one_after_the_other() -> None:
    def add(what: bytes) -> Hook:
        async def hook(ctx: RequestContext, answer: AnswerView) -> Proceed:
            return Proceed(body=answer.body + what)

        return hook

    desk = Desk(rule(add(b"1"), "pre_response"), rule(add(b"2"), "pre_response"))
    assert (await desk.pre_response()).body == b"answer12"


async def test_a_rewrite_is_what_everybody_behind_it_sees() -> None:
    seen: list[bytes | bytearray] = []

    async def look(ctx: RequestContext) -> None:
        seen.append(ctx.body.raw)

    desk = Desk(beside(look), rule(says(Proceed(body=BODY))), beside(look), rule(look, priority=1))
    ruling = await desk.pre_request()
    assert seen == [desk.ctx.body.raw, BODY, BODY]
    assert ruling.ctx.body.json() == {"model": "m", "rewritten": 1}
    assert desk.ctx.body.raw == context().body.raw, "a context is frozen: the old one still says what came"


async def test_rewrites_follow_one_another() -> None:
    desk = Desk(rule(append(b" one")), rule(append(b" two"), priority=1), rule(append(b" three"), priority=2))
    assert (await desk.pre_request()).ctx.body.raw == context().body.raw + b" one two three"


# A policy that cannot decide.


class Odd(Exception):
    """Something that a plugin did not expect."""


async def forever() -> None:
    await asyncio.Event().wait()


def plain(ctx: RequestContext) -> Deny:
    return NO


FAILURES: list[tuple[Hook, str]] = [
    (raises(Odd("secret words of the body")), "Odd"),
    (raises(TimeoutError()), "TimeoutError"),
    (raises(KeyError("x")), "KeyError"),
    (forever, "TimeoutError"),
    (says("deny"), "CannotDecide"),
    (says(True), "CannotDecide"),
    (says({"code": "no"}), "CannotDecide"),
    (says(NotImplemented), "CannotDecide"),
]


@pytest.mark.parametrize(("hook", "kind"), FAILURES)
@pytest.mark.parametrize(
    ("fields", "opens"),
    [
        ({}, False),
        ({"on_error": "deny"}, False),
        ({"on_error": "allow"}, True),
        ({"settings": Lenient}, True),
        ({"settings": Lenient, "on_error": "deny"}, False),
        ({"mode": "throttle"}, False),
        ({"mode": "observe"}, True),
        ({"mode": "observe", "on_error": "deny"}, True),
    ],
)
async def test_a_policy_that_cannot_decide(
    hook: Hook, kind: str, fields: dict[str, Any], opens: bool, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(rule(hook, **fields, timeout_ms=10))
    ruling = await desk.pre_request()
    assert DEGRADED in [*ruling.headers, *(ruling.stop.headers if ruling.stop else ())]
    (finding,) = desk.findings
    assert finding.decision == ("failed_open" if opens else "failed_closed")
    assert (finding.error, finding.flagged, finding.error_type) == (True, True, kind)
    if opens:
        assert ruling.stop is None
    else:
        assert isinstance(ruling.stop, Deny)
        assert (ruling.stop.code, ruling.stop.status) == ("policy_unavailable", 503)
        assert 'The policy "policy p0" could not decide' in ruling.stop.message
    assert "secret words" not in caplog.text, "what a plugin says of its failure could quote a body"
    assert "policy p0" in caplog.text


async def test_a_hook_that_hangs_is_stopped_at_its_time() -> None:
    ended: list[str] = []

    async def hang(ctx: RequestContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")

    desk = Desk(rule(hang), timeout=0.02)
    assert isinstance((await desk.pre_request()).stop, Deny)
    assert ended == ["hang"]
    assert not desk.left_behind


async def test_a_hook_in_time_is_left_alone() -> None:
    async def slow(ctx: RequestContext) -> Deny:
        async with asyncio.timeout(1):
            await asyncio.sleep(0.001)
        for _ in range(5):
            await asyncio.sleep(0)
        return NO

    assert (await Desk(rule(slow, timeout_ms=2000)).pre_request()).stop is NO


async def test_a_hook_handles_its_own_timeouts() -> None:
    async def patient(ctx: RequestContext) -> Deny | None:
        try:
            async with asyncio.timeout(0.005):
                await asyncio.Event().wait()
        except TimeoutError:
            return NO
        return None

    desk = Desk(rule(patient))
    for _ in range(2):  # the second time it is known to wait
        assert (await desk.pre_request()).stop is NO


async def test_a_hook_can_go_on_after_an_exception_in_what_it_waits_for() -> None:
    async def stumbling(ctx: RequestContext) -> Deny | None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, Odd("later"))
        try:
            await future
        except Odd:
            await asyncio.sleep(0)
            return NO
        return None

    assert (await Desk(rule(stumbling)).pre_request()).stop is NO


async def test_a_hook_whose_own_work_was_cancelled_could_not_decide() -> None:
    """A CancelledError that nobody asked for is the plugin's failure; it must not end the request unanswered."""

    async def cancelled(ctx: RequestContext) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    desk = Desk(rule(cancelled))
    ruling = await desk.pre_request()
    assert isinstance(ruling.stop, Deny)
    assert desk.decisions == [("p0", "failed_closed")]


@pytest.mark.parametrize("how", ["unknown", "settings", "unreadable"])
@pytest.mark.parametrize(("fields", "opens"), [({}, False), ({"on_error": "allow"}, True), ({"mode": "observe"}, True)])
async def test_a_policy_that_cannot_be_compiled_refuses(how: str, fields: dict[str, Any], opens: bool) -> None:
    broken = {
        "unknown": Rule({}, Lenient, fields),
        "settings": Rule({"pre_request": says(None)}, Lenient, {"settings": {"unheard": 1}, **fields}),
        "unreadable": Rule({"pre_request": says(None)}, Lenient, {"readable": False, **fields}),
    }
    desk = Desk(broken[how])
    ruling = await desk.pre_request()
    assert (ruling.stop is None) == opens
    assert [finding.error_type for finding in desk.findings] == ["CannotDecide"]


async def test_the_log_says_why_a_policy_cannot_run(caplog: pytest.LogCaptureFixture) -> None:
    await Desk(Rule({"pre_request": says(None)}, Lenient, {"settings": {"unheard": 1}})).pre_request()
    await Desk(Rule({}, Lenient, {})).pre_request()
    assert "the settings of policy policy p0 are not valid" in caplog.text
    assert "unheard" in caplog.text
    assert "no plugin provides the policy guard_0" in caplog.text


# What a stage cannot use must not pass for a decision.


@pytest.mark.parametrize(
    ("stage", "verdict"),
    [
        ("pre_request", Rewrite(text="no stream here")),
        ("pre_response", Rewrite(text="no stream here")),
        ("on_chunk", HERE),
        ("on_chunk", Proceed(body=BODY)),
    ],
)
async def test_a_verdict_of_another_stage_is_no_verdict(stage: str, verdict: object) -> None:
    desk = Desk(rule(says(verdict), stage))
    await getattr(desk, stage)()
    assert desk.decisions == [("p0", "failed_closed")]


# Plain functions.


async def test_a_plain_function_is_a_hook_too() -> None:
    desk = Desk(rule(plain))
    assert (await desk.pre_request()).stop is NO


async def test_a_plain_function_that_fails() -> None:
    def broken(ctx: RequestContext) -> None:
        raise Odd

    desk = Desk(rule(broken))
    await desk.pre_request()
    assert [finding.error_type for finding in desk.findings] == ["Odd"]


# Waiting side by side.


class Meeting:
    """Policies that decide only once all of them are waiting. The first round teaches the runner that they wait."""

    def __init__(self, number: int) -> None:
        self.expected = number
        self.here = 0
        self.all_here = asyncio.Event()
        self.rounds = 0
        self.cancelled: list[int] = []

    def hook(self, at: int, verdict: object = None, *, waits: bool = True) -> Hook:
        async def meet(ctx: RequestContext) -> object:
            if not self.rounds:
                await asyncio.sleep(0)
                return None
            self.here += 1
            if self.here == self.expected:
                self.all_here.set()
            try:
                if waits:
                    await self.all_here.wait()
                else:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(at)
                raise
            return verdict

        return meet

    async def learnt(self, *verdicts: object, timeout: float = 2.0, **fields: Any) -> Desk:
        made = [rule if isinstance(verdict, Proceed) and verdict.body else beside for verdict in verdicts]
        rules = [one(self.hook(at, verdicts[at]), **fields) for at, one in enumerate(made)]
        return await self.teach(Desk(*rules, timeout=timeout))

    async def teach(self, desk: Desk) -> Desk:
        await desk.pre_request()
        desk.trail.findings.clear()
        desk.trail.silent.clear()
        self.rounds = 1
        return desk


async def test_a_batch_waits_together() -> None:
    desk = await Meeting(3).learnt(None, None, Proceed(body=BODY))
    ruling = await desk.pre_request()
    assert ruling.stop is None
    assert ruling.ctx.body.raw == BODY
    assert desk.decisions == [("p0", "allowed"), ("p1", "allowed"), ("p2", "rewritten")]
    assert not desk.left_behind


async def test_a_batch_waits_together_the_first_time_too() -> None:
    """Every change of a tenant's configuration makes its chains anew: the first request after it must not be slower."""
    meeting = Meeting(2)
    meeting.rounds = 1
    desk = Desk(beside(meeting.hook(0)), beside(meeting.hook(1)), timeout=0.2)
    assert (await desk.pre_request()).stop is None


async def test_together_the_first_refusal_in_order_wins_whoever_is_quicker() -> None:
    quick = asyncio.Event()
    rounds: list[int] = []

    async def first(ctx: RequestContext) -> Deny | None:
        await asyncio.sleep(0)
        if rounds:
            await quick.wait()
            return NO
        return None

    async def second(ctx: RequestContext) -> Deny | None:
        await asyncio.sleep(0)
        quick.set()
        return OTHER if rounds else None

    desk = Desk(rule(first), rule(second))
    await desk.pre_request()
    rounds.append(1)
    assert (await desk.pre_request()).stop is NO


async def test_a_refusal_ends_those_who_still_wait() -> None:
    meeting = Meeting(3)
    desk = await meeting.teach(
        Desk(beside(meeting.hook(0, NO)), beside(meeting.hook(1, waits=False)), beside(meeting.hook(2, waits=False)))
    )
    assert (await desk.pre_request()).stop is NO
    assert sorted(meeting.cancelled) == [1, 2]
    assert not desk.left_behind


async def test_one_that_decides_at_once_sits_with_those_who_wait() -> None:
    meeting = Meeting(2)
    calls: list[object] = []
    desk = await meeting.teach(
        Desk(beside(meeting.hook(0)), beside(says(Proceed(headers=((b"x-a", b"1"),)), calls)), beside(meeting.hook(1)))
    )
    ruling = await desk.pre_request()
    assert (b"x-a", b"1") in ruling.headers
    assert len(calls) == 2
    assert [policy_id for policy_id, _ in desk.decisions] == ["p0", "p1", "p2"]


async def test_together_each_has_its_own_time_and_failure() -> None:
    meeting = Meeting(9)  # they never meet
    desk = await meeting.teach(
        Desk(
            beside(meeting.hook(0), timeout_ms=20, on_error="allow"),
            beside(meeting.hook(1), timeout_ms=20, on_error="allow"),
            beside(says(None)),
        )
    )
    assert (await desk.pre_request()).stop is None
    assert desk.decisions == [("p0", "failed_open"), ("p1", "failed_open"), ("p2", "allowed")]


async def test_a_failure_that_nobody_needs_any_more_makes_no_noise() -> None:
    """The loop reports exceptions that nobody fetched, with their text, which could quote a body."""
    rounds: list[int] = []
    failed = asyncio.Event()

    async def refusing(ctx: RequestContext) -> Deny | None:
        await asyncio.sleep(0)
        if rounds:
            await failed.wait()
            return NO
        return None

    async def failing(ctx: RequestContext) -> None:
        await asyncio.sleep(0)
        if rounds:
            failed.set()
            raise Odd("words of the body")

    desk = Desk(beside(refusing), beside(failing))
    await desk.pre_request()
    rounds.append(1)
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: noise.append(said))
    try:
        assert (await desk.pre_request()).stop is NO
        await asyncio.sleep(0)
        gc.collect()
    finally:
        asyncio.get_running_loop().set_exception_handler(None)
    assert noise == []


# Leaving.


@pytest.mark.parametrize("known", [False, True], ids=["first time", "known to wait"])
async def test_leaving_cancels_every_hook(known: bool) -> None:
    meeting = Meeting(3)
    desk = Desk(*(beside(meeting.hook(at, waits=False)) for at in range(3)))
    if known:
        await meeting.teach(desk)
    meeting.rounds = 1
    request = asyncio.create_task(desk.pre_request())
    async with asyncio.timeout(SOON):
        await meeting.all_here.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert sorted(meeting.cancelled) == [0, 1, 2]
    assert not desk.left_behind
    assert desk.trail.findings == [], "a request that was left is no policy's decision"


# Throttling.


class Turnstile:
    """Refuses so many times before it lets pass, and says each time when to come back."""

    def __init__(self, refusals: int, retry_after: float | None, then: object = None) -> None:
        self.left = refusals
        self.calls = 0
        self._refusal = Deny(code="rate_limit_exceeded", message="Later.", status=429, retry_after=retry_after)
        self._then = then

    async def __call__(self, ctx: RequestContext) -> object:
        self.calls += 1
        if self.left:
            self.left -= 1
            return self._refusal
        return self._then

    def rule(self, **fields: Any) -> Rule:
        async def hook(ctx: RequestContext) -> object:
            return await self(ctx)

        return rule(hook, mode="throttle", **fields)


async def test_throttling_waits_and_lets_pass() -> None:
    turnstile = Turnstile(3, 0.01, Proceed(headers=((b"x-a", b"1"),)))
    desk = Desk(turnstile.rule())
    started = asyncio.get_running_loop().time()
    ruling = await desk.pre_request()
    assert asyncio.get_running_loop().time() - started >= 0.03
    assert (ruling.stop, turnstile.calls) == (None, 4)
    assert list(ruling.headers) == [(b"x-a", b"1")]


async def test_a_request_that_was_held_back_is_noted_as_that() -> None:
    """`throttle` is among the decisions that contract/event.py promises, and one of those that are flagged."""
    desk = Desk(Turnstile(1, 0.001).rule())
    await desk.pre_request()
    assert desk.decisions == [("p0", "throttle")]


async def test_throttling_gives_up_where_it_would_take_too_long() -> None:
    turnstile = Turnstile(1, 3.0)
    desk = Desk(turnstile.rule(), throttle_wait=2.0)
    started = asyncio.get_running_loop().time()
    ruling = await desk.pre_request()
    assert asyncio.get_running_loop().time() - started < 1
    assert isinstance(ruling.stop, Deny)
    assert (ruling.stop.code, turnstile.calls) == ("rate_limit_exceeded", 1)
    assert desk.decisions == [("p0", "block")]


async def test_the_bound_of_throttling_is_for_all_its_waits_together() -> None:
    turnstile = Turnstile(100, 0.03)
    desk = Desk(turnstile.rule(), throttle_wait=0.1)
    assert isinstance((await desk.pre_request()).stop, Deny)
    assert 2 <= turnstile.calls <= 4


async def test_a_refusal_without_a_time_is_not_waited_for() -> None:
    turnstile = Turnstile(1, None)
    assert isinstance((await Desk(turnstile.rule()).pre_request()).stop, Deny)
    assert turnstile.calls == 1


async def test_throttling_does_not_ask_again_and_again_without_a_pause() -> None:
    """A rate limiter may be told `retry_after: "0s"`."""
    turnstile = Turnstile(10**9, 0.0)
    desk = Desk(turnstile.rule(), throttle_wait=0.05)
    assert isinstance((await desk.pre_request()).stop, Deny)
    assert turnstile.calls <= 60


async def test_what_comes_after_throttling_is_checked_like_any_verdict() -> None:
    desk = Desk(Turnstile(1, 0.001, "garbage").rule())
    ruling = await desk.pre_request()
    assert isinstance(ruling.stop, Deny)
    assert [finding.error_type for finding in desk.findings] == ["CannotDecide"]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_only_throttling_waits(mode: str) -> None:
    turnstile = Turnstile(1, 1.0)

    async def hook(ctx: RequestContext) -> object:
        return await turnstile(ctx)

    desk = Desk(rule(hook, mode=mode))
    await desk.pre_request()
    assert turnstile.calls == 1


# Whole answers.


async def test_policies_of_whole_answers_see_them_and_may_rewrite_them() -> None:
    seen: list[tuple[int, bytes, bool]] = []

    async def look(ctx: RequestContext, answer: AnswerView) -> None:
        seen.append((answer.status, answer.body, answer.streamed))

    async def rewrite(ctx: RequestContext, answer: AnswerView) -> Proceed:
        return Proceed(body=answer.body.upper(), headers=((b"x-a", b"1"),))

    desk = Desk(rule(look, "pre_response"), rule(rewrite, "pre_response"), rule(look, "pre_response", priority=1))
    ruling = await desk.pre_response()
    assert (ruling.body, list(ruling.headers)) == (b"ANSWER", [(b"x-a", b"1")])
    assert seen == [(200, b"answer", False), (200, b"ANSWER", False)]


@pytest.mark.parametrize("verdict", [NO, HERE])
async def test_a_whole_answer_can_be_stopped(verdict: object) -> None:
    assert (await Desk(rule(says(verdict), "pre_response")).pre_response()).stop is verdict


async def test_an_answer_nobody_rewrites_has_no_other_body() -> None:
    assert (await Desk(rule(says(None), "pre_response")).pre_response()).body is None


# Live text.


def swap(old: str, new: str) -> Hook:
    async def hook(chunk: Chunk) -> Rewrite | None:
        return Rewrite(text=chunk.text.replace(old, new)) if old in chunk.text else None

    return hook


async def test_each_streaming_policy_sees_what_the_one_before_it_left() -> None:
    desk = Desk(rule(swap("a", "b"), "on_chunk"), rule(swap("b", "c"), "on_chunk"), rule(says(None), "on_chunk"))
    assert await desk.on_chunk("a-b") == Rewrite(text="c-c")
    assert desk.decisions == [("p0", "rewritten"), ("p1", "rewritten"), ("p2", "allowed")]


async def test_live_text_that_nobody_changes_is_kept() -> None:
    desk = Desk(rule(swap("x", "y"), "on_chunk"), rule(says(Rewrite(text="same")), "on_chunk"))
    assert await desk.on_chunk("same") is None


async def test_live_text_can_be_stopped() -> None:
    calls: list[object] = []
    desk = Desk(rule(says(NO), "on_chunk"), rule(says(None, calls), "on_chunk"))
    assert await desk.on_chunk() is NO
    assert calls == []


@pytest.mark.parametrize("verdict", [NO, Rewrite(text="other")])
async def test_an_observer_of_live_text_changes_nothing(verdict: object) -> None:
    desk = Desk(rule(says(verdict), "on_chunk", mode="observe"))
    assert await desk.on_chunk() is None
    assert desk.decisions == [("p0", "observe")]


@pytest.mark.parametrize(("fields", "opens"), [({}, False), ({"on_error": "allow"}, True)])
async def test_a_streaming_policy_that_cannot_decide(fields: dict[str, Any], opens: bool) -> None:
    desk = Desk(rule(raises(Odd()), "on_chunk", **fields))
    verdict = await desk.on_chunk()
    assert (verdict is None) if opens else (isinstance(verdict, Deny) and verdict.code == "policy_unavailable")


# After the answer.


async def test_everybody_hears_of_the_usage_whatever_the_others_do() -> None:
    heard: list[int] = []

    async def hear(usage: Usage) -> None:
        heard.append(usage.total)

    def stage(hook: Hook, **fields: Any) -> Rule:
        return rule(hook, "post_response", **fields)

    desk = Desk(
        stage(hear),
        stage(raises(Odd())),
        stage(forever, timeout_ms=10),
        stage(says(NO)),
        stage(says("odd")),
        stage(hear),
    )
    await desk.post_response(Usage(input=3, output=4))
    assert heard == [7, 7]
    assert [finding.stage for finding in desk.findings] == ["post_response"] * 6
    assert [finding.error_type for finding in desk.findings] == ["", "Odd", "TimeoutError", "", "CannotDecide", ""]


# The same chain again and again.


async def test_a_chain_remembers_nothing_of_a_request() -> None:
    desk = Desk(rule(says(Proceed(headers=((b"x-a", b"1"),)))), rule(says(Proceed(body=BODY))))
    for _ in range(3):
        ruling = await desk.pre_request()
        assert (list(ruling.headers), ruling.ctx.body.raw) == ([(b"x-a", b"1")], BODY)


async def test_many_requests_at_once_do_not_mix() -> None:
    async def tag(ctx: RequestContext) -> Proceed:
        await asyncio.sleep(0)
        return Proceed(body=ctx.body.raw + b"!", headers=((b"x-id", bytes(ctx.body.raw)),))

    desk = Desk(rule(tag), rule(says(None)), rule(tag, priority=1))

    async def one(at: int) -> None:
        raw = b"%d" % at
        ruling = await desk.runner.pre_request(desk.chains, context(raw), Trail(), reread)
        assert ruling.ctx.body.raw == raw + b"!!"
        assert list(ruling.headers) == [(b"x-id", raw), (b"x-id", raw + b"!")]

    await asyncio.gather(*(one(at) for at in range(100)))


async def test_a_policy_of_another_consumer_is_not_asked() -> None:
    desk = Desk(rule(says(NO), consumer_ids=("c2",)))
    assert (await desk.pre_request()).stop is None
    assert policy().consumer_ids == ("c1",)
