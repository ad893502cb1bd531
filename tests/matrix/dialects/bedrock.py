"""Amazon Bedrock's Converse. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

Requests are checked by botocore against Amazon's own model of the service.
"""

import binascii
import struct
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from ..talk import Asked, Call, Json, Said, Usage
from . import Dialect, Header
from .history import BadRequest, History
from .wording import checked, pieces, written

REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
ERRORS: Final = {
    400: "ValidationException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    529: "ServiceUnavailableException",
}
FORMATS: Final = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}


def hear(path: str, body: Json, header: Header) -> Asked:
    """Read a request; model and stream are in the path."""
    model, _, action = path.rpartition("/model/")[2].rpartition("/")
    _check(unquote(model), body)
    history = History()
    history.system += [block["text"] for block in body.get("system", ()) if "text" in block]
    expected = "user"
    for message in body["messages"]:
        if message["role"] != expected:
            raise BadRequest("roles are to alternate between user and assistant, and user comes first")
        expected = "assistant" if expected == "user" else "user"
        (_take_user if message["role"] == "user" else _take_assistant)(history, message["content"])
    specs = [tool["toolSpec"] for tool in body.get("toolConfig", {}).get("tools", ()) if "toolSpec" in tool]
    tools = {spec["name"]: spec["inputSchema"]["json"] for spec in specs}
    return history.asked(model=unquote(model), streamed=action == "converse-stream", tools=tools)


@cache
def _shape() -> Any:
    return (
        ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
        .operation_model("Converse")
        .input_shape
    )


def _check(model: str, body: Json) -> None:
    """Hold the request against Amazon's model; base64 in JSON stands for bytes there."""
    report = ParamValidator().validate({"modelId": model, **body}, _shape())
    if report.has_errors():
        raise BadRequest(report.generate_report())


def _take_user(history: History, blocks: list[Json]) -> None:
    for block in blocks:
        if result := block.get("toolResult"):
            history.result(
                result["toolUseId"], "".join(it.get("text") or written(it["json"]) for it in result["content"])
            )
    rest = [block for block in blocks if "toolResult" not in block]
    pictures = [
        checked(FORMATS.get(it["image"]["format"], ""), it["image"]["source"]["bytes"]) for it in rest if "image" in it
    ]
    if text := "".join(block.get("text", "") for block in rest):
        history.user(text, pictures)


def _take_assistant(history: History, blocks: list[Json]) -> None:
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    if any("text" in block and not block["text"].strip() for block in blocks):
        raise BadRequest("The text field in the ContentBlock object is blank.")
    history.assistant([Call(use["name"], use["input"], use["toolUseId"]) for use in uses])


def whole(said: Said, asked: Asked) -> Json:
    """Say an answer."""
    content: list[Json] = [{"text": said.text}] if said.text else []
    content += [{"toolUse": {**_started(call), "input": call.arguments}} for call in said.calls]
    output = {"message": {"role": "assistant", "content": content}}
    return {"output": output, "stopReason": _reason(said), "usage": _usage(said.usage), "metrics": {"latencyMs": 1353}}


def _started(call: Call) -> Json:
    return {"toolUseId": f"tooluse_{call.id}", "name": call.name}


def _reason(said: Said) -> str:
    return said.native or REASONS[said.finish]


def _usage(usage: Usage) -> Json:
    return {
        "inputTokens": usage.prompt - usage.cached,
        "outputTokens": usage.completion,
        "totalTokens": usage.prompt + usage.completion,
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": 0,
    }


def events(said: Said, asked: Asked) -> list[bytes]:
    """Say an answer as a stream. A text block has no start."""
    story: list[tuple[str, Json]] = [("messageStart", {"role": "assistant"})]
    if said.text:
        story += [_delta(0, {"text": piece}) for piece in pieces(said.text)]
        story.append(("contentBlockStop", {"contentBlockIndex": 0}))
    for index, call in enumerate(said.calls, int(bool(said.text))):
        story.append(("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": _started(call)}}))
        story += [_delta(index, {"toolUse": {"input": piece}}) for piece in pieces(written(call.arguments))]
        story.append(("contentBlockStop", {"contentBlockIndex": index}))
    story.append(("messageStop", {"stopReason": _reason(said)}))
    story.append(("metadata", {"usage": _usage(said.usage), "metrics": {"latencyMs": 1353}}))
    return [frame(name, data) for name, data in story]


def _delta(index: int, delta: Json) -> tuple[str, Json]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def frame(name: str, data: Json, kind: str = "event") -> bytes:
    """Return one message of Amazon's event stream; every one is padded to hide its length.

    https://smithy.io/2.0/aws/amazon-eventstream.html
    """
    named = b":event-type" if kind == "event" else b":exception-type"
    fields = ((named, name.encode()), (b":content-type", b"application/json"), (b":message-type", kind.encode()))
    headers = b"".join(b"%c%s\x07%s%s" % (len(key), key, struct.pack("!H", len(value)), value) for key, value in fields)
    body = written({**data, "p": "abcdefgh"}).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + headers + body
    return message + struct.pack("!I", binascii.crc32(message))


def fault(status: int, code: str, message: str) -> Json:
    """Say an error; its name is in a header."""
    return {"message": message}


BEDROCK: Final = Dialect(
    paths=("/converse", "/converse-stream"),
    hear=hear,
    whole=whole,
    events=events,
    fault=fault,
    content_type="application/vnd.amazon.eventstream",
)
