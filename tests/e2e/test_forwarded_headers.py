"""What of a request's head goes on to the provider: what is listed, rewritten where it must be, and nothing else."""

import json

import pytest

from .place import PROVIDER_KEY, Place
from .upstream import Upstream
from .wire import Answer, Wire, ask, chat, chat_body

JSON = ("content-type", "application/json")
CHAT = "/my-app/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"

FORWARDED = {
    "accept": "application/json",
    "accept-language": "fr",
    "anthropic-beta": "tools-2024",
    "anthropic-version": "2023-06-01",
    "idempotency-key": "key-1",
    "openai-beta": "assistants=v2",
    "openai-organization": "org-1",
    "openai-project": "proj-1",
    "tracestate": "vendor=1",
    "x-client-request-id": "mine-1",
    "x-stainless-arch": "x64",
    "x-stainless-async": "false",
    "x-stainless-helper-method": "stream",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "3.52.0",
    "x-stainless-retry-count": "1",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11",
}
KEPT_BACK = {
    "connection": "keep-alive, x-private",
    "keep-alive": "timeout=5",
    "te": "trailers",
    "trailer": "x-checksum",
    "upgrade": "h2c",
    "proxy-authorization": "Basic c2VjcmV0",
    "proxy-connection": "keep-alive",
    "x-private": "1",
    "cookie": "session=secret",
    "x-ag-trace-id": "forged",
    "x-ag-anything": "1",
    "x-ag-playground-token": "secret",
    "api-key": "azure-secret",
    "x-goog-api-key": "google-secret",
    "x-amz-security-token": "aws-secret",
    "forwarded": "for=10.1.1.1",
    "x-forwarded-for": "10.1.1.1",
    "x-forwarded-host": "inside.example",
    "x-real-ip": "10.1.1.1",
    "x-session-id": "session-1",
    "referer": "https://inside.example/",
    "origin": "https://inside.example",
    "x-unheard-of": "1",
    "accept-encoding": "gzip, br",
    "x-stainless-read-timeout": "600",
}
OF_OURS = {"host", "content-length", "content-type", "authorization", "user-agent", "accept-encoding", "traceparent"}


def send(place: Place, headers: dict[str, str], path: str = CHAT) -> Answer:
    """Make one chat request with these headers besides the two that let it in."""
    said = ask(place.port, "POST", path, [JSON, *place.headers.items(), *headers.items()], chat_body())
    assert said.status == 200, said.body
    return said


def test_headers_are_forwarded_exactly_by_the_list(place: Place, upstream: Upstream) -> None:
    send(place, {**FORWARDED, **KEPT_BACK, "user-agent": "app/1"})
    seen = upstream.last()
    names = [name.decode() for name, _ in seen.headers]
    assert len(names) == len(set(names))
    assert set(names) == set(FORWARDED) | OF_OURS
    for name, value in FORWARDED.items():
        assert seen.header(name) == value
    sent = json.dumps([value.decode("latin-1") for _, value in seen.headers])
    for secret in (place.key.text, place.gateway.slug, "secret", "10.1.1.1", "inside.example", "forged"):
        assert secret not in sent


def test_what_is_ours_to_say(place: Place, upstream: Upstream) -> None:
    """Host and key are the provider's, the encoding is none, and the caller's agent follows ours."""
    send(place, {"user-agent": "app/1 (+https://app.example)", "accept-encoding": "gzip, br"})
    seen = upstream.last()
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert seen.header("accept-encoding") == "identity"
    assert seen.header("content-type") == "application/json"
    assert seen.header("content-length") == str(len(chat_body()))
    agent = seen.header("user-agent") or ""
    assert agent.startswith("trustgate/") and agent.endswith(" app/1 (+https://app.example)")
    send(place, {})
    assert (upstream.last().header("user-agent") or "").startswith("trustgate/")


@pytest.mark.parametrize(
    "credential",
    [{"authorization": "Bearer sk-callers-own-key"}, {"x-api-key": "callers-own-key"}, {"cookie": "callers-own-key"}],
    ids=lambda credential: next(iter(credential)),
)
def test_a_credential_of_the_callers_goes_nowhere(place: Place, upstream: Upstream, credential: dict[str, str]) -> None:
    send(place, credential)
    assert "callers-own-key" not in str(upstream.last().headers)
    assert upstream.last().header("authorization") == f"Bearer {PROVIDER_KEY}"


def test_what_a_registry_sets_wins(place: Place, upstream: Upstream) -> None:
    options = {"base_url": upstream.url, "headers": {"OpenAI-Organization": "org-ours", "X-Extra": "one"}}
    registry = place.gateway.registry("dressed", "openai", key="sk-dressed", **options)
    place.gateway.attach(place.gateway.consumer("dressed", registry), "auths", place.key.id)
    send(place, {"openai-organization": "org-theirs", "x-extra": "theirs"}, "/dressed/v1/chat/completions")
    seen = upstream.last()
    assert (seen.header("openai-organization"), seen.header("x-extra")) == ("org-ours", "one")


@pytest.mark.parametrize(
    ("auth", "target", "key"),
    [
        ({"header_name": "api-key", "header_value": "sk-1"}, b"/v1/chat/completions", "sk-1"),
        ({"param_name": "key", "param_value": "sk/ 1"}, b"/v1/chat/completions?key=sk%2F+1", None),
    ],
    ids=["header", "parameter"],
)
def test_a_key_goes_where_the_registry_says(
    place: Place, upstream: Upstream, auth: dict[str, str], target: bytes, key: str | None
) -> None:
    slug = f"keyed-by-{len(target)}"
    body = {
        "name": slug,
        "provider": "openai",
        "provider_options": {"base_url": upstream.url},
        "auth": {"type": "api_key", "api_key": auth},
    }
    made = place.admin.done("POST", place.gateway.path("/registries"), body)
    place.gateway.attach(place.gateway.consumer(slug, made["id"]), "auths", place.key.id)
    send(place, {}, f"/{slug}/v1/chat/completions")
    seen = upstream.last()
    assert seen.target == target
    assert seen.header("api-key") == key
    assert seen.header("authorization") is None


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/a/b c/v1", "/v1?api-version=7"])
def test_the_base_url_is_kept_as_it_is(place: Place, upstream: Upstream, base: str) -> None:
    """Path and query of a registry's address stay; the operation's path goes between them."""
    slug = f"based-{abs(hash(base)) % 10**8}"
    address = f"http://127.0.0.1:{upstream.port}{base.replace(' ', '%20')}"
    registry = place.gateway.registry(slug, "openai_compatible", base_url=address, key="sk-x")
    place.gateway.attach(place.gateway.consumer(slug, registry), "auths", place.key.id)
    send(place, {}, f"/{slug}/v1/chat/completions")
    path, _, query = base.replace(" ", "%20").partition("?")
    expected = f"{path.rstrip('/')}/chat/completions" + (f"?{query}" if query else "")
    assert upstream.last().target.decode() == expected


# Traces.


def test_a_trace_goes_on_through_us(place: Place, upstream: Upstream) -> None:
    said = send(place, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert said.trace_id == TRACE
    version, trace, span, flags = (upstream.last().header("traceparent") or "").split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span != PARENT and len(span) == 16 and set(span) != {"0"}
    event = place.program.event(TRACE)
    assert (event["span_id"], event["parent_span_id"]) == (span, PARENT)


def test_a_callers_decision_not_to_sample_is_kept(place: Place, upstream: Upstream) -> None:
    send(place, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert (upstream.last().header("traceparent") or "").endswith("-00")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\t,00-{TRACE}-{PARENT}-01",
        "00-" + "x" * 5000,
    ],
)
def test_a_malformed_trace_is_replaced(place: Place, upstream: Upstream, traceparent: str) -> None:
    said = send(place, {"traceparent": traceparent})
    assert said.trace_id != TRACE
    assert len(said.trace_id) == 32
    _, trace, span, flags = (upstream.last().header("traceparent") or "").split("-")
    assert (trace, flags) == (said.trace_id, "01")
    event = place.program.event(said.trace_id)
    assert event["span_id"] == span
    assert "parent_span_id" not in event


def test_each_request_has_a_trace_of_its_own(place: Place, upstream: Upstream) -> None:
    assert len({chat(place.port, place.headers).trace_id for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "name",
    ["x-evil: 1\r\nx-injected", "x evil", "x-\x00"],
    ids=["a line break", "a blank", "a NUL"],
)
def test_a_header_cannot_smuggle_another(place: Place, upstream: Upstream, name: str) -> None:
    """What the server in front lets through reaches the provider as one header or not at all."""

    body = chat_body()
    with Wire(place.port) as wire:
        lines = [f"{name}: 2", "content-type: application/json", "connection: close", f"content-length: {len(body)}"]
        wire.head(place.headers, *lines)
        wire.send(body)
        wire.rest()
    for seen in upstream.seen:
        assert b"x-injected" not in dict(seen.headers) and b"x-evil" not in dict(seen.headers)


def test_a_session_header_comes_back_as_one_header(place: Place, upstream: Upstream) -> None:
    said = send(place, {"x-session-id": "caf\xe9 \xff"})
    assert said.headers["x-session-id"] == "caf\xe9 \xff"
    assert place.program.event(said.trace_id)["session_id"]
