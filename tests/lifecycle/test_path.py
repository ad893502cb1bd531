"""The whole path of a request: what goes out, what comes back, and the one event that it leaves."""

import asyncio
import re
from typing import Any

import pytest

from trustgate import Answer, AnswerView, Chosen, Deny, Outcome, Proceed, RequestContext
from trustgate.config.records import Binding, Entitlements, ModelPolicy, SessionConfig
from trustgate.contract.ports import Allowance, StateUnavailable
from trustgate.contract.upstream import UpstreamFailure
from trustgate.planes.arrival import HttpArrival
from trustgate.settings import Limits
from trustgate.state.memory import MemoryLimiter

from .kit import (
    ASKED,
    KEY,
    House,
    Line,
    Rule,
    Scripted,
    completion,
    configured,
    consumer,
    gateway,
    live,
    registry,
    rule,
    stream,
    text_of,
    whole,
)

pytestmark = pytest.mark.anyio

RAW = b'{ "messages":[{"content":"Hell\\u00f6!", "role":"user"}], "model" : "m-1" ,"temperature":1.0}'


def says(verdict: object) -> Any:
    async def hook() -> object:
        return verdict

    return hook


# The same bytes, both ways.


async def test_an_answer_is_carried_both_ways_as_the_very_bytes() -> None:
    body = completion("Grüße", extra=[1.0, None]).replace(b", ", b" , ")
    house = House(Line(whole(body, (b"x-request-id", b"req-1"), (b"set-cookie", b"no"), (b"x-ratelimit-x", b"5"))))
    told = await house.ask(RAW, headers={b"user-agent": b"sdk/1", b"openai-beta": b"b", b"cookie": b"no"})
    assert (told.status, told.body, told.ended) == (200, body, True)
    (call,) = house.line.calls
    assert call.body == RAW
    assert (call.method, call.target, call.origin.host) == ("POST", b"/v1/chat/completions", "r1.test")
    sent = dict(call.headers)
    assert sent[b"user-agent"] == b"trustgate/1.0 sdk/1"
    assert sent[b"openai-beta"] == b"b"
    assert not {b"cookie", b"authorization", b"x-ag-api-key"} & sent.keys()
    assert told.header(b"content-type") == "application/json"
    assert told.header(b"content-length") == str(len(body))
    assert told.header(b"x-request-id") == "req-1"
    assert told.header(b"x-ratelimit-x") == "5"
    assert told.header(b"set-cookie") == ""
    assert told.header(b"x-selected-provider") == "openai_compatible"
    assert told.header(b"x-ag-revision") == "1"
    assert re.fullmatch(r"[0-9a-f]{32}", told.header(b"x-ag-trace-id"))
    assert re.fullmatch(r"(\w+;dur=\d+\.\d{3}(, )?){4}", told.header(b"server-timing"))


async def test_a_stream_is_carried_as_the_very_bytes() -> None:
    pieces = stream("Hi", " there")
    house = House(Line(live(*pieces)))
    told = await house.ask({**ASKED, "stream": True, "stream_options": {"include_usage": True}})
    assert (told.status, told.body, told.ended) == (200, b"".join(pieces), True)
    assert told.pieces == pieces
    assert told.header(b"content-type") == "text/event-stream; charset=utf-8"
    assert told.header(b"cache-control") == "no-cache"
    assert told.header(b"content-length") == ""


async def test_the_trace_goes_on_through_us() -> None:
    house = House(Line(whole))
    trace = "0af7651916cd43dd8448eb211c80319c"
    told = await house.ask(headers={b"traceparent": f"00-{trace}-b7ad6b7169203331-00".encode()})
    assert told.header(b"x-ag-trace-id") == trace
    assert told.header(b"x-request-id") == trace
    sent = dict(house.line.calls[0].headers)[b"traceparent"].decode()
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-00", sent)
    event = house.event
    assert (event.trace_id, event.parent_span_id) == (trace, "b7ad6b7169203331")
    assert event.span_id == sent[36:52]


# The event.


async def test_the_event_of_an_answer() -> None:
    house = House(Line(whole))
    told = await house.ask(RAW, headers={b"x-session-id": b"s-1"})
    event = house.event
    assert (event.gateway_id, event.gateway_slug, event.revision, event.ip) == ("g1", "demo", 1, "192.0.2.7")
    assert (event.consumer.id, event.consumer.slug, event.consumer.auth_id) == ("c1", "my-app", "a1")
    assert event.session_id == told.header(b"x-session-id") == "s-1"
    assert (event.status.code, event.status.outcome, event.status.reason) == (200, "success", "")
    assert (event.request.method, event.request.path) == ("POST", "/my-app/v1/chat/completions")
    assert (event.request.operation, event.request.bytes) == ("chat_completions", len(RAW))
    assert (event.request.requested_model, event.request.model) == ("m-1", "m-1-2026")
    assert (event.request.provider, event.request.registry_id) == ("openai_compatible", "r1")
    assert (event.response.status_code, event.response.bytes) == (200, len(completion()))
    assert (event.response.finish_reason, event.response.complete, event.response.streaming) == ("stop", True, False)
    assert event.usage is not None
    assert (event.usage.prompt_tokens, event.usage.completion_tokens) == (9, 2)
    assert [(attempt.attempt, attempt.outcome, attempt.status_code) for attempt in event.attempts] == [
        (1, "success", 200)
    ]
    assert not event.client_disconnected
    assert not event.is_flagged
    assert "Hell" not in repr(event), "never bodies"
    assert KEY.decode() not in repr(event)


async def test_the_event_of_a_stream() -> None:
    pieces = stream("Hi", " there")
    house = House(Line(live(*pieces)))
    await house.ask({**ASKED, "stream": True})
    event = house.event
    assert (event.request.stream, event.response.streaming, event.response.complete) == (True, True, True)
    assert (event.response.bytes, event.response.finish_reason) == (sum(map(len, pieces)), "stop")
    assert event.request.model == "m-1-2026"
    assert event.usage is not None
    assert event.usage.total_tokens == 11


# Every request leaves one event, refused or not.

REQUESTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("answered", {}, 200, ""),
    ("no route", {"path": "/nowhere"}, 404, "unknown_route"),
    ("wrong method", {"method": "PUT"}, 405, "method_not_allowed"),
    ("no key", {"headers": {b"authorization": b""}}, 401, "missing_api_key"),
    ("wrong key", {"key": b"ag_other"}, 401, "invalid_api_key"),
    ("unknown gateway", {"headers": {b"x-ag-gateway-slug": b"nobody"}}, 400, "invalid_auth_request"),
    ("unknown consumer", {"path": "/nobody/v1/chat/completions"}, 404, "consumer_not_found"),
    ("no json", {"body": b"{"}, 400, "invalid_json"),
    ("bad utf-8", {"body": b'{"model":"\xff"}'}, 400, "invalid_json"),
    ("no object", {"body": b"[]"}, 400, "invalid_request"),
    ("wrong type", {"body": b'{"model":1}'}, 400, "invalid_request"),
    ("nesting bomb", {"body": b'{"model":"m","x":' + b"[" * 3000}, 400, "invalid_json"),
    ("other media", {"headers": {b"content-type": b"text/plain"}}, 415, "unsupported_media_type"),
    ("other coding", {"headers": {b"content-encoding": b"gzip"}}, 415, "unsupported_content_encoding"),
    ("too large", {"body": b'{"model":"%b"}' % (b"m" * 5000)}, 413, "request_too_large"),
    ("too large in parts", {"parts": [b"x" * 3000, b"x" * 3000, b"x"]}, 413, "request_too_large"),
    ("large headers", {"headers": {b"x-long": b"x" * 5000}}, 431, "headers_too_large"),
    ("a large name", {"headers": {b"x" * 5000: b"1"}}, 431, "headers_too_large"),
    ("forbidden model", {"body": b'{"model":"m-9"}'}, 403, "model_not_allowed"),
    ("no model", {"body": b"{}"}, 400, "model_required"),
    ("models", {"path": "/my-app/v1/models", "method": "GET"}, 200, ""),
    ("one model", {"path": "/v1/models/m-1", "method": "GET"}, 200, ""),
    ("no such model", {"path": "/v1/models/m-9", "method": "GET"}, 404, "model_not_found"),
]


@pytest.mark.parametrize(("given", "status", "reason"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
async def test_every_request_leaves_one_event(given: dict[str, Any], status: int, reason: str) -> None:
    rules = ModelPolicy(registry_id="r1", allowed=("m-1",))
    house = House(
        Line(whole),
        records=configured(consumer(model_policies=(rules,))),
        limits=Limits(max_body_bytes=4096, max_header_bytes=2048),
    )
    told = await house.ask(**given)
    event = house.event
    assert (told.status, event.status.code, event.status.reason) == (status, status, reason)
    assert told.ended
    assert event.revision == 1
    assert event.trace_id == told.header(b"x-ag-trace-id")
    assert told.header(b"x-ag-revision") == "1"
    assert told.header(b"server-timing")
    if reason:
        assert told.error["code"] == reason
        assert set(told.error) == {"message", "type", "param", "code"}
        assert told.header(b"x-ag-error-source") == "gateway"
        assert told.header(b"x-should-retry") == "false"
        assert house.line.calls == []


@pytest.mark.parametrize(
    ("failure", "status", "code", "is_timeout"),
    [
        (UpstreamFailure("connect_failed", "10.0.0.7"), 502, "provider_unreachable", False),
        (UpstreamFailure("first_byte_timeout", "10.0.0.7"), 504, "provider_first_byte_timeout", True),
        (whole(b"<html>"), 502, "provider_malformed_answer", False),
        (whole(b""), 502, "provider_malformed_answer", False),
        (whole(b'{"error":{"message":"Sorry."}}'), 502, "provider_error", False),
        (whole(b"<html>", status=503), 503, "provider_error", False),
    ],
)
async def test_an_upstream_that_fails(failure: Any, status: int, code: str, is_timeout: bool) -> None:
    house = House(Line(failure))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (status, code)
    assert told.header(b"x-ag-error-source") == "upstream"
    assert b"10.0.0.7" not in told.body
    event = house.event
    assert (event.status.code, event.status.reason, event.status.is_timeout) == (status, code, is_timeout)
    assert len(event.attempts) == 1


async def test_an_answer_that_breaks_off_in_the_middle() -> None:
    upstream = Scripted(b'{"choices":', UpstreamFailure("connection_lost", ""))
    house = House(Line(upstream))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (502, "provider_connection_lost")
    assert upstream.closed


async def test_an_error_of_the_provider_is_carried_with_its_headers() -> None:
    body = b'{"error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    house = House(Line(whole(body, (b"retry-after", b"7"), (b"x-ratelimit-remaining-requests", b"0"), status=429)))
    told = await house.ask()
    assert (told.status, told.body) == (429, body)
    assert (told.header(b"retry-after"), told.header(b"x-ratelimit-remaining-requests")) == ("7", "0")
    assert told.header(b"x-ag-error-source") == "upstream"
    assert (house.event.status.reason, house.event.status.outcome) == ("provider_error", "retryable")


async def test_a_failure_in_other_words_keeps_the_headers_that_say_when_to_come_back() -> None:
    house = House(Line(whole(b"<html>Busy</html>", (b"retry-after", b"7"), (b"x-request-id", b"req-1"), status=503)))
    told = await house.ask()
    assert told.error["code"] == "provider_error"
    assert told.header(b"retry-after") == "7"
    assert told.header(b"x-request-id") == "req-1"
    assert told.header(b"content-type") == "application/json"


async def test_a_fault_of_ours_is_a_clean_500_and_leaves_its_event() -> None:
    house = House(Line(RuntimeError("secret detail")))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (500, "internal_error")
    assert b"secret detail" not in told.body
    assert house.event.status.reason == "internal_error"


# Which revision serves.


async def test_a_request_keeps_its_revision_for_its_whole_life() -> None:
    gate = asyncio.Event()
    upstream = live(*stream("one ")[:1], gate, *stream("two")[0:])
    deny = rule(pre_request=says(Deny(code="no", message="No.")), fields={"enabled": True})
    house = House(Line(upstream), deny)
    house.swap(1, policies=False)
    caller = house.caller({**ASKED, "stream": True})
    first = asyncio.create_task(caller.call())
    await caller.until(b"one")
    house.swap(2)
    assert (await house.ask()).error["code"] == "no"
    gate.set()
    told = await first
    assert text_of(told.body) == "one two"
    assert told.header(b"x-ag-revision") == "1"
    assert [(event.revision, event.status.code) for event in house.events] == [(2, 403), (1, 200)]


async def test_a_key_that_is_taken_away_is_refused_from_the_next_request_on() -> None:
    house = House(Line(whole))
    assert (await house.ask()).status == 200
    house.swap(2, configured(consumer(auth_ids=())))
    assert (await house.ask()).error["code"] == "forbidden"
    house.swap(3, configured(gateway(status="inactive")))
    assert (await house.ask()).error["code"] == "gateway_inactive"
    house.swap(4, [record for record in configured() if record.id != "a1"])
    assert (await house.ask()).error["code"] == "invalid_api_key"
    house.swap(5)
    assert (await house.ask()).status == 200
    assert house.lifecycle.revision == 5


async def test_who_has_been_let_in_before_is_let_in_no_further() -> None:
    """Callers are prepared once: what was prepared must not open another gateway, consumer or path to the same key."""
    records = configured(
        gateway(),
        gateway(id="g2", slug="other", domain="other.test"),
        consumer(),
        consumer(id="c2", slug="sleepy", active=False),
    )
    house = House(Line(whole), records=records)
    for _ in range(2):
        assert (await house.ask()).status == 200
        assert (await house.ask(path="/v1/chat/completions")).status == 200
        assert (await house.ask(headers={b"x-ag-gateway-slug": b"demo"})).status == 200
        assert (await house.ask(headers={b"x-ag-gateway-slug": b"other"})).error["code"] == "invalid_api_key"
        assert (await house.ask(headers={b"host": b"other.test"})).error["code"] == "invalid_api_key"
        assert (await house.ask(path="/sleepy/v1/chat/completions")).error["code"] == "consumer_not_found"
        assert (await house.ask(key=KEY + b"x")).error["code"] == "invalid_api_key"


# Policies before the call.


async def test_a_refusal_reaches_nobody_and_says_each_header_once() -> None:
    no = Deny(
        code="no",
        message="No.",
        status=429,
        retry_after=90.0,
        headers=((b"x-limit", b"5"),),
        details={"why": "because"},
    )
    house = House(Line(whole), rule(pre_request=says(no)))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (429, "no")
    assert (told.header(b"retry-after"), told.header(b"x-limit")) == ("90", "5")
    assert told.header(b"x-should-retry") == "false"
    assert house.line.calls == []
    event = house.event
    assert (event.status.reason, event.is_flagged) == ("no", True)
    assert [(it.slug, it.decision, it.details) for it in event.policy_chain] == [
        ("guard_0", "block", {"why": "because"})
    ]


async def test_a_policy_answers_in_the_providers_stead() -> None:
    here = Answer(body=b'{"cached":true}', status=201, headers=((b"x-cache", b"HIT"),))
    house = House(Line(whole), rule(pre_request=says(here)))
    told = await house.ask()
    assert (told.status, told.body, told.header(b"x-cache")) == (201, b'{"cached":true}', "HIT")
    assert house.line.calls == []
    assert [finding.decision for finding in house.event.policy_chain] == ["answered"]
    assert (house.event.status.reason, house.event.attempts) == ("", ())


async def test_a_policy_that_fails_closed_says_so_once() -> None:
    house = House(Line(whole), rule(pre_request=lambda: 1 / 0))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (503, "policy_unavailable")
    assert told.header(b"x-ag-policy-degraded") == "guard_0"


async def test_a_policy_that_fails_open_says_so() -> None:
    house = House(Line(whole), rule(pre_request=lambda: 1 / 0, fields={"on_error": "allow"}))
    told = await house.ask()
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (200, "guard_0")
    assert [finding.decision for finding in house.event.policy_chain] == ["failed_open"]


async def test_a_rewritten_request_is_what_the_provider_gets() -> None:
    rewritten = b'{"model":"m-1","messages":[]}'
    house = House(Line(whole), rule(pre_request=says(Proceed(body=rewritten, headers=((b"x-a", b"1"),)))))
    told = await house.ask()
    assert house.line.calls[0].body == rewritten
    assert told.header(b"x-a") == "1"


async def test_a_rewritten_model_is_the_one_that_is_routed_and_allowed() -> None:
    """What is sent decides where it goes: the pool must not look at a model that nobody asks for any more."""
    small = ModelPolicy(registry_id="r1", allowed=("m-small",))
    big = ModelPolicy(registry_id="r2", allowed=("m-big",))
    records = configured(registry("r1"), registry("r2"), consumer("r1", "r2", model_policies=(small, big)))

    async def downgrade(ctx: RequestContext) -> Proceed:
        return Proceed(body=ctx.body.raw.replace(b"m-big", b"m-small"))

    house = House(Line(whole), rule(pre_request=downgrade), records=records)
    assert (await house.ask({**ASKED, "model": "m-big"})).status == 200
    assert [
        (call.origin.host, body["model"]) for call, body in zip(house.line.calls, house.line.bodies, strict=True)
    ] == [("r1.test", "m-small")]
    assert house.event.request.requested_model == "m-big"


async def test_what_a_policy_is_told_of_a_request() -> None:
    seen: list[RequestContext] = []

    async def look(ctx: RequestContext) -> None:
        seen.append(ctx)

    house = House(Line(whole), rule(pre_request=look))
    told = await house.ask(RAW, headers={b"x-session-id": b"s-1"})
    (ctx,) = seen
    assert ctx.id == told.header(b"x-ag-trace-id")
    assert (ctx.caller.consumer_slug, ctx.operation.name, ctx.path) == (
        "my-app",
        "chat_completions",
        "/my-app/v1/chat/completions",
    )
    assert (ctx.session_id, ctx.client_ip, ctx.header("Host")) == ("s-1", "192.0.2.7", "localhost")
    assert (ctx.body.raw, ctx.body.model, ctx.body.stream) == (RAW, "m-1", False)


async def test_policies_judge_requests_for_models_too() -> None:
    house = House(Line(whole), rule(pre_request=says(Deny(code="no", message="No."))))
    assert (await house.ask(path="/v1/models", method="GET")).error["code"] == "no"


# Policies of whole answers.


async def test_a_rewritten_answer_is_what_the_caller_gets() -> None:
    house = House(Line(whole), rule(pre_response=says(Proceed(body=b'{"other":1}', headers=((b"x-a", b"1"),)))))
    told = await house.ask()
    assert (told.body, told.header(b"x-a")) == (b'{"other":1}', "1")
    assert told.header(b"content-length") == "11"
    assert house.event.usage is not None


async def test_the_text_of_a_rewritten_answer_is_the_rewritten_text() -> None:
    """Who judges `answer.text` behind a rewrite must judge what the caller will see."""
    seen: list[str] = []

    async def redact(answer: Any) -> Proceed:
        return Proceed(body=answer.body.replace(b"secret", b"******"))

    async def look(answer: Any) -> None:
        seen.append(answer.text)

    house = House(
        Line(whole(completion("a secret"))), rule(pre_response=redact), rule(pre_response=look, fields={"priority": 1})
    )
    assert (await house.ask()).json["choices"][0]["message"]["content"] == "a ******"
    assert seen == ["a ******"]


async def test_an_answer_that_is_refused_was_paid_for() -> None:
    no = Deny(code="no", message="No.", headers=((b"x-why", b"1"),))
    house = House(Line(whole), rule(pre_response=says(no)))
    told = await house.ask()
    assert (told.status, told.error["code"], told.header(b"x-why")) == (403, "no", "1")
    assert house.event.usage is not None
    assert house.event.usage.total_tokens == 11


async def test_errors_of_providers_are_not_judged_as_answers() -> None:
    house = House(
        Line(whole(b'{"error":{"message":"x"}}', status=400)), rule(pre_response=says(Deny(code="no", message="No.")))
    )
    assert (await house.ask()).status == 400


# Models.


def pool(*rules: ModelPolicy) -> list[Any]:
    return configured(
        *(registry(rule.registry_id) for rule in rules),
        consumer(*(rule.registry_id for rule in rules), model_policies=rules),
    )


@pytest.mark.parametrize("model", ["absent", None, "", "auto", "AUTO"])
async def test_where_no_model_is_named_the_default_is_asked_for(model: str | None) -> None:
    body = {"model": model, "seed": 1.0, **ASKED} if model == "absent" else {**ASKED, "seed": 1.0, "model": model}
    if model == "absent":
        del body["model"]
    house = House(Line(whole), records=pool(ModelPolicy(registry_id="r1", allowed=("m-7",), default="m-7")))
    assert (await house.ask(body)).status == 200
    assert house.line.bodies == [{**body, "model": "m-7"}]
    assert b'"seed": 1.0' in house.line.calls[0].body or b'"seed":1.0' in house.line.calls[0].body
    assert house.event.request.requested_model == ("" if model in ("absent", None) else model)


async def test_each_target_is_asked_for_its_own_default() -> None:
    unreachable = UpstreamFailure("connect_failed", "")
    house = House(
        Line(unreachable, whole),
        records=pool(ModelPolicy(registry_id="r1", default="m-7"), ModelPolicy(registry_id="r2", default="m-8")),
    )
    assert (await house.ask({**ASKED, "model": "auto"})).status == 200
    assert [
        (call.origin.host, body["model"]) for call, body in zip(house.line.calls, house.line.bodies, strict=True)
    ] == [
        ("r1.test", "m-7"),
        ("r2.test", "m-8"),
    ]
    event = house.event
    assert [(it.registry_id, it.outcome, it.failure) for it in event.attempts] == [
        ("r1", "retryable", "connect_failed"),
        ("r2", "success", ""),
    ]
    assert (event.request.registry_id, event.request.model) == ("r2", "m-1-2026")


async def test_a_named_model_fails_over_too_and_goes_out_as_the_very_bytes() -> None:
    house = House(
        Line(UpstreamFailure("connect_timeout", ""), whole),
        records=configured(registry("r1"), registry("r2"), consumer("r1", "r2")),
    )
    await house.ask(RAW)
    assert [call.body for call in house.line.calls] == [RAW, RAW]


async def test_targets_take_turns_by_weight() -> None:
    weighted = consumer(registries=(Binding(registry_id="r1", weight=3), Binding(registry_id="r2", weight=1)))
    house = House(Line(whole), records=configured(registry("r1"), registry("r2"), weighted))
    for _ in range(8):
        await house.ask()
    hosts = [call.origin.host for call in house.line.calls]
    assert (hosts.count("r1.test"), hosts.count("r2.test")) == (6, 2)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (registry(enabled=False), "(r1: it is switched off)"),
        (registry(provider="nobody"), "(r1: there is no provider nobody)"),
        (registry(provider_options={}), "(r1: "),
        (registry(provider_options={"base_url": "http://x:port"}), "(r1: "),
    ],
)
async def test_a_consumer_without_a_usable_registry(changed: Any, why: str) -> None:
    house = House(Line(whole), records=configured(changed))
    told = await house.ask()
    assert (told.status, told.error["code"]) == (503, "no_backend_available")
    assert why in told.error["message"]


async def test_models_of_the_caller() -> None:
    house = House(
        Line(whole(b'{"data":[{"id":"m-2"},{"id":"a/b"}]}')), records=pool(ModelPolicy(registry_id="r1", default="m-1"))
    )
    told = await house.ask(path="/my-app/models", method="GET")
    assert [model["id"] for model in told.json["data"]] == ["a/b", "m-1", "m-2"]
    assert (house.event.request.operation, house.event.request.bytes) == ("models", 0)


# Sessions.


@pytest.mark.parametrize(
    ("config", "body", "headers", "session"),
    [
        (SessionConfig(), {}, {}, r"[0-9a-f-]{36}"),
        (SessionConfig(), {}, {b"x-session-id": b"mine"}, "mine"),
        (SessionConfig(header_name="X-Thread"), {}, {b"x-thread": b"mine"}, "mine"),
        (SessionConfig(body_param_name="thread"), {"thread": "from body"}, {}, "from body"),
        (SessionConfig(enabled=False), {"thread": "x"}, {b"x-session-id": b"mine"}, ""),
    ],
)
async def test_sessions(config: SessionConfig, body: dict[str, Any], headers: dict[bytes, bytes], session: str) -> None:
    house = House(Line(whole), records=configured(gateway(session_config=config)))
    told = await house.ask({**ASKED, **body}, headers=headers)
    assert re.fullmatch(session, told.header(b"x-session-id"))
    assert house.event.session_id == told.header(b"x-session-id")


THREADED = configured(
    gateway(session_config=SessionConfig(body_param_name="thread")),
    consumer(model_policies=(ModelPolicy(registry_id="r1", default="m-1"),)),
)


@pytest.mark.parametrize(
    "rest",
    [b'"x":1e999', b'"x":' + b"9" * 5000, b'"x":"\xff"', b'"thread":"\\ud800"', b'"x":' + b"[" * 800 + b"]" * 800],
)
@pytest.mark.parametrize("model", [b"m-1", b"auto"])
async def test_no_body_that_a_provider_might_take_is_a_fault_of_ours(rest: bytes, model: bytes) -> None:
    """We look at two fields; what stands in the others is the provider's to judge, or plainly a 400."""
    house = House(Line(whole), records=THREADED)
    told = await house.ask(b'{"model":"' + model + b'",' + rest + b"}")
    assert told.status in {200, 400}


async def test_no_depth_of_nesting_is_a_fault_of_ours() -> None:
    house = House(Line(whole), records=THREADED)
    for depth in range(820, 1000, 2):
        told = await house.ask(b'{"model":"auto","x":' + b"[" * depth + b"]" * depth + b"}")
        assert told.status in {200, 400}, depth


# Plans.


async def test_a_plan_is_charged_before_any_policy() -> None:
    plan = Entitlements(burst_per_min=1, quota_per_month=0, max_instances=0)
    house = House(
        Line(whole),
        rule(pre_request=says(Deny(code="no", message="No."))),
        records=configured(gateway(entitlements=plan)),
    )
    assert (await house.ask()).error["code"] == "no"
    told = await house.ask()
    assert (told.status, told.error["code"]) == (429, "plan_limit_exceeded")
    assert told.header(b"x-ratelimit-reason") == "burst"
    assert house.events[1].policy_chain == ()


class Unavailable(MemoryLimiter):
    """A limiter whose store is gone."""

    async def take(self, key: str, *, limit: int, window: float, cost: int = 1) -> Allowance:
        raise StateUnavailable("gone")


async def test_a_plan_that_cannot_be_counted_lets_pass_and_says_so() -> None:
    plan = Entitlements(burst_per_min=1, quota_per_month=1, max_instances=0)
    house = House(Line(whole), records=configured(gateway(entitlements=plan)), limiter=Unavailable())
    told = await house.ask()
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (200, "plan")


# At the end.


async def test_a_request_is_finished_once() -> None:
    house = House(Line(whole), records=pool(ModelPolicy(registry_id="r1", allowed=("m-1",))))
    caller = house.caller(path="/v1/models", method="GET")
    exchange = await house.lifecycle.handle(HttpArrival(caller.scope, caller.receive))
    assert (house.lifecycle.in_flight, house.records) == (1, [])
    for _ in range(3):
        house.lifecycle.finish(exchange)
    assert len(house.records) == 1
    assert house.lifecycle.in_flight == 0


# At the door.


async def test_a_body_in_parts_is_one_body() -> None:
    house = House(Line(whole))
    await house.ask(parts=[RAW[:10], b"", RAW[10:40], RAW[40:]])
    assert house.line.calls[0].body == RAW


async def test_a_body_that_takes_its_time_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches for the caller's leaving must not take the parts of the body that is still being sent."""
    from trustgate.planes.proxy import app  # noqa: PLC0415 - its clock is the only thing of it that is changed

    monkeypatch.setattr(app, "ROUND", 0.002)
    gates = [asyncio.Event() for _ in range(4)]
    parts: list[bytes | asyncio.Event] = [RAW[:10], gates[0], RAW[10:20], gates[1], RAW[20:30], gates[2], RAW[30:]]
    house = House(Line(whole))
    caller = house.caller(parts=parts)
    asking = asyncio.create_task(caller.call())
    for gate in gates:
        await asyncio.sleep(0.02)  # ten rounds
        gate.set()
    told = await asking
    assert told.status == 200
    assert house.line.calls[0].body == RAW


async def test_probes_are_answered_beside_the_path() -> None:
    house = House(Line(whole))
    told = await house.ask(path="/healthz", method="GET")
    assert (told.status, told.json["status"]) == (200, "healthy")
    assert house.records == []


async def test_a_head_has_the_headers_of_a_get() -> None:
    house = House(Line(whole), records=pool(ModelPolicy(registry_id="r1", allowed=("m-1",))))
    told = await house.ask(path="/v1/models", method="HEAD")
    assert (told.status, told.header(b"content-type")) == (200, "application/json")


async def test_quiet_once_nothing_is_under_way() -> None:
    gate = asyncio.Event()
    house = House(Line(gate))
    asking = asyncio.create_task(house.caller().call())
    await house.line.asked.wait()
    idle = asyncio.create_task(house.lifecycle.idle())
    await asyncio.sleep(0)
    assert (house.lifecycle.in_flight, idle.done()) == (1, False)
    gate.set()
    await asking
    await idle
    assert house.lifecycle.in_flight == 0


# What policies keep, and give back.


def keeping(seen: list[str], kept: object = "what was taken") -> Rule:
    async def pre_request() -> Proceed:
        return Proceed(kept=kept)

    async def refund(kept: object) -> None:
        seen.append(f"refund {kept}")

    async def post_response(outcome: Outcome, kept: object) -> None:
        seen.append(f"end {kept} {outcome.refused or outcome.status}")

    return rule(pre_request=pre_request, refund=refund, post_response=post_response)


def saying(verdict: object) -> Rule:
    async def pre_request() -> object:
        return verdict

    return rule(pre_request=pre_request, fields={"priority": 1})


async def test_a_policy_gives_back_what_a_later_refusal_did_not_use() -> None:
    seen: list[str] = []
    told = await House(Line(whole), keeping(seen), saying(Deny(code="no", message="No."))).ask()
    assert told.status == 403
    assert seen == ["refund what was taken", "end what was taken no"]


async def test_a_policy_gives_back_what_a_missing_target_did_not_use() -> None:
    seen: list[str] = []
    only = ModelPolicy(registry_id="r1", allowed=("other",))
    told = await House(Line(whole), keeping(seen), records=configured(consumer(model_policies=(only,)))).ask()
    assert (told.status, told.error["code"]) == (403, "model_not_allowed")
    assert seen[0] == "refund what was taken"


@pytest.mark.parametrize("later", [None, Answer(body=b"{}")])
async def test_what_was_used_is_not_given_back(later: object) -> None:
    seen: list[str] = []
    assert (await House(Line(whole), keeping(seen), saying(later)).ask()).status == 200
    assert seen == ["end what was taken 200"]


async def test_who_kept_nothing_gives_nothing_back() -> None:
    seen: list[str] = []
    await House(Line(whole), keeping(seen, None), saying(Deny(code="no", message="No."))).ask()
    assert seen == ["end None no"]


async def test_a_refund_that_waits_is_awaited_and_the_event_leaves_after_it() -> None:
    gate, seen = asyncio.Event(), list[str]()

    async def pre_request() -> Proceed:
        return Proceed(kept=1)

    async def refund() -> None:
        await gate.wait()
        seen.append("given back")

    house = House(Line(whole), rule(pre_request=pre_request, refund=refund), saying(Deny(code="no", message="No.")))
    assert (await house.caller().call()).status == 403
    assert not house.records
    gate.set()
    await house.settled()
    assert (seen, len(house.records)) == (["given back"], 1)


async def test_policies_that_send_a_request_in_a_circle_are_found_out() -> None:
    async def pre_call(target: Chosen) -> Proceed:
        return Proceed(model="b" if target.model == "a" else "a")

    line = Line(whole)
    told = await House(line, rule(pre_call=pre_call)).ask(ASKED | {"model": "a"})
    assert (told.status, told.error["code"]) == (503, "policy_conflict")
    assert not line.calls


async def test_policies_decide_anew_about_the_next_target() -> None:
    asked: list[str] = []

    async def pre_call(target: Chosen) -> Deny | None:
        asked.append(target.registry_id)
        return Deny(code="not_there", message="Not there.") if target.registry_id == "r2" else None

    records = configured(registry("r1"), registry("r2"), consumer("r1", "r2"))
    line = Line(UpstreamFailure("connect_failed", "nobody there"))
    told = await House(line, rule(pre_call=pre_call), records=records).ask()
    assert (told.status, told.error["code"]) == (403, "not_there")
    assert asked == ["r1", "r2"]
    assert len(line.calls) == 1


async def test_who_wants_to_see_the_answer_afterwards_sees_what_the_caller_saw() -> None:
    seen: list[str] = []

    async def post_response(answer: AnswerView | None) -> None:
        seen.append("nothing" if answer is None else f"{answer.text} {answer.streamed}")

    await House(Line(whole(completion("Hi"))), rule(post_response=post_response)).ask()
    await House(Line(live(*stream("Hi", " you"))), rule(post_response=post_response)).ask(ASKED | {"stream": True})
    await House(Line(live(stream("Hi")[0])), rule(post_response=post_response)).ask(ASKED | {"stream": True})
    await House(Line(whole(b"{}", status=500)), rule(post_response=post_response)).ask()
    assert seen == ["Hi False", "Hi you True", "nothing", "nothing"]
