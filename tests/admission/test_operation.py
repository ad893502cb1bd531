"""Method and path → what is asked: the whole table, and everything that is no route."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.admission.operation import CHAT, MODEL, MODELS, RESERVED, Asked, ask
from trustgate.contract.context import Operation
from trustgate.contract.errors import Refused


def refused(method: str, path: str) -> Refused:
    with pytest.raises(Refused) as told:
        ask(method, path)
    return told.value


PATHS: list[tuple[str, Operation, str]] = [
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
@pytest.mark.parametrize("row", PATHS, ids=lambda row: row[0])
def test_the_table(row: tuple[str, Operation, str], consumer: str, version: str, slash: str) -> None:
    path, operation, item = row
    whole = f"{'/' + consumer if consumer else ''}{version}/{path}{slash}"
    assert ask(operation.method, whole) == Asked(operation, consumer, item)


@pytest.mark.parametrize("path", ["/v1/models", "/my-app/models", "/models/gpt-4o"])
def test_a_head_is_a_get_without_a_body(path: str) -> None:
    assert ask("HEAD", path) == ask("GET", path)


def test_what_operations_say_of_themselves() -> None:
    assert [(it.name, it.method, it.reads_body, it.dialect) for it in (CHAT, MODELS, MODEL)] == [
        ("chat_completions", "POST", True, "openai"),
        ("models", "GET", False, "openai"),
        ("model", "GET", False, "openai"),
    ]


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
            "/completions",
        ),
        *("/v1/chat", "/v1/chat/completions/extra", "/my-app/v1/chat/completion", "/v1/v1/models", "/v1/embeddings"),
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
