"""A registry compiled into the target to call: where, with what, for how long; or why it cannot be called."""

from typing import Any

import pytest

from trustgate.config.records import ApiKeyAuth, AzureAuth, ModelPolicy, ProviderAuth, Registry
from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, Clocks, Header, Origin
from trustgate.forwarding.transport import write_head
from trustgate.providers.credentials import Credentials
from trustgate.providers.targets import CannotTarget, compile_target

PLANE = Clocks(connect=1, first_byte=2, idle=3, total=4)
CHAT = "chat_completions"


def key(**fields: Any) -> ProviderAuth:
    return ProviderAuth(type="api_key", api_key=ApiKeyAuth(**fields))


def registry(provider: str = "openai", auth: ProviderAuth | None = None, **options: Any) -> Registry:
    return Registry(
        id="r1",
        gateway_id="g1",
        name="mine",
        provider=provider,
        auth=auth or key(api_key="sk-1"),
        provider_options=options,
    )


def compiled(made: Registry, rules: ModelPolicy | None = None, weight: int = 1) -> Target:
    return compile_target(made, rules, weight, PLANE, Credentials())


def path(target: Target, operation: str) -> str:
    return target.ways[operation][0].path


def compatible(base_url: str, **options: Any) -> Target:
    return compiled(registry("openai_compatible", base_url=base_url, **options))


# Where.


def test_openai_itself() -> None:
    target = compiled(registry())
    assert (target.registry_id, target.provider, target.dialect) == ("r1", "openai", "openai")
    assert target.origin == Origin(scheme="https", host="api.openai.com", port=443)
    assert (path(target, CHAT), path(target, "models")) == ("/v1/chat/completions", "/v1/models")
    assert target.headers == ((b"authorization", b"Bearer sk-1"),)
    assert target.names == {b"authorization"}
    assert target.clocks == PLANE


@pytest.mark.parametrize(
    ("base_url", "origin", "chat"),
    [
        ("https://llm.example.com", ("https", "llm.example.com", 443), b"/chat/completions"),
        ("https://llm.example.com/", ("https", "llm.example.com", 443), b"/chat/completions"),
        ("https://llm.example.com/v1", ("https", "llm.example.com", 443), b"/v1/chat/completions"),
        ("https://llm.example.com/v1/", ("https", "llm.example.com", 443), b"/v1/chat/completions"),
        ("https://llm.example.com/v1//", ("https", "llm.example.com", 443), b"/v1/chat/completions"),
        ("http://llm.example.com/a/b", ("http", "llm.example.com", 80), b"/a/b/chat/completions"),
        ("http://localhost:11434/v1", ("http", "localhost", 11434), b"/v1/chat/completions"),
        ("https://LLM.Example.com:8443/v1", ("https", "llm.example.com", 8443), b"/v1/chat/completions"),
        ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000), b"/chat/completions"),
        ("http://[::1]:8000/v1", ("http", "::1", 8000), b"/v1/chat/completions"),
        (
            "https://x.example.com/o?api-version=1",
            ("https", "x.example.com", 443),
            b"/o/chat/completions?api-version=1",
        ),
        ("https://x.example.com?a=1&b=2", ("https", "x.example.com", 443), b"/chat/completions?a=1&b=2"),
        ("https://x.example.com/o#part", ("https", "x.example.com", 443), b"/o/chat/completions"),
        ("https://x.example.com/a%20b", ("https", "x.example.com", 443), b"/a%20b/chat/completions"),
        ("https://x.example.com/ü", ("https", "x.example.com", 443), b"/%C3%BC/chat/completions"),
        ("https://x.example.com/?q=ü", ("https", "x.example.com", 443), b"/chat/completions?q=%C3%BC"),
    ],
)
def test_base_urls(base_url: str, origin: tuple[str, str, int], chat: bytes) -> None:
    target = compatible(base_url)
    assert target.origin == Origin(scheme=origin[0], host=origin[1], port=origin[2])
    assert path(target, CHAT) == chat.decode()
    call = Call(method="POST", origin=target.origin, target=chat, headers=target.headers)
    assert write_head(call, b" HTTP/1.1\r\nhost: x"), "the transport takes it"


def test_a_base_url_of_its_own_for_openai() -> None:
    target = compiled(registry(base_url="https://eu.api.openai.com/v1"))
    assert target.origin.host == "eu.api.openai.com"
    assert path(target, "models") == "/v1/models"


# With what.


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        (key(api_key="sk-1"), ((b"authorization", b"Bearer sk-1"),), b""),
        (key(header_name="X-Api-Key", header_value="k"), ((b"x-api-key", b"k"),), b""),
        (key(api_key="sk-1", header_name="Api-Key", header_value="k"), ((b"api-key", b"k"),), b""),
        (key(param_name="key", param_value="a&b c"), (), b"?key=a%26b+c"),
        (key(api_key="sk-1", param_name="k", param_value="v"), ((b"authorization", b"Bearer sk-1"),), b"?k=v"),
        (ProviderAuth(type="none"), (), b""),
    ],
)
def test_credentials(auth: ProviderAuth, headers: tuple[Header, ...], query: bytes) -> None:
    target = compiled(registry("openai_compatible", auth, base_url="https://x.example.com"))
    assert target.headers == headers
    assert target.names == {name for name, _ in headers}
    assert path(target, CHAT) == "/chat/completions" + query.decode()


@pytest.mark.parametrize("auth", [key(), ProviderAuth(type="api_key")])
def test_a_key_that_is_none_is_no_target(auth: ProviderAuth) -> None:
    with pytest.raises(CannotTarget, match="needs api_key"):
        compiled(registry("openai_compatible", auth, base_url="https://x.example.com"))


def test_a_parameter_joins_the_query_that_is_there() -> None:
    auth = key(param_name="key", param_value="v")
    target = compiled(registry("openai_compatible", auth, base_url="https://x.example.com/v1?api-version=2"))
    assert path(target, CHAT) == "/v1/chat/completions?api-version=2&key=v"


def test_no_credential_leaves_where_the_type_is_none() -> None:
    """The block that `type` names is the one that counts: a key that stayed behind belongs to nobody any more."""
    left = ApiKeyAuth(api_key="sk-old", param_name="key", param_value="old")
    auth = ProviderAuth(type="none", api_key=left)
    target = compiled(registry("openai_compatible", auth, base_url="https://elsewhere.example.com"))
    assert target.headers == ()
    assert path(target, CHAT) == "/chat/completions"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({"X-Team": "a"}, {b"authorization": b"Bearer sk-1", b"x-team": b"a"}),
        ({"Authorization": "Basic eA=="}, {b"authorization": b"Basic eA=="}),
        ({"OpenAI-Organization": "org"}, {b"authorization": b"Bearer sk-1", b"openai-organization": b"org"}),
        ({"x-latin": "é"}, {b"authorization": b"Bearer sk-1", b"x-latin": b"\xe9"}),
    ],
)
def test_own_headers_win(headers: dict[str, str], sent: dict[bytes, bytes]) -> None:
    target = compiled(registry(headers=headers))
    assert dict(target.headers) == sent
    assert len(target.headers) == len(sent)
    assert target.names == sent.keys()


# For how long.


@pytest.mark.parametrize(
    ("timeouts", "clocks"),
    [
        ({}, PLANE),
        ({"connect": "5s"}, Clocks(connect=5, first_byte=2, idle=3, total=4)),
        (
            {"connect": "100ms", "first_byte": "1m", "idle": "1.5s", "total": "1h"},
            Clocks(connect=0.1, first_byte=60, idle=1.5, total=3600),
        ),
        ({"total": None}, PLANE),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "echo"])
def test_clocks(timeouts: dict[str, str | None], clocks: Clocks, provider: str) -> None:
    assert compiled(registry(provider, timeouts=timeouts)).clocks == clocks


# For whom.


def test_models_and_weight() -> None:
    free = compiled(registry())
    assert (free.allowed, free.default, free.weight) == (None, "", 1)
    assert free.may_serve("anything")
    rules = ModelPolicy(registry_id="r1", allowed=("a", "b"), default="a")
    bound = compiled(registry(), rules, weight=7)
    assert (bound.allowed, bound.default, bound.weight) == (frozenset(("a", "b")), "a", 7)
    assert bound.may_serve("a")
    assert not bound.may_serve("c")
    assert compiled(registry(), ModelPolicy(registry_id="r1", default="z")).allowed is None
    assert compiled(registry(), ModelPolicy(registry_id="r1", allowed=())).allowed == frozenset()


def test_echo_has_an_origin_of_its_own_and_tells_its_options_to_its_transport() -> None:
    target = compiled(registry("echo", ProviderAuth(type="none"), latency="5ms", failure="error_500"))
    assert target.origin == Origin(scheme="echo", host="echo", port=0)
    assert path(target, CHAT) == "/chat/completions"
    assert target.headers == ((b"x-echo-options", b'{"latency":"5ms","failure":"error_500"}'),)


# Why not.


def refused(made: Registry) -> str:
    with pytest.raises(CannotTarget) as told:
        compiled(made)
    return str(told.value)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (registry("nobody"), "there is no provider nobody"),
        (registry(base_url=5), "base_url"),
        (registry(base_url="ftp://x"), "base_url"),
        (registry(base_url="https://"), "base_url"),
        (registry(base_url="https://a b"), "base_url"),
        (registry(unheard="x"), "unheard"),
        (registry(headers={"x": 1}), "headers"),
        (registry(timeouts={"connect": "soon"}), "connect"),
        (registry(timeouts={"later": "1s"}), "later"),
        (registry("openai_compatible"), "base_url"),
        (registry("echo", base_url="https://x"), "base_url"),
        (registry("echo", failure="tired"), "failure"),
    ],
)
def test_options_that_are_wrong(made: Registry, why: str) -> None:
    assert why in refused(made)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://x.example.com:port",
        "https://x.example.com:99999",
        "https://x.example.com:-1",
        "https://[::1",
        "https://:8080/v1",
        "https://@/v1",
    ],
)
def test_an_address_that_is_none(base_url: str) -> None:
    assert refused(registry(base_url=base_url))


@pytest.mark.parametrize(
    "made",
    [
        registry(auth=key(api_key="sk-…")),
        registry(auth=key(header_name="x-key", header_value="ключ")),
        registry(auth=key(header_name="x-ключ", header_value="k")),
        registry(headers={"x-team": "münchen…"}),
        registry(auth=key(api_key="sk-1\r\nx-evil: 1")),
        registry(auth=key(api_key="sk-1\n")),
        registry(headers={"x-team": "a\r\nb"}),
        registry(headers={"x team": "a"}),
        registry(headers={"": "a"}),
        registry(headers={"Host": "elsewhere.example.com"}),
        registry(headers={"Content-Length": "0"}),
        registry(headers={"Transfer-Encoding": "chunked"}),
    ],
    ids=lambda made: str(made.provider_options or made.auth.api_key)[:60],
)
def test_what_cannot_stand_in_a_head_is_told_of_the_registry_and_is_no_failure_of_ours(made: Registry) -> None:
    """Otherwise one registry with a mistyped key fails every request of every consumer that has it, with a 500."""
    said = refused(made)
    assert said
    assert "sk-1" not in said


# Addresses that have something of the auth or the options in them.


def way(target: Target, operation: str, model: str) -> tuple[str, str, str]:
    found = target.way(operation, model)
    assert found is not None
    return found.operation, found.path, found.stream_path


def test_azure_has_deployments_and_a_version() -> None:
    auth = ProviderAuth(type="azure", azure=AzureAuth(endpoint="https://me.openai.azure.com/", api_key="k"))
    target = compiled(registry("azure", auth))
    assert (target.origin.host, target.headers) == ("me.openai.azure.com", ((b"api-key", b"k"),))
    chat = "/openai/deployments/{model}/chat/completions?api-version=2024-10-21"
    assert way(target, CHAT, "gpt") == (CHAT, chat, "")
    assert way(target, "responses", "gpt") == ("responses", "/openai/v1/responses", "")
    assert way(target, "messages", "claude")[0] == CHAT


def test_bedrock_answers_in_a_region() -> None:
    target = compiled(registry("bedrock", key(api_key="k"), region="eu-west-1"))
    assert target.origin.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    assert way(target, "converse", "m") == ("converse", "/model/{model}/converse", "/model/{model}/converse-stream")
    with pytest.raises(CannotTarget, match="region"):
        compiled(registry("bedrock", key(api_key="k")))


def test_vertex_has_two_publishers() -> None:
    target = compiled(registry("vertex", key(api_key="k"), location="europe-west1", project="p"))
    assert target.origin.host == "europe-west1-aiplatform.googleapis.com"
    base = "/v1/projects/p/locations/europe-west1/publishers"
    assert way(target, CHAT, "gemini-3") == (
        "generate_content",
        f"{base}/google/models/{{model}}:generateContent",
        f"{base}/google/models/{{model}}:streamGenerateContent?alt=sse",
    )
    operation, path_, stream = way(target, "messages", "claude-sonnet-5")
    assert (operation, path_) == ("messages", f"{base}/anthropic/models/{{model}}:rawPredict")
    assert stream.endswith(":streamRawPredict")
    assert way(target, CHAT, "claude-sonnet-5")[0] == "messages"
    shape = target.ways["messages"][0].shape
    assert shape is not None
    assert shape({"model": "m", "max_tokens": 1}) == {"anthropic_version": "vertex-2023-10-16", "max_tokens": 1}
    world = compiled(registry("vertex", key(api_key="k"), location="global", project="p"))
    assert world.origin.host == "aiplatform.googleapis.com"
    with pytest.raises(CannotTarget, match="project"):
        compiled(registry("vertex", key(api_key="k"), location="global"))


@pytest.mark.parametrize(
    ("api", "caller", "told"),
    [
        ("", "responses", "responses"),
        ("", CHAT, CHAT),
        ("", "messages", CHAT),
        ("completions", "responses", CHAT),
        ("responses", CHAT, "responses"),
        ("responses", "generate_content", "responses"),
    ],
)
def test_a_registry_can_be_confined_to_one_of_openais_dialects(api: str, caller: str, told: str) -> None:
    target = compiled(registry("openai", key(api_key="k"), api=api))
    assert way(target, caller, "m")[0] == told
