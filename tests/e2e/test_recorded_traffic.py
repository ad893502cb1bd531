"""What OpenAI really said, replayed by the upstream, comes back byte for byte; and what was asked reaches it so."""

import asyncio
import base64
import dataclasses
import itertools
import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from .place import Place
from .program import Json
from .upstream import CHUNKED, Exchange, Header, Script, Upstream
from .wire import Answer, ask

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "provider-traffic"
HOP_BY_HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "date", "server"}
COMES_BACK = ("x-request-id", "openai-processing-ms", "openai-version", "openai-model")
PIECES = 30
USAGE = b',"stream_options":{"include_usage":true}}'


def asks_in_vain(asked: bytes) -> bool:
    """Whether a request is for a stream and not for its usage, which the gateway then asks for in its stead."""
    said = json.loads(asked)
    return bool(said.get("stream")) and "stream_options" not in said


@dataclasses.dataclass(frozen=True)
class Pair:
    """One recorded request and its answer."""

    id: str
    file: str
    status: int
    stream: bool

    def read(self) -> Json:
        """Return the recording."""
        recorded: Json = json.loads((DATA / self.file).read_bytes())
        return recorded


@lru_cache
def pairs() -> list[Pair]:
    index = DATA / "index.jsonl"
    if not index.is_file():
        return []
    rows: list[Json] = [json.loads(line) for line in index.read_text("utf-8").splitlines()]
    chats = [row for row in rows if row["provider"] == "openai" and row["api"] == "chat"]
    return [Pair(row["id"], row["file"], row["status"], row["stream"]) for row in chats]


def raw(part: Json) -> bytes:
    """Return the bytes of a body; one that is stored as an object is written out, always the same way."""
    if "body_b64" in part:
        return base64.b64decode(part["body_b64"])
    body = part.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def headers_of(response: Json, kind: str) -> list[Header]:
    """Return the recorded headers that describe the answer and not its transport."""
    recorded: dict[str, Any] = {"content-type": kind, **response["headers"]}
    return [
        (name.encode("latin-1"), str(value).encode("latin-1"))
        for name, value in recorded.items()
        if name.lower() not in HOP_BY_HOP
    ]


def in_pieces(body: bytes, seed: str) -> list[bytes]:
    """Cut a body at random places, always the same ones, and its very end into single bytes."""
    chance = random.Random(seed)
    cuts = set(chance.sample(range(1, len(body)), min(PIECES, len(body) - 1))) | set(range(len(body) - 8, len(body)))
    places = [0, *sorted(cut for cut in cuts if cut > 0), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(places)]


def replay(pair: Pair, recorded: Json, body: bytes) -> Script:
    """Answer as recorded, live where it was live."""
    response = recorded["response"]

    async def script(exchange: Exchange) -> None:
        if pair.stream and pair.status < 300:
            await exchange.head(pair.status, *headers_of(response, "text/event-stream"), CHUNKED)
            for piece in in_pieces(body, pair.id):
                await exchange.chunk(piece)
                await asyncio.sleep(0.0002)
            await exchange.end()
        else:
            length = (b"content-length", str(len(body)).encode())
            await exchange.head(pair.status, *headers_of(response, "application/json"), length)
            await exchange.write(body)

    return script


def check_replayed(pair: Pair, response: Json, said: Answer, body: bytes) -> None:
    """Check that nothing of the answer was changed."""
    if not body:  # lost in the recording: what came is no answer, and that is what is said
        assert (said.status, said.error()["code"]) == (502, "provider_malformed_answer")
        return
    assert said.status == pair.status
    assert said.body == body
    assert said.whole
    for name in COMES_BACK:
        assert name not in response["headers"] or said.headers[name] == response["headers"][name]
    for name, value in response["headers"].items():
        assert not name.startswith("x-ratelimit-") or said.headers[name] == value


@pytest.mark.skipif(not pairs(), reason=f"the recorded traffic is not here: {DATA}")
@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: pair.id)
def test_a_recording_comes_back_byte_for_byte(place: Place, upstream: Upstream, pair: Pair) -> None:
    recorded = pair.read()
    body, asked = raw(recorded["response"]), raw(recorded["request"])
    upstream.play(replay(pair, recorded, body))
    headers = {"content-type": "application/json", **place.headers}
    said = ask(place.port, "POST", "/patient/v1/chat/completions", headers, asked)
    check_replayed(pair, recorded["response"], said, body)
    assert upstream.last().body == (asked if not asks_in_vain(asked) else asked.rstrip()[:-1] + USAGE)


@pytest.mark.skipif(not pairs(), reason=f"the recorded traffic is not here: {DATA}")
def test_what_was_recorded_is_counted(place: Place, upstream: Upstream) -> None:
    """The events of replayed answers have the usage and the finish reason that the answers state."""
    plain = [pair for pair in pairs() if pair.status == 200 and not pair.stream][::25]
    for pair in plain:
        recorded = pair.read()
        stated = json.loads(raw(recorded["response"]))
        upstream.play(replay(pair, recorded, raw(recorded["response"])))
        headers = {"content-type": "application/json", **place.headers}
        said = ask(place.port, "POST", "/patient/v1/chat/completions", headers, raw(recorded["request"]))
        event = place.program.event(said.trace_id)
        assert event["request"]["model"] == stated["model"]
        assert event["response"]["finish_reason"] == stated["choices"][0]["finish_reason"]
        assert event["usage"]["prompt_tokens"] == stated["usage"]["prompt_tokens"]
        assert event["usage"]["completion_tokens"] == stated["usage"]["completion_tokens"]
