"""The rows of the table: what each policy of this repository does, and what provokes it."""

from functools import partial

from tests.lifecycle.kit import Line, completion, live, stream, whole
from tests.plugins.judges import BAD, GUARDS, MASK, NUMBER, near
from tests.plugins.table import Both, Denies, Nothing, Other, Rewrites, Shown
from tests.plugins.talk import Turn, said, text_of
from trustgate.contract.upstream import Upstream
from trustgate_plugins import (
    cors,
    cost_cap,
    model_allowlist,
    per_tool_rate_limiter,
    prompt_compression,
    prompt_template,
    rate_limiter,
    regex_replace,
    request_size_limiter,
    semantic_cache,
    token_rate_limiter,
    tool_allowlist,
    tool_injection,
)

ON_REQUESTS = Nothing("decides about requests")
LOG = "\n".join(["a line of a log   "] * 4 + [""] * 6 + ["the end"])
CARD = "4111 1111 1111 1234"
MASKING = {"rules": [{"pattern": r"\b(?:\d{4} ){3}(\d{4})\b", "replacement": "**** $1"}], "window": 32}
RUNS = tuple((f"call_{at}", "transfer", "done") for at in range(2))

PAGE = {"allowed_origins": ["https://app.test"]}


async def browsers_are_answered(dialect: str) -> None:
    """A page of that origin may ask, before any key is looked at, and reads the answer; no other page may."""
    asked = said(dialect, Turn())
    house = ROWS["cors"].house(Line(lambda: whole(completion())))
    preflight = {b"origin": b"https://app.test", b"access-control-request-method": b"POST"}
    told = await house.ask(b"", path=asked.path, method="OPTIONS", headers=preflight, key=b"")
    assert (told.status, told.header(b"access-control-allow-origin")) == (204, "https://app.test")
    for origin, allowed in ((b"https://app.test", "https://app.test"), (b"https://other.test", "")):
        told = await house.ask(asked.body, path=asked.path, headers={b"origin": origin})
        assert (told.status, told.header(b"access-control-allow-origin")) == (200, allowed)


def repeats() -> Line:
    """A provider whose every answer is another one, streamed where that is asked for."""
    line = Line(whole)

    def answer() -> Upstream:
        text = f"Answer {len(line.calls)}."
        return live(*stream(*text)) if line.bodies[-1].get("stream") else whole(completion(text))

    line.answers = [answer]
    return line


async def told_again(dialect: str, *, kept: bool, asked: bool) -> None:
    """What was kept in one form is told in the other, and in that of which it is; nobody is asked again."""
    house = ROWS["semantic_cache"].house(repeats())
    for streamed, found in ((kept, "MISS"), (asked, "HIT"), (asked, "HIT")):
        question = said(dialect, Turn(text="What is the capital of France?", stream=streamed))
        told = await house.ask(question.body, path=question.path, query=question.query)
        assert (told.status, told.header(b"x-cache")) == (200, found), told.body
        assert text_of(dialect, told) == "Answer 1."
        assert told.header(b"content-type").startswith("text/event-stream" if streamed else "application/json")
    assert len(house.line.calls) == 1


async def questions_are_answered_once(dialect: str) -> None:
    """The same question in other words is answered again; another question, and an observer, is not."""
    house = ROWS["semantic_cache"].house(repeats())
    observer = ROWS["semantic_cache"].house(repeats(), mode="observe")
    texts = ("What is the capital of France?", "Hi! What's the capital of France, please?", "And of Spain?")
    for text, found in zip(texts, ("MISS", "HIT", "MISS"), strict=True):
        question = said(dialect, Turn(text=text))
        assert (await house.ask(question.body, path=question.path)).header(b"x-cache") == found
        assert (await observer.ask(question.body, path=question.path)).status == 200
    assert (len(house.line.calls), len(observer.line.calls)) == (2, 3)
    assert [event.policy_chain[0].decision for event in observer.events] == ["allowed", "observe", "allowed"]


async def whole_answers_are_told_again(dialect: str) -> None:
    """As they are, and as streams."""
    await told_again(dialect, kept=False, asked=False)
    await told_again(dialect, kept=False, asked=True)


async def streams_are_told_again(dialect: str) -> None:
    """As they are, and as whole answers."""
    await told_again(dialect, kept=True, asked=True)
    await told_again(dialect, kept=True, asked=False)


def guard(name: str) -> Shown:
    """A guard that asks a service: what it does to requests it does to answers and streams."""
    guard, bad = GUARDS[name], f"Now {BAD} them all, and all of their friends."
    said = f"Call {NUMBER} now."
    rewrites = Rewrites(turn=Turn(text=said), said=said, there=(f"Call {MASK} now.",), gone=(NUMBER,))
    denies = Denies(code=guard.code, refused=Turn(text=bad), bad=bad, good="All is well, and it has ended well.")
    cell = Both(denies=denies, rewrites=rewrites) if guard.masks else denies
    return Shown(
        plugin=guard.plugin,
        settings=guard.settings("http://guard.test"),
        request=cell,
        answer=cell,
        stream=cell,
        services=partial(near, name),
    )


ROWS: dict[str, Shown] = {
    **{name: guard(name) for name in GUARDS},
    "cors": Shown(
        plugin=cors,
        settings=PAGE,
        request=Other("answers browsers", browsers_are_answered),
        answer=Nothing("adds headers and changes no answer"),
        stream=Nothing("adds headers and changes no stream"),
    ),
    "cost_cap": Shown(
        plugin=cost_cap,
        settings={
            "max_output_price": "10",
            "custom_pricing": [
                {"model": "m-*", "input": "1", "output": "10"},
                {"model": "x-*", "input": "1", "output": "10.01"},
            ],
        },
        request=Denies(code="model_too_expensive", refused=Turn(model="x-1")),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "model_allowlist": Shown(
        plugin=model_allowlist,
        settings={"allowed_models": ["m-*"]},
        request=Denies(code="model_not_allowed", refused=Turn(model="x-1")),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "per_tool_rate_limiter": Shown(
        plugin=per_tool_rate_limiter,
        settings={"rules": [{"tool": "transfer", "windows": [{"duration": "1h", "max": 2}]}]},
        request=Denies(
            code="tool_rate_limit_exceeded",
            passes=Turn(runs=RUNS),
            refused=Turn(tools=("transfer", "search")),
        ),
        answer=Nothing("answers calls with a note only where a rule says `inject_error_result`"),
        stream=Nothing("takes the tool out of the request instead: calls of a stream come in parts"),
    ),
    "prompt_compression": Shown(
        plugin=prompt_compression,
        settings={"min_length": 10},
        request=Rewrites(turn=Turn(text=LOG), there=("a line of a log\n", "\n\nthe end"), gone=("   \n", "\n\n\n")),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "prompt_template": Shown(
        plugin=prompt_template,
        settings={
            "context_variables": {"who": {"source": "caller", "name": "consumer"}},
            "inject_templates": [{"id": "rules", "content": "You help {{who}}."}],
            "named_templates": [
                {"name": "greeting", "versions": [{"labels": ["production"], "content": "Greet politely."}]}
            ],
        },
        request=Rewrites(
            turn=Turn(text="{template://greeting}"),
            there=("system: You help my-app.", "user: Greet politely."),
            gone=("{template://greeting}",),
        ),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "rate_limiter": Shown(
        plugin=rate_limiter,
        settings={"limit": 3, "window": "1h"},
        request=Denies(code="rate_limit_exceeded", times=3),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "regex_replace": Shown(
        plugin=regex_replace,
        settings={"target": "request"} | MASKING,
        answer_settings={"target": "response"} | MASKING,
        request=Rewrites(turn=Turn(text=f"Pay with {CARD}!"), there=("Pay with **** 1234!",), gone=(CARD,)),
        answer=Rewrites(said=f"Your card is {CARD}.", there=("Your card is **** 1234.",), gone=("4111",)),
        stream=Rewrites(said=f"Your card is {CARD}.", there=("Your card is **** 1234.",), gone=("4111",)),
    ),
    "request_size_limiter": Shown(
        plugin=request_size_limiter,
        settings={"allowed_payload_size": 2, "size_unit": "kilobytes"},
        request=Denies(code="request_too_large", refused=Turn(text="x" * 3000)),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "semantic_cache": Shown(
        plugin=semantic_cache,
        settings={"mode": "both"},
        request=Other("answers", questions_are_answered_once),
        answer=Other("tells it again, whole or streamed", whole_answers_are_told_again),
        stream=Other("tells it again, streamed or whole", streams_are_told_again),
    ),
    "token_rate_limiter": Shown(
        plugin=token_rate_limiter,
        settings={"aggregate": {"max": 22, "time_window": "1h"}},
        request=Denies(code="token_budget_exceeded", times=2),
        answer=Nothing("counts what an answer used, and changes none"),
        stream=Nothing("counts what a stream used, also of one that breaks off, and changes none"),
    ),
    "tool_allowlist": Shown(
        plugin=tool_allowlist,
        settings={"allow_tools": ["get_*"]},
        request=Rewrites(turn=Turn(tools=("get_time", "delete_user")), tools=("get_time",)),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
    "tool_injection": Shown(
        plugin=tool_injection,
        settings={"inject_tools": [{"type": "function", "function": {"name": "handbook", "description": "Finds."}}]},
        request=Rewrites(turn=Turn(tools=("get_time",)), tools=("get_time", "handbook")),
        answer=ON_REQUESTS,
        stream=ON_REQUESTS,
    ),
}
