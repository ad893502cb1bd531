"""The models that a caller may use: those that are named, those that providers list, and providers that cannot say."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from trustgate.contract.target import Target, Way
from trustgate.contract.upstream import Call, Clocks, Header, Origin, Upstream, UpstreamFailure
from trustgate.forwarding.models import LIMIT, PATIENCE, Model, by_id, list_models, render_models
from trustgate.forwarding.pool import Pool

pytestmark = pytest.mark.anyio
Reply = bytes | UpstreamFailure


class Listing:
    """An answer to the question for models, in pieces."""

    status = 200
    headers: Sequence[Header] = ()

    def __init__(self, body: bytes) -> None:
        self._pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        self.closed = False
        self.read_ = 0

    async def read(self) -> bytes:
        raise AssertionError("a list is read in bounded pieces")

    async def chunk(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        self.read_ += len(piece)
        return piece

    async def aclose(self) -> None:
        self.closed = True


class Line:
    """A transport that answers by host."""

    def __init__(self, **replies: Reply) -> None:
        self._replies = replies
        self.calls: list[Call] = []
        self.listings: list[Listing] = []

    async def send(self, call: Call) -> Upstream:
        self.calls.append(call)
        reply = self._replies[call.origin.host]
        if isinstance(reply, UpstreamFailure):
            raise reply
        self.listings.append(Listing(reply))
        return self.listings[-1]

    async def aclose(self) -> None:
        pass


def target(host: str, **fields: Any) -> Target:
    given: dict[str, Any] = {
        "registry_id": host,
        "provider": f"{host} inc",
        "dialect": "openai",
        "origin": Origin(scheme="https", host=host, port=443),
        "ways": {"models": (Way(operation="models", dialect="openai", path=f"/{host}/models"),)},
        "headers": ((b"authorization", b"Bearer sk"),),
    }
    return Target(**given | fields)


def listing(*models: object) -> bytes:
    return json.dumps({"object": "list", "data": models}).encode()


def listed(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "object": "model", "created": 1, "owned_by": "somebody"} | fields


async def models(line: Line, *targets: Target) -> list[tuple[str, str]]:
    found = await list_models(Pool(targets, {}), line)
    assert all(listing.closed for listing in line.listings)
    return [(model.id, model.owned_by) for model in found]


async def test_named_models_need_no_provider() -> None:
    line = Line()
    made = target("one", allowed=frozenset(("b", "a")), default="a")
    assert await models(line, made) == [("a", "one inc"), ("b", "one inc")]
    assert line.calls == []


async def test_a_provider_that_may_be_asked_for_anything_is_asked_what_it_has() -> None:
    line = Line(one=listing(listed("c"), listed("a", created=None, extra=[1])))
    assert await models(line, target("one", default="b")) == [("a", "one inc"), ("b", "one inc"), ("c", "one inc")]


async def test_the_same_model_of_two_providers_is_one() -> None:
    line = Line(one=listing(listed("a")), two=listing(listed("a"), listed("b")))
    assert await models(line, target("one"), target("two")) == [("a", "one inc"), ("b", "two inc")]
    named = target("three", allowed=frozenset(("a",)))
    assert await models(line, target("one"), named) == [("a", "three inc")]


async def test_what_is_asked() -> None:
    line = Line(one=listing())
    await models(line, target("one", clocks=Clocks(total=100)))
    assert line.calls == [
        Call(
            method="GET",
            origin=Origin(scheme="https", host="one", port=443),
            target=b"/one/models",
            headers=[
                (b"authorization", b"Bearer sk"),
                (b"accept", b"application/json"),
                (b"accept-encoding", b"identity"),
            ],
            clocks=Clocks(connect=PATIENCE, first_byte=PATIENCE, idle=PATIENCE, total=PATIENCE),
        )
    ]


async def test_a_provider_that_has_no_list_is_not_asked() -> None:
    line = Line()
    assert await models(line, target("one", ways={})) == []
    assert line.calls == []


@pytest.mark.parametrize(
    "reply",
    [
        UpstreamFailure("connect_failed", ""),
        UpstreamFailure("first_byte_timeout", ""),
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"data":null}',
        b'{"error":{"message":"Bad key."}}',
        b'{"data":[{"id":5}]}',
        b'{"data":["a"]}',
        b'{"data":[{"id":"\xff"}]}',
        b'{"data":[],"x":' + b"[" * 100_000 + b"}",
        listing(listed("x" * 2 * LIMIT)),
    ],
    ids=lambda reply: repr(reply)[:40],
)
async def test_a_provider_that_cannot_say_adds_nothing_and_breaks_nothing(reply: Reply) -> None:
    line = Line(one=reply, two=listing(listed("b")))
    made = [target("one", default="a"), target("two")]
    assert await models(line, *made) == [("a", "one inc"), ("b", "two inc")]


async def test_a_list_without_end_is_not_read_to_it() -> None:
    line = Line(one=b" " * (3 * LIMIT))
    assert await models(line, target("one")) == []
    assert line.listings[0].read_ <= LIMIT + 65536


def test_the_list_as_openai_sends_it() -> None:
    assert json.loads(render_models([Model(id="a", created=5, owned_by="me")], "openai")) == {
        "object": "list",
        "data": [{"id": "a", "object": "model", "created": 5, "owned_by": "me"}],
    }
    assert json.loads(render_models([], "openai")) == {"object": "list", "data": []}


def test_one_of_them() -> None:
    found = [Model(id="a/b", owned_by="me"), Model(id="c")]
    assert json.loads(by_id(found, "a/b", "openai") or b"") == {
        "id": "a/b",
        "object": "model",
        "created": 0,
        "owned_by": "me",
    }
    assert by_id(found, "A/B", "openai") is None
