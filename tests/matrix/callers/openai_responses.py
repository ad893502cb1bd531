"""The `openai` package, for responses."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openai
from openai.types.responses import Response, ResponseFunctionToolCall

from ..dialects.wording import data_url
from ..talk import Call, Door, Heard, Picture, Tool, Usage
from .openai_chat import strict_client


class ErrorEvent(Exception):
    """The event of a failure, which the SDK hands out and does not raise."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Responses:
    """A conversation, whose history the caller keeps."""

    def __init__(self, client: openai.OpenAI, model: str, tools: Sequence[Tool], system: str) -> None:
        self._client = client
        self._fixed: Any = {"model": model, "store": False}
        if tools:
            self._fixed["tools"] = [_tool(tool) for tool in tools]
        if system:
            self._fixed["instructions"] = system
        self.items: list[Any] = []

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something."""
        parts: list[Any] = [{"type": "input_text", "text": text}]
        if picture is not None:
            parts.append({"type": "input_image", "detail": "auto", "image_url": data_url(picture)})
        self.items.append({"role": "user", "content": parts})

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls."""
        self.items += [{"type": "function_call_output", "call_id": call.id, "output": text} for call, text in answers]

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak."""
        said = self._stream() if streamed else self._client.responses.create(input=self.items, **self._fixed)
        self.items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in said.output]
        calls = [item for item in said.output if isinstance(item, ResponseFunctionToolCall)]
        assert said.usage is not None
        assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens
        cached = said.usage.input_tokens_details.cached_tokens
        return Heard(
            text=said.output_text,
            calls=tuple(Call(call.name, json.loads(call.arguments), call.call_id) for call in calls),
            finish=_finish(said),
            usage=Usage(said.usage.input_tokens, cached, said.usage.output_tokens),
        )

    def _stream(self) -> Response:
        with self._client.responses.stream(input=self.items, **self._fixed) as events:
            for event in events:
                if event.type == "error":
                    raise ErrorEvent(event.message, event.code or "")
                if event.type in ("response.completed", "response.incomplete"):
                    return event.response
        raise AssertionError("the stream has ended before its response")


def _tool(tool: Tool) -> Any:
    told = {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {**told, "strict": False}


def _finish(said: Response) -> str:
    reason = said.incomplete_details.reason if said.incomplete_details else None
    return f"{said.status} {reason}" if reason else str(said.status)


class OpenAIResponses:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Responses]:
        """Open a conversation."""
        with strict_client(door) as client:
            yield Responses(client, door.model, tools, system)
