"""What goes wrong at a provider, as each SDK raises it: class, status, code, wait and words are kept."""

import gzip
import json
from itertools import product

import pytest

from tests.e2e.upstream import JSON, Exchange, Script, answer

from .callers.problems import KINDS, RAISED, Problem, problem_of
from .callers.registry import CALLERS
from .cells import expected
from .dialects.bedrock import frame
from .dialects.wording import event
from .gateway import Place
from .model import TEXT
from .talk import TARGETS, Asked, Heard, Said, Target
from .upstream import DIALECTS, Providers, refusal, streamed

NEXT: dict[Target, Target] = dict(zip(TARGETS, (*TARGETS[1:], TARGETS[0]), strict=True))
PAIRS = [pair for target in TARGETS for pair in ((target, target), (NEXT[target], target), (target, NEXT[target]))]
"""Each caller before its own provider and two others: for what is one mechanism behind all pairs."""
CODES: dict[Target, dict[int, str]] = {
    "openai": {400: "context_length_exceeded", 404: "model_not_found", 429: "rate_limit_exceeded", 529: "overloaded"},
    "openai_responses": {400: "invalid_prompt", 404: "model_not_found", 429: "rate_limit_exceeded", 529: "overloaded"},
    "anthropic": {
        **{400: "invalid_request_error", 404: "not_found_error"},
        **{429: "rate_limit_error", 529: "overloaded_error"},
    },
    "gemini": {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 529: "UNAVAILABLE"},
    "cohere": dict.fromkeys((400, 404, 429, 529), ""),
    "bedrock": {
        **{400: "ValidationException", 404: "ResourceNotFoundException"},
        **{429: "ThrottlingException", 529: "ServiceUnavailableException"},
    },
}
"""A provider's own word for what is wrong. Cohere has none."""
OURS = {400: "invalid_request", 404: "not_found", 429: "provider_rate_limited", 529: "overloaded_error"}
"""The gateway's word where the provider has none."""
ASKED = [(*pair, False) for pair in product(TARGETS, TARGETS)] + [(*pair, True) for pair in PAIRS]
both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
every_pair = pytest.mark.parametrize(("caller", "target"), list(product(TARGETS, TARGETS)))
some_pairs = pytest.mark.parametrize(("caller", "target"), PAIRS)


def ask(place: Place, caller: Target, target: Target, *, streaming: bool) -> Heard:
    """Ask something plain."""
    with CALLERS[caller].open(place.door(target)) as talk:
        talk.user("Hello!")
        return talk.ask(streamed=streaming)


def failed(place: Place, caller: Target, target: Target, *, streaming: bool) -> Problem:
    """Ask something plain, and return what the SDK raises."""
    with pytest.raises(RAISED) as raised:
        ask(place, caller, target, streaming=streaming)
    return problem_of(raised.value)


def code_of(caller: Target, target: Target, status: int) -> str:
    """Return the machine code that a caller has to see."""
    if caller == "bedrock":
        return KINDS["bedrock"][status]
    if caller == target == "anthropic":
        return ""  # Anthropic's own errors have a type, which is the class, and no further code
    return CODES[target][status] or ("" if caller == target else OURS[status])


@pytest.mark.parametrize("status", [400, 404, 429, 529])
@pytest.mark.parametrize(("caller", "target", "streaming"), ASKED)
def test_a_provider_says_no(
    place: Place, providers: Providers, caller: Target, target: Target, status: int, *, streaming: bool
) -> None:
    code = CODES[target][status]
    providers.play(refusal(target, status, (b"retry-after", b"7"), code=code, message="Not like this."))
    problem = failed(place, caller, target, streaming=streaming)
    assert (problem.kind, problem.status) == (KINDS[caller][status], status)
    assert (problem.code, problem.retry_after) == (code_of(caller, target, status), "7")
    assert "Not like this." in problem.message


def story(target: Target, text: str = TEXT) -> bytes:
    """Return the events of a proper stream."""
    return b"".join(DIALECTS[target].events(Said(text), _asked(streaming=True)))


def whole(target: Target) -> bytes:
    """Return a proper answer."""
    return json.dumps(DIALECTS[target].whole(Said(TEXT), _asked(streaming=False))).encode()


def _asked(*, streaming: bool) -> Asked:
    return Asked("some-model", streaming, "", "", (), (), (), 0, ())


def cut(target: Target) -> Script:
    """A stream that breaks off in the middle of an event."""
    body = story(target)

    async def script(exchange: Exchange) -> None:
        kind = DIALECTS[target].content_type.encode()
        await exchange.head(200, (b"content-type", kind), (b"transfer-encoding", b"chunked"))
        await exchange.chunk(body[: len(body) * 2 // 3])
        exchange.close()

    return script


@every_pair
def test_a_stream_breaks_off_in_the_middle_of_an_event(
    place: Place, providers: Providers, caller: Target, target: Target
) -> None:
    providers.play(cut(target))
    problem = failed(place, caller, target, streaming=True)
    match caller:
        case "cohere":
            assert problem.kind == "RemoteProtocolError"
        case "bedrock":
            assert (problem.kind, "broke off" in problem.message) == ("internalServerException", True)
        case _:
            assert problem.code in ("provider_incomplete_stream", "provider_connection_lost"), problem


@pytest.mark.parametrize(("caller", "target"), [pair for pair in PAIRS if pair[0] != "cohere"])
def test_a_very_long_event_passes(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    """2.5 MB. Cohere's own SDK reads no line of more than 1 MiB, so it is not asked."""
    words = "0123456789abcdef" * 160_000
    providers.play(streamed(target, _long_story(target, words)))
    heard = ask(place, caller, target, streaming=True)
    assert (len(heard.text), heard.text == words) == (len(words), True)


def _long_story(target: Target, words: str) -> bytes:
    """One event with all the words. Bedrock's frames have a length and a checksum, so that they are written anew."""
    if target != "bedrock":
        return story(target, "@@").replace(b"@@", words.encode())
    delta = frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": words}})
    start, _, *rest = DIALECTS[target].events(Said("@@"), _asked(streaming=True))
    return b"".join((start, delta, *rest))


@both
@some_pairs
def test_a_body_that_is_compressed_without_being_asked_passes(
    place: Place, providers: Providers, caller: Target, target: Target, streaming: bool
) -> None:
    gzipped = (b"content-encoding", b"gzip")
    if streaming:
        providers.play(streamed(target, gzip.compress(story(target)), gzipped))
    else:
        providers.play(answer(200, gzip.compress(whole(target)), JSON, gzipped))
    assert ask(place, caller, target, streaming=streaming) == expected("plain", caller, target)


@some_pairs
def test_a_provider_that_does_not_stream(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    providers.play(answer(200, whole(target)))
    problem = failed(place, caller, target, streaming=True)
    assert (problem.status, problem.code) == (502, _ours(caller, "provider_ignored_stream")), problem


@both
@some_pairs
def test_a_page_in_place_of_an_answer(
    place: Place, providers: Providers, caller: Target, target: Target, streaming: bool
) -> None:
    providers.play(answer(200, b"<html>Welcome</html>", (b"content-type", b"text/html")))
    problem = failed(place, caller, target, streaming=streaming)
    assert (problem.status, problem.code) == (502, _ours(caller, "provider_malformed_answer")), problem


def _ours(caller: Target, code: str) -> str:
    """Amazon's SDK tells no code but the name of the exception."""
    return "InternalServerException" if caller == "bedrock" else code


FAILING: dict[Target, bytes] = {
    "openai": event({"error": {"message": "I am tired.", "type": "server_error", "param": None, "code": "tired"}}),
    "openai_responses": event(
        {"type": "error", "code": "server_error", "message": "I am tired.", "param": None, "sequence_number": 9},
        "error",
    ),
    "anthropic": event({"type": "error", "error": {"type": "overloaded_error", "message": "I am tired."}}, "error"),
    "gemini": event({"error": {"code": 503, "message": "I am tired.", "status": "UNAVAILABLE"}}),
    "bedrock": frame("throttlingException", {"message": "I am tired."}, "exception"),
}
"""How providers say in a stream that they fail. Cohere has no word for it but the reason of its end."""


@pytest.mark.parametrize(("caller", "target"), list(product(TARGETS, FAILING)))
def test_a_provider_says_in_its_stream_that_it_fails(
    place: Place, providers: Providers, caller: Target, target: Target
) -> None:
    begun = DIALECTS[target].events(Said(TEXT), _asked(streaming=True))[:4]
    providers.play(streamed(target, b"".join((*begun, FAILING[target]))))
    problem = failed(place, caller, target, streaming=True)
    assert problem.kind == "RemoteProtocolError" if caller == "cohere" else "I am tired." in problem.message, problem
