"""What is no chat: sound, pictures, vectors, moderation, stored responses, counts, models, and the raw passthrough."""

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from .place import PROVIDER_KEY, Place
from .program import Gateway, Json
from .sdk import options
from .upstream import Exchange, Script, Upstream, story, stream
from .wire import Answer, ask

JSON = {"content-type": "application/json"}
SOUND = bytes(range(256)) * 40
PART = b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FORM = PART + PART.replace(b'"%b"', b'"%b"; filename="a.wav"') + b"--b--\r\n"


def says(body: bytes, kind: bytes = b"application/json", status: int = 200) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head(status, (b"content-type", kind), (b"content-length", str(len(body)).encode()))
        await exchange.write(body)

    return script


def post(place: Place, path: str, body: object, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(place.port, "POST", f"/patient{path}", {**JSON, **place.headers, **headers}, raw)


@pytest.fixture
def patient(place: Place) -> Iterator[OpenAI]:
    with OpenAI(**options(place, "/patient/v1")) as client:
        yield client


# Passed on as they are.


def test_vectors_pictures_and_moderation_come_back_as_they_are(place: Place, upstream: Upstream) -> None:
    for path, asked, answer in (
        ("/v1/embeddings", {"model": "e", "input": "x"}, {"object": "list", "data": [], "usage": {"prompt_tokens": 5}}),
        ("/v1/images/generations", {"model": "i", "prompt": "x"}, {"created": 1, "data": [{"b64_json": "AA=="}]}),
        ("/v1/moderations", {"model": "m", "input": "x"}, {"id": "modr-1", "results": [{"flagged": False}]}),
    ):
        body = json.dumps(answer).encode()
        upstream.play(says(body))
        said = post(place, path, asked)
        assert (said.status, said.body) == (200, body)
        assert upstream.last().target == path.encode()
        assert upstream.last().json() == asked
        assert upstream.last().header("authorization") == f"Bearer {PROVIDER_KEY}"
        event = place.program.event(said.trace_id)
        assert event["request"]["model"] == asked["model"]
        assert ("usage" in event) == (path == "/v1/embeddings")


def test_speech_is_relayed_as_it_comes(place: Place, upstream: Upstream, patient: OpenAI) -> None:
    upstream.play(says(SOUND, b"audio/mpeg"))
    with patient.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="Hello") as said:
        assert said.headers["content-type"] == "audio/mpeg"
        assert b"".join(said.iter_bytes()) == SOUND


def test_a_form_goes_on_as_it_is_and_its_model_counts(place: Place, upstream: Upstream, patient: OpenAI) -> None:
    upstream.play(says(b'{"text": "Hello"}'))
    told = patient.audio.transcriptions.create(model="whisper-1", file=("a.wav", SOUND))
    assert told.text == "Hello"
    assert SOUND in upstream.last().body
    upstream.play(says(b'{"data": []}'))
    kind = {"content-type": "multipart/form-data; boundary=b"}
    raw = FORM % (b"model", b"dall-e-2", b"file", SOUND)
    said = ask(place.port, "POST", "/patient/v1/images/edits", {**place.headers, **kind}, raw)
    assert (said.status, upstream.last().body) == (200, raw)
    assert place.program.event(said.trace_id)["request"]["model"] == "dall-e-2"


@pytest.mark.parametrize(
    ("kind", "status"), [("application/json", 415), ("multipart/form-data", 400), ("text/plain", 415)]
)
def test_a_form_has_to_be_one(place: Place, kind: str, status: int) -> None:
    said = ask(place.port, "POST", "/patient/v1/images/edits", {**place.headers, "content-type": kind}, b"x")
    assert said.status == status


def test_a_provider_that_lacks_an_operation_is_not_asked(place: Place) -> None:
    said = ask(place.port, "POST", "/echo-app/v1/moderations", {**JSON, **place.headers}, b'{"model":"m"}')
    assert (said.status, said.error()["code"]) == (503, "no_backend_available")


# Stored responses.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items?limit=2"),
    ],
)
def test_a_stored_response_is_asked_for_where_it_is(place: Place, upstream: Upstream, method: str, path: str) -> None:
    body = b'{"id":"resp_1","object":"response"}'
    upstream.play(says(body))
    said = ask(place.port, method, f"/patient{path}", place.headers)
    assert (said.status, said.body) == (200, body)
    assert (upstream.last().method, upstream.last().target) == (method.encode(), path.encode())


def test_of_several_registries_the_one_that_knows_the_response_answers(place: Place, upstream: Upstream) -> None:
    gateway = place.gateway
    pair = [gateway.registry(f"r{at}", "openai", key=f"sk-{at}", base_url=f"{upstream.url}/v1") for at in range(2)]
    consumer = gateway.consumer("two-places", *pair)
    key = gateway.key(consumer)

    async def knows_the_second(exchange: Exchange) -> None:
        known = exchange.header("authorization") == "Bearer sk-1"
        body = b'{"id":"resp_9"}' if known else b'{"error":{"message":"No such response","code":"not_found"}}'
        await exchange.head(200 if known else 404, (b"content-length", str(len(body)).encode()))
        await exchange.write(body)

    upstream.play(knows_the_second)
    for _ in range(3):
        said = ask(place.port, "GET", "/two-places/v1/responses/resp_9", key.headers)
        assert (said.status, said.json()["id"]) == (200, "resp_9")


# Passthrough.


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_passthrough_reaches_any_path_with_the_registrys_key(place: Place, upstream: Upstream, method: str) -> None:
    upstream.play(says(b'{"id":"file-1"}', status=201))
    path = "/patient/passthrough/patient/files/file%201/content?purpose=batch&limit=2"
    said = ask(place.port, method, path, {**JSON, **place.headers}, b"" if method == "GET" else b'{"a": 1}')
    assert (said.status, said.body) == (201, b'{"id":"file-1"}')
    last = upstream.last()
    assert last.target == b"/v1/files/file%201/content?purpose=batch&limit=2"
    assert last.method == method.encode()
    assert last.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert last.body == (b"" if method == "GET" else b'{"a": 1}')
    assert place.program.event(said.trace_id)["request"]["operation"] == "passthrough"


def test_a_passthrough_relays_bytes_and_errors_as_they_are(place: Place, upstream: Upstream) -> None:
    upstream.play(says(SOUND, b"application/octet-stream"))
    assert ask(place.port, "GET", "/patient/passthrough/patient/x", place.headers).body == SOUND
    upstream.play(says(b"<html>no</html>", b"text/html", 404))
    said = ask(place.port, "GET", "/patient/passthrough/patient/x", place.headers)
    assert (said.status, said.body) == (404, b"<html>no</html>")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/patient/passthrough/nobody/x", 404, "registry_not_found"),
        ("/patient/passthrough/openai/x", 404, "registry_not_found"),
        ("/patient/passthrough/patient/../admin", 400, "invalid_request"),
        ("/patient/passthrough/patient/%2e%2e/admin", 400, "invalid_request"),
    ],
)
def test_a_passthrough_leads_nowhere_else(place: Place, upstream: Upstream, path: str, status: int, code: str) -> None:
    asked = len(upstream.seen)
    said = ask(place.port, "GET", path, place.headers)
    assert (said.status, said.error()["code"]) == (status, code)
    assert len(upstream.seen) == asked


def test_policies_and_model_rules_hold_for_a_passthrough(place: Place, upstream: Upstream) -> None:
    gateway: Gateway = place.gateway
    registry = gateway.registry("ruled", "openai", key="sk", base_url=upstream.url)
    rules = [{"registry_id": registry, "allowed": ["small"]}]
    consumer = gateway.consumer("ruled-app", registry, model_policies=rules)
    gateway.policy("request_size_limiter", consumer, allowed_payload_size=1, size_unit="kilobytes")
    key = gateway.key(consumer)
    upstream.play(says(b"{}"))

    def status(body: Json) -> int:
        raw = json.dumps(body).encode()
        return ask(place.port, "POST", "/ruled-app/passthrough/ruled/x", {**JSON, **key.headers}, raw).status

    assert status({"model": "small"}) == 200
    assert status({"model": "large"}) == 403
    assert status({"model": "small", "padding": "x" * 2000}) == 413


# Counts and models.


def test_tokens_are_counted_by_whoever_can_and_estimated_otherwise(place: Place, upstream: Upstream) -> None:
    claude = place.gateway.registry("claude", "anthropic", key="sk-ant", base_url=upstream.url)
    key = place.gateway.key(place.gateway.consumer("claude-app", claude))
    asked = {"model": "m", "messages": [{"role": "user", "content": "How many tokens are in this sentence?"}]}
    raw = json.dumps(asked).encode()
    upstream.play(says(b'{"input_tokens": 4711}'))
    told = ask(place.port, "POST", "/claude-app/v1/messages/count_tokens", {**JSON, **key.headers}, raw)
    assert (told.json(), "x-ag-estimated" in told.headers) == ({"input_tokens": 4711}, False)
    assert upstream.last().header("x-api-key") == "sk-ant"
    assert upstream.last().header("anthropic-version") == "2023-06-01"

    said = post(place, "/v1/messages/count_tokens", asked)
    assert said.headers["x-ag-estimated"] == "true"
    assert 8 <= said.json()["input_tokens"] <= 25
    contents = {"contents": [{"role": "user", "parts": [{"text": "How many tokens are in this sentence?"}]}]}
    assert 8 <= post(place, "/v1beta/models/g:countTokens", contents).json()["totalTokens"] <= 25


def test_models_are_listed_in_the_callers_shape(place: Place, upstream: Upstream) -> None:
    upstream.play(says(b'{"object":"list","data":[{"id":"m-1","object":"model","created":7,"owned_by":"x"}]}'))
    theirs = {**place.headers, "anthropic-version": "2023-06-01"}
    plain = ask(place.port, "GET", "/patient/v1/models", place.headers).json()
    assert plain == {"object": "list", "data": [{"id": "m-1", "object": "model", "created": 7, "owned_by": "openai"}]}
    claude = ask(place.port, "GET", "/patient/v1/models", theirs).json()
    assert (claude["first_id"], claude["data"][0]["type"]) == ("m-1", "model")
    gemini = ask(place.port, "GET", "/patient/v1beta/models", place.headers).json()
    assert gemini["models"][0]["name"] == "models/m-1"
    one = ask(place.port, "GET", "/patient/v1beta/models/m-1", place.headers).json()
    assert one["name"] == "models/m-1"
    none = ask(place.port, "GET", "/patient/v1beta/models/m-2", place.headers)
    assert (none.status, none.json()["error"]["details"][0]["reason"]) == (404, "model_not_found")


# A stream in two shapes.

GEMINI_PATH = "/patient/v1beta/models/m:streamGenerateContent"
CONTENTS = json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}).encode()


def texts_of(chunks: list[Json]) -> str:
    found = [part for chunk in chunks for each in chunk.get("candidates", ()) for part in each["content"]["parts"]]
    return "".join(part["text"] for part in found)


def test_geminis_stream_is_events_or_an_array_as_its_caller_asks(place: Place, upstream: Upstream) -> None:
    upstream.play(stream(story(["Hel", "lo", "!"])))
    headers = {**JSON, **place.headers}
    events = ask(place.port, "POST", f"{GEMINI_PATH}?alt=sse", headers, CONTENTS)
    array = ask(place.port, "POST", GEMINI_PATH, headers, CONTENTS)
    assert events.headers["content-type"].startswith("text/event-stream")
    assert array.headers["content-type"] == "application/json"
    assert texts_of([json.loads(each) for each in events.data()]) == "Hello!"
    assert texts_of(json.loads(array.body)) == "Hello!"
    assert (events.whole, array.whole) == (True, True)


def test_a_broken_stream_is_no_whole_array(place: Place, upstream: Upstream) -> None:
    upstream.play(stream(story(["Hel", "lo"])[:-2]))
    said = ask(place.port, "POST", GEMINI_PATH, {**JSON, **place.headers}, CONTENTS)
    assert not said.whole
    assert json.loads(said.body + b"]")[-1]["error"]["details"][0]["reason"] == "provider_incomplete_stream"
