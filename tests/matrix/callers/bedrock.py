"""The `boto3` package's `bedrock-runtime`, with a bearer, as with a Bedrock API key."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from ..talk import Call, Door, Heard, Json, Picture, Tool, Usage


class Converse:
    """A conversation."""

    def __init__(self, client: Any, model: str, tools: Sequence[Tool], system: str) -> None:
        self._client = client
        self._fixed: Any = {"modelId": model}
        if tools:
            self._fixed["toolConfig"] = {"tools": [_tool(tool) for tool in tools]}
        if system:
            self._fixed["system"] = [{"text": system}]
        self.messages: list[Any] = []

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something."""
        blocks: list[Any] = [{"text": text}]
        if picture is not None:
            kind = picture.media_type.removeprefix("image/")
            blocks.append({"image": {"format": kind, "source": {"bytes": picture.data}}})
        self.messages.append({"role": "user", "content": blocks})

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls."""
        blocks = [{"toolResult": {"toolUseId": call.id, "content": [{"text": text}]}} for call, text in answers]
        self.messages.append({"role": "user", "content": blocks})

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak. The SDK puts no stream together: that is done here, as its documents show it."""
        if streamed:
            heard = _Heard()
            with closing(self._client.converse_stream(messages=self.messages, **self._fixed)["stream"]) as events:
                for event in events:
                    heard.take(event)
            message, finish, usage = heard.message(), heard.finish, heard.usage
        else:
            said = self._client.converse(messages=self.messages, **self._fixed)
            message, finish, usage = said["output"]["message"], said["stopReason"], said["usage"]
        self.messages.append(message)
        calls = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        return Heard(
            text="".join(block.get("text", "") for block in message["content"]),
            calls=tuple(Call(call["name"], call["input"], call["toolUseId"]) for call in calls),
            finish=finish,
            usage=_usage(usage),
        )


class _Heard:
    """A stream put together again."""

    def __init__(self) -> None:
        self.blocks: dict[int, Json] = {}
        self.finish = ""
        self.usage: Json = {}

    def take(self, event: Json) -> None:
        match event:
            case {"contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": use}}}:
                self.blocks[index] = {"toolUse": {**use, "input": ""}}
            case {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": text}}}:
                self.blocks.setdefault(index, {"text": ""})["text"] += text
            case {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}}:
                self.blocks[index]["toolUse"]["input"] += piece
            case {"messageStop": {"stopReason": reason}}:
                self.finish = reason
            case {"metadata": {"usage": usage}}:
                self.usage = usage
            case _:
                pass

    def message(self) -> Json:
        blocks = [self.blocks[index] for index in sorted(self.blocks)]
        for block in blocks:
            if use := block.get("toolUse"):
                use["input"] = json.loads(use["input"] or "{}")
        return {"role": "assistant", "content": blocks}


def _usage(usage: Json) -> Usage:
    cached = usage.get("cacheReadInputTokens", 0)
    prompt = usage["inputTokens"] + cached + usage.get("cacheWriteInputTokens", 0)
    assert usage["totalTokens"] == prompt + usage["outputTokens"]
    return Usage(prompt, cached, usage["outputTokens"])


def _tool(tool: Tool) -> Json:
    return {"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.schema}}}


class Bedrock:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Converse]:
        """Open a conversation."""
        client = _client(door)
        try:
            yield Converse(client, door.model, tools, system)
        finally:
            client.close()


@cache
def _session() -> boto3.Session:
    """One for all clients: it reads Amazon's model of the service, which takes its time."""
    return boto3.Session()


def _client(door: Door) -> Any:
    """Return a client that shows its key as a Bedrock API key is shown.

    The SDK itself does so over https only (AWS_BEARER_TOKEN_BEDROCK), so here a hook of its own does.
    """
    config = Config(signature_version=UNSIGNED, retries={"max_attempts": 0}, read_timeout=15, connect_timeout=5)
    client = _session().client("bedrock-runtime", "us-east-1", endpoint_url=door.url, config=config)

    def show_key(request: Any, **_: object) -> None:
        request.headers["Authorization"] = f"Bearer {door.key}"

    client.meta.events.register("before-send.bedrock-runtime.*", show_key)
    return client
