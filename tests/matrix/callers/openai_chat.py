"""The `openai` package, for chat completions."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from openai.types.chat import ChatCompletionMessageFunctionToolCall as FunctionCall
from openai.types.completion_usage import CompletionUsage

from ..dialects.wording import data_url
from ..talk import Call, Door, Heard, Picture, Tool, Usage
from . import PLAIN


class Chat:
    """A conversation."""

    def __init__(self, client: openai.OpenAI, model: str, tools: Sequence[Tool], system: str) -> None:
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
        said = (
            self._stream() if streamed else self._client.chat.completions.create(messages=self.messages, **self._fixed)
        )
        (choice,) = said.choices
        self.messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
        calls = [each for each in choice.message.tool_calls or () if isinstance(each, FunctionCall)]
        return Heard(
            text=choice.message.content or "",
            calls=tuple(Call(it.function.name, json.loads(it.function.arguments), it.id) for it in calls),
            finish=choice.finish_reason,
            usage=_usage(said.usage),
        )

    def _stream(self) -> ChatCompletion:
        fixed = {**self._fixed, "stream_options": {"include_usage": True}}
        with self._client.chat.completions.stream(messages=self.messages, **fixed) as events:
            try:
                return events.get_final_completion()
            except openai.LengthFinishReasonError as cut:  # the helper's way of saying `length`
                return cut.completion


def told_tool(tool: Tool) -> Any:
    """Return a tool as chat completions want it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def _usage(usage: CompletionUsage | None) -> Usage:
    assert usage is not None and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    details = usage.prompt_tokens_details
    return Usage(usage.prompt_tokens, (details.cached_tokens if details else None) or 0, usage.completion_tokens)


class OpenAIChat:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Chat]:
        """Open a conversation."""
        with strict_client(door) as client:
            yield Chat(client, door.model, tools, system)


def strict_client(door: Door) -> openai.OpenAI:
    """Return a client that checks every answer against its types, and tries nothing twice."""
    return openai.OpenAI(
        base_url=f"{door.url}/v1",
        api_key=door.key,
        max_retries=0,
        timeout=15,
        http_client=openai.DefaultHttpxClient(verify=PLAIN, trust_env=False),
        _strict_response_validation=True,
    )
