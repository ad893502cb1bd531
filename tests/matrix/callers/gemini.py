"""The `google-genai` package."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from google import genai
from google.genai import types

from ..talk import Call, Door, Heard, Picture, Tool, Usage
from . import PLAIN


class Contents:
    """A conversation."""

    def __init__(self, client: genai.Client, model: str, tools: Sequence[Tool], system: str) -> None:
        self._client = client
        self._model = model
        self._config = types.GenerateContentConfig(
            system_instruction=system or None,
            tools=[types.Tool(function_declarations=[_tool(tool) for tool in tools])] if tools else None,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        self.contents: list[Any] = []

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something."""
        parts = [types.Part.from_text(text=text)]
        if picture is not None:
            parts.append(types.Part.from_bytes(data=picture.data, mime_type=picture.media_type))
        self.contents.append(types.Content(role="user", parts=parts))

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls; by id, where they have one."""
        answered = [
            types.FunctionResponse(id=call.id or None, name=call.name, response={"result": text})
            for call, text in answers
        ]
        self.contents.append(types.Content(role="user", parts=[types.Part(function_response=it) for it in answered]))

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak."""
        fixed: Any = {"model": self._model, "contents": self.contents, "config": self._config}
        models = self._client.models
        answers = list(models.generate_content_stream(**fixed)) if streamed else [models.generate_content(**fixed)]
        parts = [part for answer in answers for part in _parts(answer)]
        self.contents.append(types.Content(role="model", parts=[part for part in parts if part.text != ""]))
        calls = [part.function_call for part in parts if part.function_call is not None]
        return Heard(
            text="".join(part.text or "" for part in parts),
            calls=tuple(Call(str(call.name), dict(call.args or {}), call.id or "") for call in calls),
            finish=_finish(answers),
            usage=_usage(answers),
        )


def _parts(answer: types.GenerateContentResponse) -> Sequence[types.Part]:
    content = answer.candidates[0].content if answer.candidates else None
    return (content.parts if content else None) or ()


def _finish(answers: Sequence[types.GenerateContentResponse]) -> str:
    (reason,) = [
        candidate.finish_reason for it in answers for candidate in it.candidates or () if candidate.finish_reason
    ]
    return reason.value


def _usage(answers: Sequence[types.GenerateContentResponse]) -> Usage:
    usage = next(it.usage_metadata for it in reversed(answers) if it.usage_metadata is not None)
    prompt, completion = usage.prompt_token_count or 0, usage.candidates_token_count or 0
    assert usage.total_token_count == prompt + completion
    return Usage(prompt, usage.cached_content_token_count or 0, completion)


def _tool(tool: Tool) -> types.FunctionDeclaration:
    return types.FunctionDeclaration(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)


class Gemini:
    """The SDK."""

    @contextmanager
    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> Iterator[Contents]:
        """Open a conversation."""
        plain = {"verify": PLAIN, "trust_env": False}
        options = types.HttpOptions(base_url=door.url, timeout=15_000, client_args=plain, async_client_args=plain)
        client = genai.Client(api_key=door.key, http_options=options)
        try:
            yield Contents(client, door.model, tools, system)
        finally:
            client.close()
