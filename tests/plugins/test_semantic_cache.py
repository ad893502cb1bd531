"""Answers told again, through a whole proxy: what is a hit, what never is, in which form, and what it costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lifecycle.kit import (
    ASKED,
    DONE,
    KEY,
    House,
    Line,
    Told,
    completion,
    configured,
    consumer,
    gateway,
    live,
    registry,
    says,
    stream,
    text_of,
    whole,
)
from tests.plugins.house import rule_of
from tests.plugins.talk import DIALECTS, Turn, said
from tests.plugins.talk import text_of as said_in
from tests.service import Question, Reply, Service, hang
from tests.world import services
from trustgate.config.records import ApiKeyAuth, Auth, ProviderAuth
from trustgate.config.snapshot import build
from trustgate.connections import RedisVariables
from trustgate.contract.upstream import Clocks, UpstreamFailure
from trustgate.embedding import RegistryEmbedder
from trustgate.forwarding.transport import Pool
from trustgate.providers import hashing
from trustgate.providers.credentials import Credentials
from trustgate.state.redis_cache import RedisCache
from trustgate.state.redis_link import Link
from trustgate_plugins import regex_replace, semantic_cache, token_rate_limiter
from trustgate_plugins.semantic_cache.facts import facts

pytestmark = pytest.mark.anyio
ANYTHING = {"mode": "semantic", "similarity_threshold": 0.0001, "match_words": False}
"""As careless as it can be set: only what has to be equal keeps two questions apart."""


def cached(house_line: Line | None = None, *others: Any, records: Any = None, **fields: Any) -> House:
    """A proxy with the cache; `settings` and fields of the policy are named, and services besides."""
    kept = {name: fields.pop(name) for name in ("embedder", "cache", "vectors", "variables") if name in fields}
    rule = rule_of(semantic_cache, fields.pop("settings", {}), **fields)
    return House(house_line or numbered(), rule, *others, records=records, **kept)


def numbered() -> Line:
    """A provider whose every answer is another, whole or streamed as it is asked."""
    line = Line(whole)

    def answer() -> Any:
        number = len(line.calls)
        if line.bodies[-1].get("stream"):
            return live(*stream("Answer ", f"number {number}"))
        return whole(completion(f"Answer number {number}"))

    line.answers = [answer]
    return line


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return ASKED | {"messages": [{"role": "user", "content": text}]} | fields


def hit(told: Told) -> bool:
    assert told.status == 200, told.body
    assert told.header(b"x-cache") == told.header(b"x-cache-status")
    return {"HIT": True, "MISS": False}[told.header(b"x-cache")]


async def test_the_same_question_is_answered_once() -> None:
    house = cached()
    first, second, third = [await house.ask(asking(text)) for text in ("Hello!", "Hello!", "Something else?")]
    assert [hit(told) for told in (first, second, third)] == [False, True, False]
    assert second.body == first.body
    assert second.header(b"content-type") == "application/json"
    assert second.header(b"x-cache-similarity") == ""
    assert len(house.line.calls) == 2


async def test_the_same_question_in_other_words_is_found_and_says_how_similar() -> None:
    house = cached()
    await house.ask(asking("What is the capital of France?"))
    told = await house.ask(asking("Hi! What's the capital of France, please?"))
    assert hit(told)
    assert 0.95 <= float(told.header(b"x-cache-similarity")) < 1
    finding = house.events[-1].policy_chain[0]
    assert finding.decision == "answered"
    assert finding.details is not None
    assert (finding.details.match_type, finding.details.cache_hit) == ("semantic", True)


async def test_exact_means_exact() -> None:
    house = cached(settings={"mode": "exact"})
    await house.ask(asking("What is the capital of France?"))
    assert not hit(await house.ask(asking("what is the capital of France?")))
    assert hit(await house.ask(asking("What is the capital of France?")))


async def test_a_hit_costs_nothing_and_says_what_it_saved() -> None:
    budget = rule_of(token_rate_limiter, {"aggregate": {"max": 100_000, "time_window": "1h"}})
    house = cached(Line(lambda: whole(completion(model="gpt-4o"))), budget)
    asked = asking("Hello!", model="gpt-4o")
    before = int((await house.ask(asked)).header(b"x-ratelimit-remaining-tokens"))
    spent = house.events[-1]
    assert spent.cost is not None
    told = await house.ask(asked)
    assert hit(told)
    event = house.events[-1]
    assert (event.usage, event.cost, event.attempts) == (None, None, ()), "nobody was asked"
    details = event.policy_chain[0].details
    assert (details.saved_input_tokens, details.saved_output_tokens) == (9, 2)
    assert details.saved_usd == spent.cost.total_usd
    third = await house.ask(asking("Howdy!", model="gpt-4o"))
    assert int(third.header(b"x-ratelimit-remaining-tokens")) == before - 11, "the hit used nothing"


@pytest.mark.parametrize("kept", [False, True], ids=["kept whole", "kept as a stream"])
@pytest.mark.parametrize("asked", [False, True], ids=["asked whole", "asked as a stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_is_told_in_the_form_that_is_asked_for(dialect: str, kept: bool, asked: bool) -> None:
    house = cached()
    first = await ask(house, dialect, stream=kept)
    again = await ask(house, dialect, stream=asked)
    assert (hit(first), hit(again)) == (False, True)
    assert said_in(dialect, again) == said_in(dialect, first) == "Answer number 1"
    assert again.header(b"content-type").startswith("text/event-stream" if asked else "application/json")
    assert again.ended
    if kept == asked:
        assert again.body == first.body
    event = house.events[-1]
    assert (event.status.code, event.response.streaming, event.usage) == (200, asked, None)


async def ask(house: House, dialect: str, **turn: Any) -> Told:
    asked = said(dialect, Turn(**turn))
    return await house.ask(asked.body, path=asked.path, query=asked.query)


async def test_gemini_is_told_an_array_where_it_asks_for_one() -> None:
    house = cached()
    asked = said("gemini", Turn(stream=True))
    told = [await house.ask(asked.body, path=asked.path) for _ in range(2)]
    assert [hit(each) for each in told] == [False, True]
    assert told[1].json == told[0].json
    assert isinstance(told[1].json, list)


async def test_usage_in_a_stream_is_told_to_those_who_ask_for_it() -> None:
    house = cached()
    await house.ask(asking("Hello!", stream=True))
    told = await house.ask(asking("Hello!", stream=True, stream_options={"include_usage": True}))
    assert hit(told)
    assert text_of(told.body) == "Answer number 1"
    assert b'"prompt_tokens":9' in told.body
    assert told.body.endswith(DONE)
    plain = await house.ask(asking("Hello!"))
    assert hit(plain)
    assert plain.json["usage"]["completion_tokens"] == 2


async def test_what_has_one_form_only_is_told_in_that() -> None:
    house = cached(Line(lambda: whole(b'{"id":"x","object":"text_completion","choices":[{"text":"Hi","index":0}]}')))
    asked = {"model": "m-1", "prompt": "Hello!"}
    path = "/my-app/v1/completions"
    told = [await house.ask(asked, path=path) for _ in range(2)]
    assert [hit(each) for each in told] == [False, True]


# What is never a hit.

OTHER = b"ag_other"


def two_consumers(**fields: Any) -> list[Any]:
    """Two consumers of one gateway, each with its key and the same policy."""
    other = consumer(id="c2", slug="other-app", auth_ids=("a2",))
    key = Auth(id="a1", gateway_id="g1", name="key", key_hash=sha256(KEY).hexdigest())
    return configured(
        consumer(), other, key, Auth(id="a2", gateway_id="g1", name="key 2", key_hash=sha256(OTHER).hexdigest())
    )


async def test_no_consumer_hears_what_another_was_told_unless_that_is_wanted() -> None:
    for scope, told_too in (("consumer", False), ("global", True)):
        house = cached(settings={"scope": scope}, records=two_consumers(), consumer_ids=("c1", "c2"))
        assert not hit(await house.ask())
        path = "/other-app/v1/chat/completions"
        assert hit(await house.ask(path=path, key=OTHER)) == told_too
        assert hit(await house.ask())


async def test_no_gateway_hears_what_another_was_told() -> None:
    records = configured(
        gateway(),
        gateway(id="g2", slug="demo-2", name="Other"),
        registry(),
        registry("r2", gateway_id="g2"),
        consumer(),
        consumer("r2", id="c2", gateway_id="g2", auth_ids=("a2",)),
        Auth(id="a1", gateway_id="g1", name="key", key_hash=sha256(KEY).hexdigest()),
        Auth(id="a2", gateway_id="g2", name="key", key_hash=sha256(OTHER).hexdigest()),
    )
    world = services()
    rules = [
        rule_of(semantic_cache, ANYTHING | {"scope": "global"}, consumer_ids=("c1",)),
        rule_of(semantic_cache, ANYTHING | {"scope": "global"}, consumer_ids=("c2",), gateway_id="g2"),
    ]
    house = House(numbered(), *rules, records=records, cache=world.cache, vectors=world.vectors)
    assert not hit(await house.ask())
    assert not hit(await house.ask(key=OTHER))
    assert hit(await house.ask(key=OTHER))


BASE: dict[str, Any] = {
    "model": "m-1",
    "messages": [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "I have a dog."},
        {"role": "assistant", "content": "Nice."},
        {"role": "user", "content": "tell me something about it"},
    ],
    "temperature": 0.5,
    "seed": 7,
}


def changed(at: int, text: str) -> dict[str, Any]:
    messages = [dict(message) for message in BASE["messages"]]
    messages[at]["content"] = text
    return BASE | {"messages": messages}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ELSE: dict[str, dict[str, Any]] = {
    "model": BASE | {"model": "m-2"},
    "system prompt": changed(0, "You are brief!"),
    "history": changed(1, "I have a cat."),
    "an answer before": changed(2, "Nice!"),
    "one message more": BASE | {"messages": [BASE["messages"][0], *BASE["messages"]]},
    "roles": BASE | {"messages": [BASE["messages"][0] | {"role": "developer"}, *BASE["messages"][1:]]},
    "a parameter": BASE | {"temperature": 0.6},
    "another parameter": BASE | {"seed": 8},
    "a parameter more": BASE | {"top_p": 0.9},
    "a format": BASE | {"response_format": {"type": "json_object"}},
    "tools": BASE | {"tools": [TOOL]},
    "the user": BASE | {"user": "u-1"},
    "a picture": BASE
    | {
        "messages": [
            *BASE["messages"][:3],
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "tell me something about it"},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                ],
            },
        ]
    },
    "a number": changed(3, "tell me 2 somethings about it"),
    "a number in words": changed(3, "tell me two things about it"),
    "a number of another script": changed(3, "tell me ٣ things about it"),
    "a name": changed(3, "tell me something about Berlin"),
    "another name": changed(3, "tell me something about Bern"),
    "a denial": changed(3, "tell me nothing about it"),
    "another denial": changed(3, "don't tell me something about it"),
    "a quote": changed(3, 'tell me something about "it"'),
    "an address": changed(3, "tell me something about it.example.com/a"),
    "no name in a script without capitals": changed(3, "介绍一下柏林"),
    "a name in a script without capitals": changed(3, "介绍一下伯尔尼"),
}


@pytest.mark.parametrize("what", ELSE)
async def test_whatever_differs_is_another_question_however_similar(what: str) -> None:
    house = cached(settings=ANYTHING | {"skip_if_tools_present": False})
    assert not hit(await house.ask(BASE))
    assert not hit(await house.ask(ELSE[what])), f"told in spite of {what}"
    assert hit(await house.ask(ELSE[what]))
    assert hit(await house.ask(changed(3, "something about it you tell me, whatever you like")))


async def test_every_variant_is_another_question_than_every_other() -> None:
    house = cached(settings=ANYTHING | {"skip_if_tools_present": False})
    for asked in ELSE.values():
        assert not hit(await house.ask(asked))
    assert len(house.line.calls) == len(ELSE)


TEXTS = st.lists(
    st.sampled_from(("the", "sum", "of", "Paris", "not", "please", "two", "№", "x", "a-b", "é", "?", "\n", "“q”")),
    max_size=8,
).map(" ".join)
NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.sampled_from(("½", "XIV", "٣", "三", "0x1F", "1e9", "12:30", "2024-01-02", "v2.1", "third")),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TEXTS, after=TEXTS, numbers=st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] != pair[1]))
async def test_no_answer_is_told_for_another_number(before: str, after: str, numbers: tuple[str, str]) -> None:
    house = cached(settings=ANYTHING)
    first, second = (f"{before} {number} {after}" for number in numbers)
    assert not hit(await house.ask(asking(first)))
    told = await house.ask(asking(second))
    assert not hit(told), (first, second)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_facts_are_of_the_text_alone(one: str, other: str) -> None:
    assert facts(one) == facts(one)
    if facts(one) != facts(other):
        assert one != other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the capital of France?", "Tell me the capital of France"),
        ("How old is Ada Lovelace?", "the age of Ada Lovelace?"),
        ("Explain recursion", "Describe recursion"),
        ("please summarise this. Thank you", "Summarize this. thank you"),
    ],
)
def test_facts_do_not_hang_on_how_it_is_asked(one: str, other: str) -> None:
    assert facts(one) == facts(other)


# What is not kept.


@pytest.mark.parametrize(
    "line",
    [
        lambda: live(says("Hal"), UpstreamFailure("connection_lost", "")),
        lambda: live(says("Half an answer")),
        lambda: whole(b'{"error":{"message":"busy"}}', status=503),
    ],
    ids=["cut", "without an end", "an error"],
)
async def test_what_is_no_whole_good_answer_is_not_kept(line: Callable[[], Any]) -> None:
    house = cached(Line(line, line, lambda: live(*stream("Well"))))
    asked = asking("Hello!", stream=True)
    await house.ask(asked)
    assert (await house.ask(asked)).header(b"x-cache") == "MISS"
    assert not hit(await house.ask(asked))
    assert hit(await house.ask(asked))


async def test_what_a_cheaper_model_answered_is_not_told_for_a_dearer_one() -> None:
    budget = {
        "rules": [{"model": "m-1", "max": 11, "time_window": "1h"}],
        "behavior_on_exceeded": "downgrade_model",
        "downgrade_to": "m-2",
    }
    house = cached(None, rule_of(token_rate_limiter, budget), settings={"mode": "exact"})
    await house.ask(asking("first"))
    await house.ask(asking("second"))
    assert house.line.bodies[-1]["model"] == "m-2"
    assert not hit(await house.ask(asking("second")))


async def test_answers_that_are_too_large_are_not_kept() -> None:
    house = cached(Line(lambda: whole(completion("x" * 2000))), settings={"max_answer_bytes": 1000})
    assert [hit(await house.ask()) for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    ("fields", "headers", "why"),
    [
        ({}, {b"x-cache-bypass": b"1"}, "bypass"),
        ({}, {b"cache-control": b"No-Cache"}, "bypass"),
        ({"tools": [TOOL]}, {}, "tools"),
        ({"stream": True}, {}, "streaming"),
    ],
)
async def test_who_wants_no_cache_is_neither_told_from_it_nor_kept_in_it(
    fields: Mapping[str, Any], headers: Mapping[bytes, bytes], why: str
) -> None:
    house = cached(settings={"skip_if_streaming": True})
    for _ in range(2):
        assert not hit(await house.ask(asking("Hello!", **fields), headers=headers))
        details = house.events[-1].policy_chain[0].details
        assert details.skip_reason == why
    assert not hit(await house.ask(asking("Hello!")))
    assert len(house.line.calls) == 3


async def test_fields_that_do_not_count_may_differ() -> None:
    house = cached(settings={"ignored_fields": ["user"]})
    await house.ask(asking("Hello!", user="u-1"))
    assert hit(await house.ask(asking("Hello!", user="u-2")))
    assert not hit(await house.ask(asking("Hello!", metadata={"a": "b"})))


async def test_an_observer_only_looks() -> None:
    house = cached(mode="observe")
    bodies = [(await house.ask()).json["choices"][0]["message"]["content"] for _ in range(2)]
    assert bodies == ["Answer number 1", "Answer number 2"]
    finding = house.events[-1].policy_chain[0]
    assert finding.decision == "observe"
    assert finding.details.cache_hit


# Policies for answers see what is told again.

MASK = {"target": "response", "rules": [{"pattern": "number", "replacement": "no."}], "window": 16}


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_told_again_is_judged_again(streamed: bool) -> None:
    house = cached()
    asked = asking("Hello!", stream=streamed)
    await house.ask(asked)
    guarded = House(
        house.line,
        rule_of(semantic_cache, {}),
        rule_of(regex_replace, MASK),
        cache=house.services.cache,
        vectors=house.services.vectors,
    )
    told = await guarded.ask(asked)
    assert hit(told)
    text = text_of(told.body) if streamed else told.json["choices"][0]["message"]["content"]
    assert text == "Answer no. 1"
    assert len(guarded.line.calls) == 1


# Who makes the vectors, and where they are.


class Vendor:
    """A provider of embeddings on a real socket."""

    def __init__(self) -> None:
        self.service = Service(self.answer)
        self.reply: Callable[[Question], Any] | None = None

    def answer(self, question: Question) -> Any:
        if self.reply is not None:
            return self.reply(question)
        vectors = [[7.0 * value for value in hashing.embed(text.lower())] for text in question.json["input"]]
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return Reply({"object": "list", "data": data[::-1], "model": "e-1", "usage": {"prompt_tokens": 5}})

    def house(self, **fields: Any) -> House:
        vendor = registry(
            "r9",
            name="vendor",
            provider_options={"base_url": f"{self.service.url}/v1"},
            auth=ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="sk-secret-embedder")),
        )
        records = configured(registry(), vendor)
        embedder = RegistryEmbedder(Pool(), Credentials(), Clocks(), "1.0")
        embedder.swap(build(1, records))
        chosen = {"mode": "semantic", "embedding": {"registry": "vendor", "model": "e-1", "timeout": "300ms"}}
        return cached(records=records, embedder=embedder, settings=chosen | fields.pop("settings", {}), **fields)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    async with vendor.service:
        yield vendor


async def test_a_registry_makes_the_vectors(vendor: Vendor) -> None:
    house = vendor.house(settings={"similarity_threshold": 0.5})
    assert not hit(await house.ask(asking("how do I reset my password")))
    assert hit(await house.ask(asking("how can I reset my password now")))
    asked = vendor.service.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/embeddings", "Bearer sk-secret-embedder")
    assert asked.json == {"model": "e-1", "input": ["how do I reset my password"], "encoding_format": "float"}
    details = house.events[-1].policy_chain[0].details
    assert details.embedding_tokens == 5


@pytest.mark.parametrize(
    "reply",
    [
        lambda _: Reply({"error": {"message": "no"}}, status=500),
        lambda _: Reply(b"<html>"),
        lambda _: Reply({"data": []}),
        lambda _: Reply({"data": [{"index": 0, "embedding": [0.0, 0.0]}]}),
        hang,
    ],
    ids=["fails", "garbage", "none", "zero", "hangs"],
)
async def test_an_embedder_that_fails_costs_no_answer(vendor: Vendor, reply: Callable[[Question], Any]) -> None:
    vendor.reply = reply
    house = vendor.house()
    for number in range(1, 6):
        async with asyncio.timeout(1.5):
            told = await house.ask()
        assert told.json["choices"][0]["message"]["content"] == f"Answer number {number}"
        assert told.header(b"x-ag-policy-degraded") == "guard_0"
    assert house.events[-1].policy_chain[0].decision == "failed_open"
    assert len(vendor.service.asked) == 3, "one that keeps failing is left alone"
    assert "sk-secret-embedder" not in json.dumps([str(event) for event in house.events])


async def test_a_registry_that_there_is_not_is_no_embedder() -> None:
    house = cached(settings={"embedding": {"registry": "nobody", "model": "e-1"}})
    told = await house.ask()
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (200, "guard_0")


async def test_a_store_that_is_gone_costs_no_answer() -> None:
    link = Link(RedisVariables(host="127.0.0.1", port=1))
    await link.open()
    house = cached(cache=RedisCache(link))
    for number in range(1, 3):
        told = await house.ask()
        assert told.json["choices"][0]["message"]["content"] == f"Answer number {number}"
        assert told.header(b"x-ag-policy-degraded") == "guard_0"
    await link.aclose()


async def test_a_store_that_the_process_has_not_costs_no_answer() -> None:
    house = cached(settings={"vector_store": "pgvector"})
    told = await house.ask()
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (200, "guard_0")
    assert hit(await cached(settings={"vector_store": "in_memory"}).ask()) is False


async def test_a_request_that_cannot_be_read_goes_on() -> None:
    house = cached()
    told = await house.ask({"model": "m-1", "messages": "none"})
    assert (told.status, told.header(b"x-ag-policy-degraded")) == (200, "guard_0")


async def test_two_caches_on_one_consumer_both_work() -> None:
    house = cached(None, rule_of(semantic_cache, {"mode": "exact"}))
    assert not hit(await house.ask())
    assert hit(await house.ask())
    assert len(house.line.calls) == 1


@pytest.mark.parametrize(
    ("wrong", "said_of_it"),
    [
        ({"similarity_threshold": 0}, "similarity_threshold"),
        ({"similarity_threshold": 1.01}, "similarity_threshold"),
        ({"ttl": "0s"}, "ttl"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"mode": "vague"}, "mode"),
        ({"scope": "world"}, "scope"),
        ({"vector_store": "chroma"}, "vector_store"),
        ({"bypass_header": "x y"}, "bypass_header"),
        ({"embedding": {"registry": "vendor"}}, "embedding.model"),
        ({"embedding": {"model": "e-1"}}, "embedding.model"),
        ({"embedding": {"registry": "vendor", "model": "e-1", "timeout": "0s"}}, "timeout"),
        ({"cache_only_on_status": [404]}, "cache_only_on_status"),
        ({"max_answer_bytes": 0}, "max_answer_bytes"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(wrong: Mapping[str, Any], said_of_it: str) -> None:
    with pytest.raises(ValueError, match=said_of_it):
        msgspec.convert(dict(wrong), semantic_cache.settings_type())
