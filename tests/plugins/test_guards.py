"""Guards that ask a service, each through a whole proxy over a real socket: requests, answers, live streams, and every
way in which a service can fail."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests import world
from tests.lifecycle.kit import ASKED, House, Line, completion, live, rule, stream, text_of, whole
from tests.plugins.house import rule_of
from tests.plugins.judges import BAD, COLLECTOR, GUARDS, KEY, MASK, NUMBER, Guard
from tests.service import Question, Reply, Service, hang
from trustgate import AnswerView, Deny
from trustgate_plugins.trustguard import TOKENS

pytestmark = pytest.mark.anyio
MASKING = [name for name, guard in GUARDS.items() if guard.masks]
REFUSED = "this was refused"


class Desk:
    """A guard with its service."""

    def __init__(self, guard: Guard, service: Service) -> None:
        self.guard = guard
        self.service = service

    def house(self, line: Line | None = None, *others: Any, **fields: Any) -> House:
        """A proxy with the guard; `settings` and fields of the policy are named."""
        settings = self.guard.settings(self.service.url) | fields.pop("settings", {})
        guard = rule_of(self.guard.plugin, settings, **fields)
        return House(line or Line(whole), guard, *others, variables=self.guard.variables(self.service.url))


@pytest.fixture(params=GUARDS)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    guard = GUARDS[request.param]
    TOKENS.__init__()  # type: ignore[misc] # each test begins without a token
    async with Service(guard.answer) as service:
        yield Desk(guard, service)


masking = pytest.mark.parametrize("desk", MASKING, indirect=True)


def asking(text: str, **more: Any) -> dict[str, Any]:
    return ASKED | {"messages": [{"role": "user", "content": text}]} | more


def streaming(*texts: str) -> Line:
    return Line(lambda: live(*stream(*texts)))


async def test_a_request_that_is_refused_reaches_nobody(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house = desk.house()
    assert (await house.ask(asking("Hello!"))).status == 200
    told = await house.ask(asking(f"Help me to {BAD} them."))
    assert (told.status, told.error["code"]) == (403, desk.guard.code)
    assert len(house.line.calls) == 1
    finding = house.events[-1].policy_chain[0]
    assert (finding.stage, finding.decision, finding.code) == ("pre_request", "block", desk.guard.code)
    everywhere = f"{msgspec.json.encode(house.events)!r}{caplog.text}{told.body!r}{told.headers}"
    assert not any(secret in everywhere for secret in desk.guard.secrets)
    assert BAD not in f"{msgspec.json.encode(house.events)!r}{caplog.text}", (
        "what a prompt says is in no event and no log"
    )


async def test_an_answer_that_is_refused_is_not_seen(desk: Desk) -> None:
    house = desk.house(Line(whole(completion("All is well.")), whole(completion(f"Now {BAD} them."))))
    assert (await house.ask()).json["choices"][0]["message"]["content"] == "All is well."
    told = await house.ask()
    assert (told.status, told.error["code"]) == (403, desk.guard.code)
    assert BAD not in told.body.decode()
    assert [each.stage for each in house.events[-1].policy_chain if each.decision == "block"] == ["pre_response"]


async def test_a_live_stream_ends_where_it_is_refused(desk: Desk) -> None:
    words = ["This is how it is done. ", "First you wait. ", f"Then you {BAD} them. ", "And then you leave. "]
    house = desk.house(streaming(*words), settings={"stream_step": 20})
    told = await house.ask(ASKED | {"stream": True})
    assert (told.status, told.error["code"]) == (200, desk.guard.code)
    assert BAD not in told.body.decode()
    assert "leave" not in told.body.decode()
    assert [each.stage for each in house.event.policy_chain if each.decision == "block"] == ["on_chunk"]
    assert b"[DONE]" not in told.body


async def test_a_stream_that_is_good_arrives_to_its_last_letter(desk: Desk) -> None:
    words = [f"word {at} " for at in range(60)]
    house = desk.house(streaming(*words), settings={"stream_step": 50})
    told = await house.ask(ASKED | {"stream": True})
    assert text_of(told.body) == "".join(words)
    assert told.body.endswith(b"data: [DONE]\n\n")
    judged = [question for question in desk.service.asked if question.path != "/v1/token"]
    assert 3 <= len(judged) <= 12  # the request, and the stream in steps, not in pieces


@pytest.mark.parametrize("at", range(16, 24))
async def test_what_is_cut_in_two_is_recognised(desk: Desk, at: int) -> None:
    said = "x" * at + BAD + "y" * 40
    pieces = [said[start : start + 3] for start in range(0, len(said), 3)]
    house = desk.house(streaming(*pieces), settings={"stream_step": 20})
    told = await house.ask(ASKED | {"stream": True})
    assert told.error["code"] == desk.guard.code
    assert BAD not in text_of(told.body)


async def test_text_leaves_while_the_stream_still_goes_on(desk: Desk) -> None:
    gate = asyncio.Event()
    words = stream(*["So far it is good. "] * 16)[:16]
    line = Line(live(*words, gate, *stream("The end.")))
    house = desk.house(line, settings={"stream_step": 20})
    caller = house.caller(ASKED | {"stream": True})
    call = asyncio.create_task(caller.call())
    await caller.until(b"So far it is good. ")
    gate.set()
    assert text_of((await call).body).endswith("The end.")


@masking
async def test_requests_are_rewritten_and_policies_behind_read_what_became_of_them(desk: Desk) -> None:
    seen: list[str] = []

    async def pre_request(ctx: Any) -> None:
        seen.append(ctx.body.prompt().text())

    house = desk.house(None, rule(pre_request=pre_request, fields={"priority": 9}))
    assert (await house.ask(asking(f"Call {NUMBER}!", user="u-1"))).status == 200
    (sent,) = house.line.bodies
    assert sent["messages"] == [{"role": "user", "content": f"Call {MASK}!"}]
    assert (sent["user"], seen) == ("u-1", [f"Call {MASK}!"])
    assert house.event.policy_chain[0].decision == "rewritten"


@masking
async def test_answers_are_rewritten(desk: Desk) -> None:
    house = desk.house(Line(lambda: whole(completion(f"Call {NUMBER}!"))))
    told = await house.ask()
    assert told.json["choices"][0]["message"]["content"] == f"Call {MASK}!"


@masking
@pytest.mark.parametrize("step", [20, 33, 1000])
async def test_streams_are_rewritten_wherever_they_are_cut(desk: Desk, step: int) -> None:
    said = "".join(f"{at}: call {NUMBER} now. " for at in range(12))
    pieces = [said[start : start + 7] for start in range(0, len(said), 7)]
    house = desk.house(streaming(*pieces), settings={"stream_step": step})
    told = await house.ask(ASKED | {"stream": True})
    assert text_of(told.body) == said.replace(NUMBER, MASK)


async def test_whoever_observes_refuses_nobody_and_changes_nothing(desk: Desk) -> None:
    for text in (BAD, NUMBER) if desk.guard.masks else (BAD,):
        house = desk.house(Line(whole(completion(text)), live(*stream(text))), mode="observe")
        told = await house.ask(asking(text))
        assert told.json["choices"][0]["message"]["content"] == text
        assert house.line.bodies[0]["messages"][0]["content"] == text
        assert text_of((await house.ask(asking(text, stream=True))).body) == text
        decisions = {each.stage for event in house.events for each in event.policy_chain if each.decision == "observe"}
        assert decisions == {"pre_request", "pre_response", "on_chunk"}


async def test_only_what_is_inspected_is_asked_about(desk: Desk) -> None:
    for inspect, judged in (("request", 1), ("response", 1), ("request_response", 2)):
        desk.service.asked.clear()
        await desk.house(settings={"inspect": inspect}).ask()
        assert len([each for each in desk.service.asked if each.path != "/v1/token"]) == judged


TALK: list[dict[str, Any]] = [
    {"role": "system", "content": f"never {BAD}"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "second"},
    {"role": "user", "content": "third"},
]


async def test_what_is_new_is_judged_or_the_whole_conversation(desk: Desk) -> None:
    asked = ASKED | {"messages": TALK}
    assert (await desk.house(settings={"inspect": "request"}).ask(asked)).status == 200
    said = desk.service.asked[-1].body.decode()
    assert "third" in said
    assert "first" not in said
    assert (await desk.house(settings={"texts": "all"}).ask(asked)).status == 403


async def test_a_request_without_words_is_not_asked_about(desk: Desk) -> None:
    await desk.house(settings={"inspect": "request"}).ask(asking("  \n "))
    assert not desk.service.asked


# Services that fail.


def of(reply: Reply) -> Callable[[Question], Reply]:
    return lambda _: reply


FAILURES: dict[str, Callable[[Question], Reply | Awaitable[Reply]]] = {
    "hangs": hang,
    "an error": of(Reply({}, status=500)),
    "not allowed": of(Reply({}, status=401)),
    "elsewhere": of(Reply({}, status=302)),
    "no JSON": of(Reply(b"<html>")),
    "an empty object": of(Reply({})),
    "a list": of(Reply([])),
    "nothing": of(Reply(b"")),
    "garbage": of(Reply(raw=b"\0\1\2\r\n\r\n")),
    "too much": of(Reply(b" " * (1024 * 1024 + 1))),
    "deeply nested": of(Reply(b"[" * 100_000)),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_service_that_fails_is_for_on_error_to_judge(
    desk: Desk, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.service.answer = FAILURES[failure]
    for on_error, status in (("deny", 503), ("", 503), ("allow", 200)):
        house = desk.house(on_error=on_error, settings={"timeout": "100ms"})
        told = await house.ask()
        assert (told.status, told.header(b"x-ag-policy-degraded") != "") == (status, True)
        finding = house.event.policy_chain[0]
        assert (finding.error, finding.error_type) == (True, "ServiceUnavailable")
        assert finding.decision == ("failed_open" if on_error == "allow" else "failed_closed")
    assert not any(secret in caplog.text for secret in desk.guard.secrets)


async def test_a_service_that_is_gone_is_not_waited_for(desk: Desk) -> None:
    house = desk.house(on_error="allow")
    await desk.service.stop()
    loop = asyncio.get_running_loop()
    for _ in range(4):
        await house.ask()
    began = loop.time()
    for _ in range(10):
        assert (await house.ask()).status == 200
    assert loop.time() - began < 0.5
    await desk.service.start()


async def test_a_service_that_fails_in_the_middle_of_a_stream_ends_it(desk: Desk) -> None:
    answers = 0

    def answer(question: Question) -> Reply:
        nonlocal answers
        answers += question.path != "/v1/token"
        return desk.guard.answer(question) if answers < 3 else Reply({}, status=500)

    desk.service.answer = answer
    words = [f"word {at} and so on " for at in range(20)]
    house = desk.house(
        streaming(*words), settings={"stream_step": 40, "window": 0} if desk.guard.masks else {"stream_step": 40}
    )
    told = await house.ask(ASKED | {"stream": True})
    assert told.error["code"] == "policy_unavailable"
    assert 0 < len(text_of(told.body)) < len("".join(words))


# What only some of them do.


async def test_moderation_refuses_by_threshold_and_by_category() -> None:
    guard = GUARDS["openai_moderation"]
    async with Service(guard.answer) as service:
        for settings, status in (
            ({"thresholds": {"violence": 0.95}}, 200),
            ({"thresholds": {"violence": 0.9}}, 403),
            ({"thresholds": {"hate": 0.01}, "block_on_flagged": False}, 403),
            ({"categories": ["hate"]}, 200),
            ({"categories": ["violence"]}, 403),
        ):
            house = Desk(guard, service).house(settings=settings)
            assert (await house.ask(asking(BAD))).status == status, settings


async def test_content_safety_is_asked_in_parts_that_it_takes() -> None:
    guard = GUARDS["azure_content_safety"]
    async with Service(guard.answer) as service:
        house = Desk(guard, service).house(settings={"inspect": "request"})
        assert (await house.ask(asking("x" * 35_000))).status == 200
        assert len(service.asked) == 4
        for at in (9_797, 19_599, 34_990):
            assert (await house.ask(asking("x" * at + BAD + "x" * 100))).status == 403


async def test_a_guardrail_that_is_to_block_does_not_mask() -> None:
    guard = GUARDS["bedrock_guardrail"]
    async with Service(guard.answer) as service:
        house = Desk(guard, service).house(settings={"pii_action": "block"})
        told = await house.ask(asking(f"Call {NUMBER}!"))
        assert (told.status, told.error["code"]) == (403, "guardrail_blocked")
        details = house.event.policy_chain[0].details
        assert details["found"] == [{"policy": "sensitiveInformation", "name": "PHONE", "action": "ANONYMIZED"}]


@pytest.mark.parametrize("name", MASKING)
async def test_a_rewrite_of_other_texts_than_there_are_is_no_rewrite(name: str) -> None:
    guard = GUARDS[name]

    def answer(question: Question) -> Reply:
        reply = guard.answer(question)
        if isinstance(reply.body, dict):
            for key in ("outputs", "texts"):
                reply.body.get(key, []).append(reply.body.get(key, [""])[-1] if reply.body.get(key) else "")
            reply.body.get("transformed_payload", {}).get("messages", []).append({"content": "more"})
        return reply

    TOKENS.__init__()  # type: ignore[misc] # as above
    async with Service(answer) as service:
        house = Desk(guard, service).house(settings={"inspect": "request"})
        assert (await house.ask(asking(f"Call {NUMBER}!"))).status in (403, 503)
        assert not house.line.calls


async def test_trustguard_fetches_one_token_for_all_and_another_when_it_is_not_taken() -> None:
    guard, tokens, taken = GUARDS["trustguard"], 0, "t-1"

    async def answer(question: Question) -> Reply:
        nonlocal tokens
        if question.path == "/v1/token":
            tokens += 1
            await asyncio.sleep(0)
            return Reply({"access_token": f"t-{tokens}", "expires_in": 3600})
        good = question.headers["authorization"] == f"Bearer {taken}"
        return Reply({"status": "allow"}) if good else Reply({}, status=401)

    TOKENS.__init__()  # type: ignore[misc] # as above
    async with Service(answer) as service:
        house = Desk(guard, service).house(settings={"inspect": "request"})
        told = await asyncio.gather(*(house.caller().call() for _ in range(20)))
        assert ([each.status for each in told], tokens) == ([200] * 20, 1)
        taken = "t-2"
        assert ((await house.ask()).status, tokens) == (200, 2)
        taken = "nobody has it"
        assert ((await house.ask()).status, tokens) == (503, 3)


async def test_trustguard_that_has_too_much_to_do_says_so() -> None:
    guard = GUARDS["trustguard"]

    def answer(question: Question) -> Reply:
        if question.path == "/v1/token":
            return guard.answer(question)
        return Reply({}, status=429, headers=[("X-RateLimit-Limit", "10"), ("retry-after", "7")])

    TOKENS.__init__()  # type: ignore[misc] # as above
    async with Service(answer) as service:
        told = await Desk(guard, service).house().ask()
        assert (told.status, told.error["code"]) == (429, "trustguard_rate_limited")
        assert (told.header(b"retry-after"), told.header(b"x-ratelimit-limit")) == ("7", "10")


async def test_trustguard_that_nobody_set_up_cannot_decide() -> None:
    house = House(Line(whole), rule_of(GUARDS["trustguard"].plugin, {"collector_id": COLLECTOR}))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (503, "policy_unavailable")


async def test_a_webhook_is_told_what_it_needs_and_no_more() -> None:
    guard = GUARDS["webhook_guard"]
    async with Service(guard.answer) as service:
        await Desk(guard, service).house(settings={"inspect": "request"}).ask(asking("Hello!"))
        told = service.asked[0].json
        assert told.pop("id")
        assert told.pop("session_id")
        assert told == {
            "stage": "request",
            "gateway": "demo",
            "consumer": {"id": "c1", "slug": "my-app", "name": "My app"},
            "operation": "chat_completions",
            "model": "m-1",
            "texts": [{"role": "user", "kind": "text", "text": "Hello!"}],
            "final": True,
        }
        assert "ag_key" not in json.dumps(told)


async def test_a_webhook_judges_tools_too() -> None:
    guard = GUARDS["webhook_guard"]
    call = {"id": "c", "type": "function", "function": {"name": "send", "arguments": json.dumps({"text": BAD})}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    async with Service(guard.answer) as service:
        house = Desk(guard, service).house(Line(whole(completion(choices=choices))))
        assert (await house.ask()).status == 403


async def test_a_policy_behind_reads_what_a_guard_made_of_an_answer() -> None:
    guard, seen = GUARDS["webhook_guard"], list[str]()

    async def pre_response(answer: AnswerView) -> Deny | None:
        seen.append(answer.text)
        return None

    async with Service(guard.answer) as service:
        line = Line(lambda: whole(completion(f"Call {NUMBER}!")))
        await Desk(guard, service).house(line, rule(pre_response=pre_response, fields={"priority": 9})).ask()
    assert seen == [f"Call {MASK}!"]


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("openai_moderation", {}, "api_key"),
        ("openai_moderation", {"api_key": "k", "block_on_flagged": False}, "refused"),
        ("openai_moderation", {"api_key": "k", "thresholds": {"hate": 1.1}}, "thresholds"),
        ("openai_moderation", {"api_key": "k\r\nx: y"}, "api_key"),
        ("openai_moderation", {"api_key": "k", "categories": ["hate"], "thresholds": {"violence": 0.5}}, "violence"),
        ("azure_content_safety", {"api_key": "k", "endpoint": "nowhere", "category_severity": {"Hate": 2}}, "endpoint"),
        ("azure_content_safety", {"api_key": "k", "endpoint": "https://a", "category_severity": {"Hate": 3}}, "Hate"),
        (
            "azure_content_safety",
            {"api_key": "k", "endpoint": "https://a", "category_severity": {}},
            "category_severity",
        ),
        ("azure_content_safety", {"api_key": "k", "endpoint": "https://a", "category_severity": {"Love": 2}}, "Love"),
        ("bedrock_guardrail", {"guardrail_id": "g", "credentials": {}}, "credentials"),
        ("bedrock_guardrail", {"guardrail_id": "g", "credentials": {"use_role": True, "role_arn": "me"}}, "role_arn"),
        ("bedrock_guardrail", {"guardrail_id": "g", "credentials": {"aws_region": "here"}}, "aws_region"),
        ("bedrock_guardrail", {"guardrail_id": "g", "version": "latest", "credentials": {}}, "version"),
        ("trustguard", {"collector_id": "mine"}, "collector_id"),
        ("webhook_guard", {"url": "https://a"}, "secret"),
        ("webhook_guard", {"url": "https://me:pw@a", "secret": "s"}, "credentials"),
        ("webhook_guard", {"url": "file:///etc/passwd", "secret": "s"}, "url"),
        ("webhook_guard", {"url": "https://a", "secret": "whsec_?"}, "base64"),
        ("webhook_guard", {"url": "https://a", "secret": "s", "headers": {"a b": "c"}}, "headers"),
        ("webhook_guard", {"url": "https://a", "secret": "s", "headers": {"a": "b\r\nc: d"}}, "headers"),
        ("webhook_guard", {"url": "https://a", "secret": "s", "timeout": "2h"}, "timeout"),
        ("webhook_guard", {"url": "https://a", "secret": "s", "stream_step": 1}, "stream_step"),
    ],
)
def test_settings_that_are_wrong_are_named(name: str, settings: dict[str, Any], word: str) -> None:
    kind = GUARDS[name].plugin.settings_type()
    with pytest.raises(msgspec.ValidationError, match=word) as told:
        msgspec.convert(settings, kind)
    assert KEY not in str(told.value)


def test_services_do_not_show_their_variables() -> None:
    assert KEY not in repr(world.services(variables={"TRUSTGUARD_CLIENT_SECRET": KEY}))
