"""What every provider really said, replayed by the upstream, is heard by strict clients of two dialects, and true."""

import asyncio
import dataclasses
import itertools
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from .place import PROVIDER_KEY, Place
from .program import Json
from .recorded_callers import Caller, Heard, OpenAICaller, callers
from .recorded_dialects import READERS
from .recorded_meaning import Meaning, Said, Tokens, tokens_of
from .recorded_pairs import Recording, index
from .recorded_sources import COMPLETIONS, EMBEDDINGS, RERANK, SOURCES, Source, open_sources
from .test_recorded_traffic import DATA, in_pieces, raw
from .upstream import CHUNKED, Exchange, Script, Upstream
from .wire import ask

pytestmark = [
    pytest.mark.skipif(not index(), reason=f"the recorded traffic is not here: {DATA}"),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),  # as recorded, so long ago
]

REPORTED = 25
"""Recordings of which a failure says what is wrong with them."""
NO_ANSWER: Mapping[str, tuple[str, str]] = {
    "openai-chat-e9a0027648": ("openai-chat", "the body was lost in the recording"),
    "openai-chat-f5ad9aaa1c": ("openai-chat", "the body was lost in the recording"),
    "openai-responses-2b39bb9666": ("openai-responses", "a count of tokens"),
    "cohere-chat-754a4cfff2": ("cohere-chat", "an answer of Cohere's first version, which is another dialect"),
    "cohere-chat-e8f2f67578": ("cohere-chat", "a stream of Cohere's first version, told as lines of JSON"),
    "ollama-api_chat-11b169dafb": ("ollama-chat", "an answer in Ollama's own dialect"),
    "bedrock-count_tokens-0d22ea0683": ("bedrock-converse", "a count of tokens"),
}
"""Bodies of status 200 that answer nothing: the source that says them, and why they are none."""
ENDS_IN_ERROR: Mapping[str, tuple[str, str]] = {
    "groq-chat-c1417dc041": (
        "groq-chat",
        "Groq found, while it was answering, that a call of a tool does not fit its schema",
    ),
}
"""Streams that break off with an error."""
EDITS: Mapping[str, set[str]] = {
    "azure": {"object", "choices.message"},
    "groq": {"service_tier", "usage"},
    "local-compat": {"service_tier"},
    "mistral": {"choices.message.tool_calls.type", "choices.message.content", "choices.message.reasoning_content"},
    "openrouter": {"service_tier", "choices.message.tool_calls.function.arguments"},
    "snowflakecomputing": {"service_tier", "choices.finish_reason"},
    "together": {"choices.finish_reason", "choices.native_finish_reason"},
}
"""Where those who speak almost OpenAI deviate, and where nothing but that may be put right."""
UNSEEN = {"usage"}
"""What strict clients do not miss: Groq's usage of a stream, which stands under another name."""
UNENDED: Mapping[str, tuple[str, str]] = {
    "writer-completions-945cb79db8": ("writer-completions", "pieces of text in a dialect of its own, and no end"),
}
"""Streams that say nothing of their end, as those do that were broken off."""
FOR_OPENAI: Mapping[str, str] = {
    "openai-chat-5396f64f2b": "asked with `functions`, which came before tools: only its own callers say them",
}
"""Recordings that only a caller of the same dialect can have been answered."""
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "counts of tokens": (
        *("anthropic count_tokens", "bedrock count-tokens", "gemini countTokens", "vertex countTokens"),
        "openai responses/input_tokens",
    ),
    "lists of models": ("cerebras models", "gemini models"),
    "stored responses": ("openai responses/{id}", "openai responses/compact"),
    "dialects that no provider of ours is asked in": (
        *("bedrock invoke", "bedrock invoke-with-response-stream", "ollama api/chat", "cohere v1/chat"),
        *("vertex embedContent", "vertex predict", "voyage rerank"),
    ),
}
"""What was recorded and is no answer to these callers, by the reason."""


def replay(recording: Recording) -> Script:
    """Answer as recorded, cut anywhere where it was live."""

    async def script(exchange: Exchange) -> None:
        head = (b"content-type", recording.kind.encode())
        if recording.live:
            await exchange.head(recording.status, head, CHUNKED)
            for piece in in_pieces(recording.body, recording.id):
                await exchange.chunk(piece)
                await asyncio.sleep(0)
            await exchange.end()
        else:
            await exchange.head(recording.status, head, (b"content-length", b"%d" % len(recording.body)))
            await exchange.write(recording.body)

    return script


@pytest.fixture(scope="module")
def truth(place: Place, server: Upstream) -> Place:
    """A gateway with a consumer for each source."""
    return open_sources(place, server)


@pytest.fixture(scope="module")
def both(truth: Place) -> Iterator[Mapping[str, Caller]]:
    """The two callers."""
    with callers(truth) as opened:
        yield opened


def expected(recording: Recording, source: Source, caller: Caller) -> Meaning:
    """Return what this caller must hear."""
    meaning = READERS[source.dialect](recording)
    choices = tuple(_for(said, caller) for said in meaning.choices)
    if caller.name == "openai":
        return Meaning(choices=choices, tokens=meaning.tokens)
    return Meaning(choices=choices[:1], tokens=meaning.tokens or Tokens(input=0, output=0, cached=0))


def _for(said: Said, caller: Caller) -> Said:
    end = said.finish[caller.word] if said.finish else ""
    if caller.name == "openai":
        return dataclasses.replace(said, finish=(end, "") if end else None)
    if said.refusal and end == "end_turn":
        end = "refusal"
    usual = "tool_use" if said.calls else "end_turn"
    return dataclasses.replace(said, text=said.text + said.refusal, refusal="", finish=("", end or usual))


def differences(heard: Meaning, wanted: Meaning) -> list[str]:
    """Return what is not as it must be."""
    found = []
    if len(heard.choices) != len(wanted.choices):
        found.append(f"{len(heard.choices)} choices, not {len(wanted.choices)}")
    for ours, theirs in zip(heard.choices, wanted.choices, strict=False):
        for name in ("text", "refusal", "thoughts", "calls", "finish"):
            got, true = getattr(ours, name), getattr(theirs, name)
            if comparable(name, got) != comparable(name, true):
                found.append(f"{name}: {str(got)[:300]!r} is not {str(true)[:300]!r}")
    if heard.tokens != wanted.tokens:
        found.append(f"{heard.tokens} is not {wanted.tokens}")
    return found


def comparable(name: str, value: Any) -> Any:
    """Dialects differ in how they keep several thoughts apart: what is between words is not compared in them."""
    return "".join(value.split()) if name == "thoughts" else value


def edits(recording: Recording, heard: Heard) -> set[str]:
    """Return which fields of an answer came otherwise than they were said, `bytes` if only their writing did."""
    if heard.body == recording.body:
        return set()
    said, came = recording.body.decode().splitlines(), heard.body.decode().splitlines()
    if not recording.live:
        return set(paths(recording.value, json.loads(heard.body))) or {"bytes"}
    pairs = [(a, b) for a, b in itertools.zip_longest(said, came, fillvalue="") if a != b]
    return {path for a, b in pairs for path in paths(event_of(a), event_of(b))} or {"bytes"}


def event_of(line: str) -> Any:
    """Return the data of an event's line, the line itself where it is no data."""
    _, data, rest = line.partition("data:")
    return json.loads(rest) if data and rest.strip() not in ("", "[DONE]") else line


def paths(said: Any, came: Any, at: str = "") -> Iterator[str]:
    """Yield the paths, without indices, at which two values differ."""
    if isinstance(said, dict) and isinstance(came, dict):
        for name in {**said, **came}:
            yield from paths(said.get(name), came.get(name), f"{at}.{name}".lstrip("."))
    elif isinstance(said, list) and isinstance(came, list) and len(said) == len(came):
        for before, after in zip(said, came, strict=True):
            yield from paths(before, after, at)
    elif said != came:
        yield at


def trouble(check: Callable[[], list[str]]) -> list[str]:
    """Return what a check finds, or what it raised: one bad recording must not hide the next."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported as a failure
        return [f"{type(error).__name__}: {str(error)[:600]}", *traceback.format_tb(error.__traceback__)[-1:]]


def heard_truly(recording: Recording, source: Source, caller: Caller, upstream: Upstream) -> list[str]:
    """Replay a recording to a caller and compare."""
    wanted = expected(recording, source, caller)
    tools = tuple(dict.fromkeys(name for said in wanted.choices for name, _ in said.calls))
    upstream.play(replay(recording))
    own = source.dialect == caller.name
    unmended = own and source.provider == caller.name
    heard = caller.ask(source.name, recording, tools, strict=recording.accepted is not False or not unmended)
    if recording.live:
        caller.check_stream(recording)
    edited = edits(recording, caller.ear.heard) if own else set()
    allowed = EDITS.get(source.recorded, set()) & (UNSEEN if recording.accepted else edited)
    return [*differences(heard, wanted), *(f"edited: {path}" for path in sorted(edited - allowed))]


def all_of(recordings: tuple[Recording, ...], check: Callable[[Recording], list[str]]) -> None:
    """Check every recording, and fail with what was found."""
    assert recordings
    found = {each.id: problems for each in recordings if (problems := trouble(partial(check, each)))}
    some = dict(itertools.islice(found.items(), REPORTED))
    assert not found, f"{len(found)} of {len(recordings)}:\n" + json.dumps(some, indent=1, ensure_ascii=False)


def of_sources(wanted: Callable[[Source], tuple[Recording, ...]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", [each for each in SOURCES if wanted(each)], ids=lambda source: source.name)


def test_nothing_that_was_recorded_is_forgotten() -> None:
    heard = {each.id for source in (*SOURCES, *EMBEDDINGS, *COMPLETIONS, *RERANK) for each in source.recordings}
    left = {operation(each) for each in index() if each.id not in heard}
    assert left == {name for names in ELSEWHERE.values() for name in names}


def operation(recording: Recording) -> str:
    """Return what was asked of whom, in the words of `ELSEWHERE`."""
    _, _, behind = recording.path.partition("/responses/")
    if behind:
        return f"{recording.provider} responses/{'{id}' if behind.startswith('resp_') else behind}"
    old = recording.provider == "cohere" and recording.path.startswith("/v1/")
    return f"{recording.provider} {'v1/' if old else ''}{recording.api}"


CALLERS = pytest.mark.parametrize("name", ["openai", "anthropic"])


@of_sources(lambda source: source.good)
@CALLERS
def test_a_strict_caller_hears_what_was_said(
    both: Mapping[str, Caller], upstream: Upstream, source: Source, name: str
) -> None:
    others = {*NO_ANSWER, *ENDS_IN_ERROR, *(FOR_OPENAI if name != "openai" else ())}
    good = tuple(each for each in source.good if each.id not in others)
    all_of(good, lambda each: heard_truly(each, source, both[name], upstream))


@pytest.mark.parametrize("identity", NO_ANSWER)
@CALLERS
def test_what_is_no_answer_is_said_to_be_none(
    both: Mapping[str, Caller], upstream: Upstream, identity: str, name: str
) -> None:
    source, _ = NO_ANSWER[identity]
    recording = found(identity)
    upstream.play(replay(recording))
    with pytest.raises(both[name].error) as raised:
        both[name].ask(source, recording, ())
    status, message = both[name].reason(raised.value)
    assert status == 502
    assert "provider" in message
    assert PROVIDER_KEY not in message


@pytest.mark.parametrize("identity", ENDS_IN_ERROR)
@CALLERS
def test_an_error_within_a_stream_is_the_callers_error(
    both: Mapping[str, Caller], upstream: Upstream, identity: str, name: str
) -> None:
    source, _ = ENDS_IN_ERROR[identity]
    recording = found(identity)
    wanted = next(event["error"]["message"] for event in recording.events if "error" in event)
    upstream.play(replay(recording))
    with pytest.raises(both[name].error) as raised:
        both[name].ask(source, recording, ("get_something_by_name",))
    assert both[name].reason(raised.value)[1] == wanted


def found(identity: str) -> Recording:
    """Return a recording."""
    return next(each for each in index() if each.id == identity)


def refused_truly(recording: Recording, source: Source, caller: Caller, upstream: Upstream) -> list[str]:
    """Replay an error to a caller and compare."""
    upstream.play(replay(recording))
    try:
        caller.ask(source.name, recording, ())
    except caller.error as error:
        raised = error
    status, message = caller.reason(raised)
    wanted = said_in(recording)
    name = type(raised).__name__
    return [
        *([] if name == TYPED[recording.status] else [f"{name} for {recording.status}"]),
        *([] if status == recording.status else [f"status {status}, not {recording.status}"]),
        *([] if message == wanted else [f"{message!r} is not {wanted!r}"]),
    ]


def said_in(recording: Recording) -> str:
    """Return the message of an error in any dialect."""
    error = recording.value.get("error", recording.value)
    return str(next(error[name] for name in ("message", "Message", "detail") if name in error))


TYPED = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
}
"""What both SDKs call it."""


@of_sources(lambda source: source.refusals)
@CALLERS
def test_a_providers_error_is_the_callers_error(
    both: Mapping[str, Caller], upstream: Upstream, source: Source, name: str
) -> None:
    all_of(source.refusals, lambda each: refused_truly(each, source, both[name], upstream))


# Vectors, scores and completions of old: to callers of OpenAI's embeddings, and byte for byte.


def vectors_of(said: Json) -> list[Any]:
    """Return the vectors of a recorded answer in any dialect."""
    if "data" in said:
        return [each["embedding"] for each in said["data"]]
    found = said["embeddings"]
    return list(found["float"]) if isinstance(found, dict) else [each["values"] for each in found]


def embedded_tokens(said: Json, source: Source) -> int:
    """Return what genai-prices counts."""
    known = {"cohere": ("cohere", "embeddings"), "google": ("google", "default"), "mistral": ("mistral", "default")}
    stated = said.get("usage") or said.get("meta") or said.get("usageMetadata")
    return tokens_of(said, *known.get(source.provider, ("openai", "embeddings"))).input if stated else 0


def embedded_truly(recording: Recording, source: Source, caller: OpenAICaller, upstream: Upstream) -> list[str]:
    """Replay vectors and compare."""
    vectors = vectors_of(recording.value)
    texts = [f"text {at}" for at in range(len(vectors))]
    upstream.play(replay(recording))
    encoded = isinstance(vectors[0], str)
    heard = caller.embed(source.name, recording, texts, "base64" if encoded else "float")
    problems = [] if heard.vectors == vectors else ["other vectors"]
    if source.dialect == "openai":
        return problems if caller.ear.heard.body == recording.body else [*problems, "other bytes"]
    usual = caller.embed(source.name, recording, texts).vectors
    as_floats = [pytest.approx(vector, rel=1e-6) for vector in vectors]
    tokens = embedded_tokens(recording.value, source)
    return [
        *problems,
        *([] if usual == as_floats else ["other vectors in base64"]),
        *([] if heard.tokens == tokens else [f"{heard.tokens} tokens, not {tokens}"]),
    ]


@pytest.mark.parametrize("source", EMBEDDINGS, ids=lambda source: source.name)
def test_vectors_are_what_they_were(both: Mapping[str, Any], upstream: Upstream, source: Source) -> None:
    all_of(source.good, lambda each: embedded_truly(each, source, both["openai"], upstream))


@pytest.mark.parametrize("source", [each for each in EMBEDDINGS if each.refusals], ids=lambda source: source.name)
def test_an_error_instead_of_vectors_is_the_callers_error(
    both: Mapping[str, Any], upstream: Upstream, source: Source
) -> None:
    for recording in source.refusals:
        upstream.play(replay(recording))
        with pytest.raises(both["openai"].error) as raised:
            both["openai"].embed(source.name, recording, ["text"], "float")
        assert type(raised.value).__name__ == TYPED[recording.status]
        assert said_in(recording) in raised.value.response.text


def unchanged(recording: Recording, path: str, truth: Place, upstream: Upstream) -> list[str]:
    """Replay an answer to whoever asks as recorded; it must come back byte for byte."""
    upstream.play(replay(recording))
    headers = {"content-type": "application/json", **truth.headers}
    said = ask(truth.port, "POST", path, headers, raw(recording.pair["request"]))
    same = (said.status, said.body) == (recording.status, recording.body)
    return [] if same and said.whole else [f"{said.status}: {said.body[:200]!r}"]


@pytest.mark.parametrize("source", RERANK, ids=lambda source: source.name)
def test_scores_come_back_byte_for_byte(truth: Place, upstream: Upstream, source: Source) -> None:
    all_of(source.good, lambda each: unchanged(each, f"/{source.name}/v2/rerank", truth, upstream))


@pytest.mark.parametrize("source", COMPLETIONS, ids=lambda source: source.name)
def test_completions_come_back_byte_for_byte(truth: Place, upstream: Upstream, source: Source) -> None:
    whole = tuple(each for each in source.recordings if each.id not in UNENDED)
    all_of(whole, lambda each: unchanged(each, f"/{source.name}/v1/completions", truth, upstream))


@pytest.mark.parametrize("identity", UNENDED)
def test_a_stream_that_never_says_its_end_is_cut(truth: Place, upstream: Upstream, identity: str) -> None:
    recording = found(identity)
    upstream.play(replay(recording))
    headers = {"content-type": "application/json", **truth.headers}
    said = ask(truth.port, "POST", f"/{UNENDED[identity][0]}/v1/completions", headers, raw(recording.pair["request"]))
    assert said.body.startswith(recording.body)
    assert not said.whole
