"""The `cohere` package, version 2 of its client."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cohere
import httpx

from ..dialects.wording import data_url
from ..talk import Call, Door, Heard, Json, Picture, Tool, Usage
from . import PLAIN
from .openai_chat import told_tool


class Chat:
    """A conversation."""

    def __init__(self, client: cohere.ClientV2, model: str, tools: Sequence[Tool], system: str) -> None:
        self._client = client
        self._fixed: Any = {"model": model}
        if tools:
            self._fixed["tools"] = [told_tool(tool) for tool in tools]
        self.messages: list[Any] = [{"role": "system", "content": system}] if system else []

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something."""
        parts: list[Any] = [{"type": "text", "text": text}]
        if picture is not None:
            parts.append({"type": "image_url", "image_url": {"url": data_url(picture)}})
        self.messages.append({"role": "user", "content": parts if picture else text})

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls."""
        self.messages += [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in answers]

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak. The SDK puts no stream together: that is done here, as its documents show it."""
        if streamed:
            heard = _Heard()
            for event in self._client.chat_stream(messages=self.messages, **self._fixed):
                heard.take(event)
            message, finish, usage = heard.message(), heard.finish, heard.usage
        else:
            said = self._client.chat(messages=self.messages, **self._fixed)
            message, finish, usage = said.message.dict(), said.finish_reason, said.usage
        self.messages.append({name: value for name, value in message.items() if value})
        calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
        return Heard(
            text="".join(part["text"] for part in message.get("content") or () if part["type"] == "text"),
            calls=tuple(Call(each["name"], json.loads(each["arguments"]), id_) for id_, each in calls),
            finish=str(finish),
            usage=_usage(usage),
        )


class _Heard:
    """A stream put together again."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: list[Json] = []
        self.finish: object = ""
        self.usage: Any = None

    def take(self, event: Any) -> None:
        match event.type:
            case "content-delta":
                self.text += event.delta.message.content.text or ""
            case "tool-call-start":
                assert event.index == len(self.calls)
                self.calls.append(event.delta.message.tool_calls.dict())
            case "tool-call-delta":
                piece = event.delta.message.tool_calls.function.arguments
                self.calls[event.index]["function"]["arguments"] += piece
            case "message-end":
                self.finish, self.usage = event.delta.finish_reason, event.delta.usage
            case _:
                pass

    def message(self) -> Json:
        content = [{"type": "text", "text": self.text}] if self.text else []
        return {"role": "assistant", "content": content, "tool_calls": self.calls}


def _usage(usage: Any) -> Usage:
    billed = usage.billed_units
    return Usage(int(billed.input_tokens), int(usage.cached_tokens or 0), int(billed.output_tokens))


class Cohere:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Chat]:
        """Open a conversation."""
        with httpx.Client(timeout=15, trust_env=False, verify=PLAIN) as http:
            client = cohere.ClientV2(door.key, base_url=door.url, httpx_client=http, max_retries=0)
            yield Chat(client, door.model, tools, system)
