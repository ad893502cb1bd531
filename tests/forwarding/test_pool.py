"""Which targets may serve a model, who is refused and why, and which models a consumer may name."""

from collections.abc import Mapping
from typing import Any

import pytest

from trustgate.contract.errors import Refused
from trustgate.contract.target import Target, Way
from trustgate.contract.upstream import Origin
from trustgate.forwarding.pool import Pool

CHAT = "chat_completions"


def target(id_: str, *allowed: str, **fields: Any) -> Target:
    given: dict[str, Any] = {
        "registry_id": id_,
        "provider": f"provider of {id_}",
        "dialect": "openai",
        "origin": Origin(scheme="https", host="api.example.com", port=443),
        "ways": {CHAT: (Way(operation=CHAT, dialect="openai", path="/v1/chat/completions"),)},
        "headers": (),
        "allowed": frozenset(allowed) if allowed else None,
    }
    return Target(**given | fields)


def pool(*targets: Target, unusable: Mapping[str, str] | None = None) -> Pool:
    return Pool(targets, unusable or {})


def candidates(made: Pool, model: str, operation: str = CHAT) -> list[Target]:
    return list(made.group(operation, made.wanted(model)).targets)


MIXED = pool(
    target("any"),
    target("small", "m-small"),
    target("both", "m-small", "m-big", default="m-big"),
    target("open", default="m-open"),
    target("deaf", "m-small", ways={"models": (Way(operation="models", dialect="openai", path="/v1/models"),)}),
)


@pytest.mark.parametrize(
    ("model", "ids"),
    [
        ("m-small", {"any", "small", "both", "open"}),
        ("m-big", {"any", "both", "open"}),
        ("m-open", {"any", "open"}),
        ("never-heard-of", {"any", "open"}),
        ("M-SMALL", {"any", "open"}),
        ("", {"both", "open"}),
        ("auto", {"both", "open"}),
        ("AUTO", {"both", "open"}),
        ("automatic", {"any", "open"}),
    ],
)
def test_who_may_serve(model: str, ids: set[str]) -> None:
    assert {found.registry_id for found in candidates(MIXED, model)} == ids


def refused(made: Pool, model: str, operation: str = CHAT) -> Refused:
    with pytest.raises(Refused) as told:
        candidates(made, model, operation)
    assert told.value.retry is False
    return told.value


@pytest.mark.parametrize("model", ["", "auto"])
def test_a_model_must_be_named_where_nobody_has_a_default(model: str) -> None:
    told = refused(pool(target("any"), target("small", "m-small")), model)
    assert (told.code, told.status, told.param) == ("model_required", 400, "model")


def test_a_model_that_nobody_may_be_asked_for() -> None:
    told = refused(pool(target("small", "m-small")), "m-big")
    assert (told.code, told.status, told.param) == ("model_not_allowed", 403, "model")
    assert '"m-big"' in told.message


@pytest.mark.parametrize(
    ("made", "operation", "said"),
    [
        (pool(), CHAT, ": attach one that can."),
        (pool(target("any")), "embeddings", ": attach one that can."),
        (pool(unusable={"mine": "it is switched off"}), CHAT, "(mine: it is switched off)."),
        (pool(unusable={"one": "no key", "two": "off"}), CHAT, "(one: no key; two: off)."),
    ],
)
def test_nobody_at_all(made: Pool, operation: str, said: str) -> None:
    told = refused(made, "m-small", operation)
    assert (told.code, told.status) == ("no_backend_available", 503)
    assert told.message == f"No registry of this consumer can serve {operation}" + (
        said if said[0] == ":" else f" {said}"
    )


def test_an_empty_list_of_models_is_no_model() -> None:
    assert refused(pool(target("none", allowed=frozenset())), "m-small").code == "model_not_allowed"


def test_what_may_be_named() -> None:
    assert MIXED.models() == {
        "m-small": "provider of small",
        "m-big": "provider of both",
        "m-open": "provider of open",
    }
    assert pool(target("any")).models() == {}
