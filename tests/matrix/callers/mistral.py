"""The `mistralai` package: one more caller that speaks OpenAI's chat, with an accent of its own.

Its streams want a whole call of a tool in one event, as Mistral says it; OpenAI cuts calls into pieces.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mistralai.client import Mistral as Client

from ..dialects.wording import data_url
from ..talk import Call, Door, Heard, Picture, Tool, Usage
from .openai_chat import told_tool


class Chat:
    """A conversation."""

    def __init__(self, client: Client, model: str, tools: Sequence[Tool], system: str) -> None:
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
        """Have the model speak."""
        if streamed:
            return self._stream()
        said = self._client.chat.complete(messages=self.messages, **self._fixed)
        (choice,) = said.choices
        message: Any = choice.message
        self.messages.append(message)
        calls = [_call(call.id, call.function) for call in message.tool_calls or ()]
        usage = Usage(said.usage.prompt_tokens or 0, completion=said.usage.completion_tokens or 0)
        return Heard(str(message.content or ""), tuple(calls), str(choice.finish_reason), usage)

    def _stream(self) -> Heard:
        """Mistral tells the usage unasked, OpenAI does not, so that nothing of it is to be heard here."""
        text, finish = "", ""
        with self._client.chat.stream(messages=self.messages, **self._fixed) as events:
            for choice in (choice for event in events for choice in event.data.choices):
                text += str(choice.delta.content or "")
                finish = str(choice.finish_reason or finish)
        return Heard(text, (), finish, Usage())


def _call(id_: str | None, function: Any) -> Call:
    arguments = function.arguments
    return Call(function.name, json.loads(arguments) if isinstance(arguments, str) else arguments, id_ or "")


class Mistral:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Chat]:
        """Open a conversation."""
        with Client(api_key=door.key, server_url=door.url, timeout_ms=15_000) as client:
            yield Chat(client, door.model, tools, system)
