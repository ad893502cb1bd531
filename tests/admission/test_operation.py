"""Method and path → what is asked: the whole table, and everything that is no route."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.admission import operation as table
from trustgate.admission.operation import CHAT, MODEL, MODELS, PATHS, RESERVED, ROUTES, Asked, ask
from trustgate.contract.context import Operation
from trustgate.contract.errors import Refused


def refused(method: str, path: str) -> Refused:
    with pytest.raises(Refused) as told:
        ask(method, path)
    return told.value


BOTH_WAYS: list[tuple[str, Operation, str]] = [
    ("chat/completions", CHAT, ""),
    ("models", MODELS, ""),
    ("models/gpt-4o", MODEL, "gpt-4o"),
    ("models/meta/llama-3/8b", MODEL, "meta/llama-3/8b"),
    ("models/models", MODEL, "models"),
    ("models/v1/models", MODEL, "v1/models"),
    ("models/ein modell", MODEL, "ein modell"),
]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", ["", "/v1"])
@pytest.mark.parametrize("consumer", ["", "my-app", "a", "x" * 63])
@pytest.mark.parametrize("row", BOTH_WAYS, ids=lambda row: row[0])
def test_the_table(row: tuple[str, Operation, str], consumer: str, version: str, slash: str) -> None:
    path, operation, item = row
    whole = f"{'/' + consumer if consumer else ''}{version}/{path}{slash}"
    assert ask(operation.method, whole) == Asked(operation, consumer, item)


@pytest.mark.parametrize("path", ["/v1/models", "/my-app/models", "/models/gpt-4o"])
def test_a_head_is_a_get_without_a_body(path: str) -> None:
    assert ask("HEAD", path) == ask("GET", path)


def test_what_operations_say_of_themselves() -> None:
    assert [(it.name, it.method, it.body, it.dialect) for it in (CHAT, MODELS, MODEL)] == [
        ("chat_completions", "POST", "json", "openai"),
        ("models", "GET", "none", "openai"),
        ("model", "GET", "none", "openai"),
    ]


ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude"
NAMED = [
    ("POST", "/v1beta/models/gemini-x:generateContent", Asked(table.GENERATE, "", "gemini-x")),
    ("POST", "/v1beta/models/gemini-x:streamGenerateContent", Asked(table.GENERATE_STREAM, "", "gemini-x")),
    ("POST", "/v1/models/gemini-x:countTokens", Asked(table.GEMINI_COUNT, "", "gemini-x")),
    ("POST", "/models/ft:x:embedContent", Asked(table.EMBED_CONTENT, "", "ft:x")),
    ("GET", "/v1beta/models/gemini-x", Asked(table.GEMINI_MODEL, "", "gemini-x")),
    ("POST", "/model/anthropic.claude-v1:0/converse", Asked(table.CONVERSE, "", "anthropic.claude-v1:0")),
    ("POST", f"/model/{ARN}/converse-stream", Asked(table.CONVERSE_STREAM, "", ARN)),
    ("GET", "/v1/responses/resp_1", Asked(table.RESPONSE, "", "resp_1")),
    ("HEAD", "/v1/responses/resp_1", Asked(table.RESPONSE, "", "resp_1")),
    ("DELETE", "/responses/resp_1", Asked(table.RESPONSE_DELETE, "", "resp_1")),
    ("POST", "/v1/responses/resp_1/cancel", Asked(table.RESPONSE_CANCEL, "", "resp_1")),
    ("GET", "/v1/responses/resp_1/input_items", Asked(table.RESPONSE_ITEMS, "", "resp_1")),
    ("PATCH", "/passthrough/my-registry/v1/files/x/", Asked(table.PASSTHROUGH, "", "my-registry", "/v1/files/x/")),
    ("GET", "/passthrough/my-registry", Asked(table.PASSTHROUGH, "", "my-registry", "")),
]


@pytest.mark.parametrize("consumer", ["", "my-app"])
@pytest.mark.parametrize(("method", "path", "asked"), NAMED, ids=lambda it: it if isinstance(it, str) else "")
def test_what_a_path_names(method: str, path: str, asked: Asked, consumer: str) -> None:
    assert ask(method, f"/{consumer}{path}" if consumer else path) == Asked(
        asked.operation, consumer, asked.item, asked.rest
    )


def test_every_route_is_documented_and_taken() -> None:
    assert len(set(PATHS)) == len(PATHS)
    for path, operation in ROUTES.items():
        assert ask(operation.method, f"/my-app{path}") == Asked(operation, "my-app")


@pytest.mark.parametrize("segment", sorted(RESERVED))
@pytest.mark.parametrize("rest", ["/v1/chat/completions", "/chat/completions/", "/v1/models"])
def test_a_route_is_never_taken_for_a_consumer(segment: str, rest: str) -> None:
    try:
        asked = ask("GET", f"/{segment}{rest}")
    except Refused as told:
        assert (told.code, told.status) in {("unknown_route", 404), ("method_not_allowed", 405)}
    else:
        assert asked.consumer == ""


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "//",
            "/v1",
            "/v1/",
            "/my-app",
            "/my-app/",
            "/my-app/v1",
            "/my-app/v2/models",
            "/chat",
        ),
        *("/v1/chat", "/v1/chat/completions/extra", "/my-app/v1/chat/completion", "/v1/v1/models", "/v1/embedding"),
        *("/my-app/other/v1/models", "/healthz/v1/chat/completions", "/__/version", "no/slash"),
    ],
)
def test_no_route(path: str) -> None:
    told = refused("POST", path)
    assert (told.code, told.status, told.retry) == ("unknown_route", 404, False)
    assert f"There is no route {path}." in told.message
    assert "/{consumer}/v1/chat/completions" in told.message


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, "/v1/chat/completions", b"POST") for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post")),
        ("GET", "/my-app/chat/completions/", b"POST"),
        *((method, "/my-app/v1/models", b"GET") for method in ("POST", "DELETE", "get")),
        ("POST", "/v1/models/gpt-4o", b"GET"),
    ],
)
def test_a_wrong_method(method: str, path: str, allowed: bytes) -> None:
    told = refused(method, path)
    assert (told.code, told.status, told.retry) == ("method_not_allowed", 405, False)
    assert (b"allow", allowed) in told.headers
    assert told.message == f"{method} is not allowed here: use {allowed.decode()}."


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=300)
def test_no_path_does_harm(path: str) -> None:
    try:
        asked = ask("GET", path)
    except Refused as told:
        assert told.status in {404, 405}
    else:
        assert asked.consumer not in RESERVED
        assert "/" not in asked.consumer
