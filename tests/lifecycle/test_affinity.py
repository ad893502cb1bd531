"""Who goes on from an answer that a provider keeps asks the provider that has it."""

import json
from typing import Any

import pytest

from tests.lifecycle.kit import Caller, House, Scripted, Told, configured, consumer, gateway, live, registry
from tests.lifecycle.test_failover import Hosts, failing
from tests.lifecycle.test_hedging import Slow
from trustgate.config.records import AnyRecord, Hedging, LoadBalancing
from trustgate.contract.ports import StateUnavailable
from trustgate.state.memory_cache import MemoryCache

pytestmark = pytest.mark.anyio
PATH = "/my-app/v1/responses"


def response(id_: str) -> dict[str, Any]:
    text = {"type": "output_text", "text": "Hi", "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    given = {"id": id_, "object": "response", "created_at": 1, "status": "completed", "model": "m-1"}
    return given | {"output": [message], "usage": usage}


def answering(host: str, *, streamed: bool = False) -> Any:
    """Answers whose ids say who has them."""
    made = iter(range(1000))

    def answer() -> Scripted:
        said = response(f"resp_{host}_{next(made)}")
        if not streamed:
            return Scripted(json.dumps(said).encode())
        begun = {"type": "response.created", "sequence_number": 0, "response": said | {"output": []}}
        ended = {"type": "response.completed", "sequence_number": 1, "response": said}
        events = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (begun, ended)]
        return live(*events)

    return answer


def house(line: Hosts, *, lb_config: LoadBalancing | None = None, **fields: Any) -> House:
    records: list[AnyRecord] = [gateway()]
    records += [
        registry(name, provider="openai", provider_options={"base_url": f"http://{name}.test/v1"})
        for name in line.hosts
    ]
    return House(line, records=configured(*records, consumer(*line.hosts, lb_config=lb_config)), **fields)


async def ask(at: House, previous: str = "", *, streamed: bool = False) -> tuple[Told, str]:
    """Ask, and return what came back with the id of the answer."""
    body = {"model": "m-1", "input": "Hello!", "stream": streamed} | (
        {"previous_response_id": previous} if previous else {}
    )
    told = await at.ask(body, path=PATH)
    found = told.body.partition(b'"resp_')[2].partition(b'"')[0].decode()
    return told, f"resp_{found}"


@pytest.mark.parametrize("streamed", [False, True])
async def test_it_goes_where_the_answer_is(streamed: bool) -> None:
    line = Hosts(**{name: answering(name, streamed=streamed) for name in ("r1", "r2", "r3")})
    at = house(line)
    ids = [(await ask(at, streamed=streamed))[1] for _ in range(3)]
    assert {id_.split("_")[1] for id_ in ids} == {"r1", "r2", "r3"}
    for id_ in ids * 3:
        told, _ = await ask(at, id_, streamed=streamed)
        assert told.status == 200
        assert line.order[-1] == id_.split("_")[1]


async def test_whoever_asks_for_it_asks_who_has_it() -> None:
    line = Hosts(r1=answering("r1"), r2=answering("r2"))
    at = house(line)
    ids = [(await ask(at))[1] for _ in range(2)]
    for id_ in reversed(ids):
        before = len(line.calls)
        told = await Caller(at.app, b"", path=f"{PATH}/{id_}", method="GET").call()
        assert told.status == 200
        assert line.order[before:] == [id_.split("_")[1]]


async def test_nobody_else_is_asked_when_it_fails() -> None:
    line = Hosts(r1=answering("r1"), r2=answering("r2"))
    at = house(line)
    _, id_ = await ask(at)
    line.hosts["r1"] = failing(500)
    assert id_.startswith("resp_r1")
    before = len(line.calls)
    assert (await ask(at, id_))[0].status == 500
    assert line.order[before:] == ["r1"], "the other one knows nothing of it"


async def test_what_nobody_knows_is_asked_of_whose_turn_it_is() -> None:
    line = Hosts(r1=answering("r1"), r2=answering("r2"))
    at = house(line)
    for _ in range(4):
        assert (await ask(at, "resp_elsewhere"))[0].status == 200
    assert sorted(line.order) == ["r1", "r1", "r2", "r2"]


async def test_another_gateway_learns_nothing_of_it() -> None:
    cache = MemoryCache()
    line = Hosts(r1=answering("r1"), r2=answering("r2"))
    at = house(line, cache=cache)
    _, id_ = await ask(at)
    assert await cache.get(f"g1:lives:{id_}") == b"r1"
    assert await cache.get(f"g2:lives:{id_}") is None


class Gone(MemoryCache):
    """A cache that cannot be reached."""

    async def get(self, key: str) -> bytes | None:
        raise StateUnavailable("nobody is there")

    async def set(self, key: str, value: bytes, *, ttl: float) -> None:
        raise StateUnavailable("nobody is there")


async def test_without_a_cache_it_goes_on() -> None:
    line = Hosts(r1=answering("r1"), r2=answering("r2"))
    at = house(line, cache=Gone())
    told, id_ = await ask(at)
    assert told.status == 200
    assert (await ask(at, id_))[0].status == 200


@pytest.mark.parametrize("file_id", ["file-abc123", "file_011CNha8iCJcU1wXNR6q4V8w"])
async def test_a_file_is_asked_for_where_it_was_uploaded(file_id: str) -> None:
    uploaded = json.dumps({"id": file_id, "object": "file", "bytes": 3}).encode()
    line = Hosts(r1=answering("r1"), r2=lambda: Scripted(uploaded))
    at = house(line)
    told = await Caller(at.app, b"abc", path="/my-app/passthrough/r2/files").call()
    assert told.json["id"] == file_id
    line.hosts["r2"] = answering("r2")
    content = [{"type": "input_file", "file_id": file_id}]
    before = len(line.calls)
    for _ in range(4):
        body = {"model": "m-1", "input": [{"role": "user", "content": content}]}
        assert (await at.ask(body, path=PATH)).status == 200
    assert line.order[before:] == ["r2"] * 4


async def test_of_two_that_are_asked_at_once_the_one_that_answered_has_it() -> None:
    """The other one had begun a stream too, and nobody heard it."""
    line = Slow("r1", r1=answering("r1", streamed=True), r2=answering("r2", streamed=True), r3=answering("r3"))
    balancing = LoadBalancing(algorithm="round-robin", hedging=Hedging(after_ms=20))
    at = house(line, lb_config=balancing)
    told, id_ = await ask(at, streamed=True)
    assert told.status == 200
    assert id_.startswith("resp_r2")
    line.gates["r1"].set()
    before = len(line.calls)
    await ask(at, id_, streamed=True)
    assert line.order[before:] == ["r2"]
