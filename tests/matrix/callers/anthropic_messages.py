"""The `anthropic` package."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anthropic
from anthropic.types import Message, TextBlock, ToolUseBlock

from ..talk import Call, Door, Heard, Picture, Tool, Usage
from . import PLAIN


class Messages:
    """A conversation."""

    def __init__(self, client: anthropic.Anthropic, model: str, tools: Sequence[Tool], system: str) -> None:
        self._client = client
        self._fixed: Any = {"model": model, "max_tokens": 1024}
        if tools:
            self._fixed["tools"] = [_tool(tool) for tool in tools]
        if system:
            self._fixed["system"] = system
        self.messages: list[Any] = []

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something."""
        blocks: list[Any] = [{"type": "text", "text": text}]
        if picture is not None:
            data = base64.b64encode(picture.data).decode()
            source = {"type": "base64", "media_type": picture.media_type, "data": data}
            blocks.insert(0, {"type": "image", "source": source})
        self.messages.append({"role": "user", "content": blocks})

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls."""
        blocks = [{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in answers]
        self.messages.append({"role": "user", "content": blocks})

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak."""
        said = self._stream() if streamed else self._client.messages.create(messages=self.messages, **self._fixed)
        self.messages.append({"role": "assistant", "content": said.content})
        calls = [block for block in said.content if isinstance(block, ToolUseBlock)]
        cached = said.usage.cache_read_input_tokens or 0
        prompt = said.usage.input_tokens + cached + (said.usage.cache_creation_input_tokens or 0)
        return Heard(
            text="".join(block.text for block in said.content if isinstance(block, TextBlock)),
            calls=tuple(Call(call.name, _object(call.input), call.id) for call in calls),
            finish=str(said.stop_reason),
            usage=Usage(prompt, cached, said.usage.output_tokens),
        )

    def _stream(self) -> Message:
        with self._client.messages.stream(messages=self.messages, **self._fixed) as events:
            return events.get_final_message()


def _tool(tool: Tool) -> Any:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.schema}


def _object(value: object) -> dict[str, Any]:
    assert isinstance(value, dict), value
    return value


class AnthropicMessages:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Messages]:
        """Open a conversation."""
        with anthropic.Anthropic(
            base_url=door.url,
            api_key=door.key,
            max_retries=0,
            timeout=15,
            http_client=anthropic.DefaultHttpxClient(verify=PLAIN, trust_env=False),
            _strict_response_validation=True,
        ) as client:
            yield Messages(client, door.model, tools, system)
