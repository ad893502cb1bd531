"""AWS's own SDK on either side: it sends the bodies that we make, and reads the answers and streams that we give."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import EventStreamError

from trustgate.providers.eventstream import EVENT_STREAM
from trustgate.providers.hub import Json

from .bedrock_meaning import bedrock_message

GOLDEN = Path(__file__).parents[2] / "golden"
BLOBS = ("bytes", "redactedContent")
USAGE = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}


class Sent:
    """What Bedrock would have got, and what it answers."""

    def __init__(self, body: bytes, kind: str) -> None:
        self.body = body
        self.kind = kind
        self.asked: Json = {}

    def stream(self, **_: Any) -> Iterator[bytes]:
        """Give the body in small pieces, as a socket would."""
        for at in range(0, len(self.body), 50):
            yield self.body[at : at + 50]

    def close(self) -> None:
        """Nothing is held open."""

    def answer(self, request: Any, **_: Any) -> AWSResponse:
        """Take the request that the SDK was about to send."""
        self.asked = json.loads(request.body)
        headers: Any = HeadersDict({"content-type": self.kind})
        response = AWSResponse(request.url, 200, headers, self)
        if self.kind == "application/json":
            assert response.content == self.body
        return response


def client(sent: Sent) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    made: Any = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=config,
    )
    made.meta.events.register("before-send.bedrock-runtime", sent.answer)
    return made


def with_bytes(said: Any) -> Any:
    """Return what the SDK wants to be given: bytes, which it writes as base64."""
    if isinstance(said, list):
        return [with_bytes(each) for each in said]
    if not isinstance(said, dict):
        return said
    return {
        name: base64.b64decode(value) if name in BLOBS and isinstance(value, str) else with_bytes(value)
        for name, value in said.items()
    }


def golden(pair: str, what: str) -> pytest.MarkDecorator:
    paths = sorted((GOLDEN / pair).glob(f"{what}.*.json"))
    cases = [(path.stem, json.loads(path.read_text("utf-8"))) for path in paths]
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases if "gives" in case])


@golden("openai_to_bedrock", "request")
def test_the_sdk_would_send_what_we_send(case: Json) -> None:
    """It checks names, types, requirements and lengths against AWS's own model of the service."""
    empty = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "usage": USAGE}
    sent = Sent(json.dumps({**empty, "metrics": {"latencyMs": 1}}).encode(), "application/json")
    client(sent).converse(modelId="us.amazon.nova-micro-v1:0", **with_bytes(case["gives"]))
    assert sent.asked == case["gives"]


@golden("bedrock_to_openai", "request")
def test_what_is_asked_in_the_golden_files_is_what_the_sdk_asks(case: Json) -> None:
    if "brandNew" in json.dumps(case["given"]):
        pytest.skip("it has fields that AWS does not have yet")
    sent = Sent(b"{}", "application/json")
    client(sent).converse(modelId="us.amazon.nova-micro-v1:0", **with_bytes(case["given"]))
    assert sent.asked == case["given"]


@golden("bedrock_to_openai", "answer")
def test_the_sdk_reads_our_answers(case: Json) -> None:
    sent = Sent(json.dumps(case["gives"]).encode(), "application/json")
    said = client(sent).converse(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    assert {name: value for name, value in said.items() if name != "ResponseMetadata"} == with_bytes(case["gives"])


def frames(case: Json) -> bytes:
    events = [*(event for events in case["gives"] for event in events), *case["end"]]
    return b"".join(EVENT_STREAM.frame(name, json.dumps(said).encode()) for name, said in events)


def stream_of(raw: bytes) -> Iterator[Json]:
    sent = Sent(raw, "application/vnd.amazon.eventstream")
    said = client(sent).converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "x"}]}])
    yield from said["stream"]


@golden("bedrock_to_openai", "stream")
def test_the_sdk_reads_our_streams(case: Json) -> None:
    said = list(stream_of(frames(case)))
    ours = [said for events in (*case["gives"], case["end"]) for _, said in events]
    assert said == with_bytes(ours)
    kinds = [next(iter(event)) for event in said]
    assert (kinds[0], kinds[-2:]) == ("messageStart", ["messageStop", "metadata"])
    whole = bedrock_message(said)
    assert whole["usage"].keys() >= USAGE.keys()
    assert whole["metrics"] == {"latencyMs": 0}


def test_the_sdk_raises_our_exceptions() -> None:
    error = {"message": "Zu viele Anfragen."}
    start = EVENT_STREAM.frame("messageStart", b'{"messageStart":{"role":"assistant"}}')
    name = "throttlingException"
    raised = EVENT_STREAM.frame(name, json.dumps({name: error, "error": error}).encode())
    said = stream_of(start + raised)
    assert next(said) == {"messageStart": {"role": "assistant"}}
    with pytest.raises(EventStreamError, match="Zu viele Anfragen"):
        next(said)
