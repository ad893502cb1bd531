"""The hub's own dialect at both ends: a target that speaks OpenAI's chat, and a caller who does.

Outwards the hub's further fields are taken out, for OpenAI refuses what it does not know; inwards what OpenAI's clients
insist on is filled in.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustgate.providers.catalog import Quirks
from trustgate.providers.hub import Inward, Json, Losses, Moment, Outward

_REQUEST: Final = ("top_k", "thinking")
_MESSAGE: Final = (
    *("reasoning_content", "thinking_blocks", "citations", "cache_control", "extra_content", "is_error"),
    "images",
)
_FILE: Final = ("file_url", "title", "context", "citations")


def outward(quirks: Quirks) -> Outward:
    """Return the way from the hub to a provider that speaks OpenAI, with these quirks."""

    def request(hub: Json, losses: Losses) -> Json:
        return _told(hub, quirks, losses)

    return Outward(request=request, answer=_heard, stream=_Reader)


def _told(hub: Json, quirks: Quirks, losses: Losses) -> Json:
    carries = quirks.carries
    body = _without(hub, [name for name in _REQUEST if name not in carries], "", losses)
    body["messages"] = [_message(each, quirks, losses) for each in _shown(hub.get("messages") or ())]
    if tools := hub.get("tools"):
        body["tools"] = [_without(tool, _marks(carries), "tools.", losses) for tool in tools]
    unwanted, wanted = ("max_completion_tokens", "max_tokens")[:: 1 if quirks.max_tokens else -1]
    if body.get(unwanted) is not None:
        body.setdefault(wanted, body[unwanted])
        del body[unwanted]
    return body


def _shown(messages: Sequence[Json]) -> Sequence[Json]:
    """OpenAI takes only text from tools: what else they return is shown by a user's message behind their results."""
    if not any(message.get("role") == "tool" and _has_media(message) for message in messages):
        return messages
    shown: list[Json] = []
    waiting: list[Json] = []
    for message in messages:
        if message.get("role") != "tool" and waiting:
            shown.append({"role": "user", "content": waiting})
            waiting = []
        if message.get("role") == "tool" and _has_media(message):
            text = [part for part in message["content"] if part.get("type") == "text"]
            waiting.append({"type": "text", "text": f"What the tool call {message.get('tool_call_id')} returned:"})
            waiting += [part for part in message["content"] if part.get("type") != "text"]
            shown.append({**message, "content": text or "The result follows."})
        else:
            shown.append(message)
    return [*shown, {"role": "user", "content": waiting}] if waiting else shown


def _has_media(message: Json) -> bool:
    parts = message.get("content")
    return isinstance(parts, list) and any(part.get("type") != "text" for part in parts)


def _marks(carries: frozenset[str]) -> Sequence[str]:
    return () if "cache_control" in carries else ("cache_control",)


def _message(message: Json, quirks: Quirks, losses: Losses) -> Json:
    fields = [name for name in _MESSAGE if name not in quirks.carries]
    if "reasoning_content" in quirks.carries and message.get("reasoning_content"):
        fields = [name for name in fields if name != "thinking_blocks"]
        message = {name: value for name, value in message.items() if name != "thinking_blocks"}
    told = _without(message, fields, "messages.", losses)
    if told.get("role") == "developer" and not quirks.developer:
        told["role"] = "system"
    if isinstance(parts := message.get("content"), list):
        told["content"] = [_part(part, quirks, losses) for part in parts]
    if calls := message.get("tool_calls"):
        told["tool_calls"] = [_without(call, ("extra_content",), "messages.tool_calls.", losses) for call in calls]
    return told


def _part(part: Json, quirks: Quirks, losses: Losses) -> Json:
    told = _without(part, _marks(quirks.carries), "messages.content.", losses)
    if isinstance(file := part.get("file"), dict):
        told["file"] = _without(file, _FILE, "messages.content.file.", losses)
    return told


def _without(fields: Mapping[str, Any], names: Sequence[str], path: str, losses: Losses) -> Json:
    for name in names:
        if fields.get(name) is not None:
            losses.drop(path + name)
    return {name: value for name, value in fields.items() if name not in names}


def _unchanged(hub: Json, asked: Json, moment: Moment) -> Json:
    return hub


def _heard(said: Json, asked: Json, moment: Moment) -> Json:
    return _thought(said, "message")


def _thought(said: Json, name: str) -> Json:
    """Groq, Cerebras, OpenRouter, Ollama and vLLM say thoughts in `reasoning`, which the hub has as DeepSeek calls it.

    https://console.groq.com/docs/reasoning · https://openrouter.ai/docs/use-cases/reasoning-tokens
    """
    choices = said.get("choices")
    if not isinstance(choices, list) or not any(_thinks(choice, name) for choice in choices):
        return said
    return {**said, "choices": [_renamed(choice, name) if _thinks(choice, name) else choice for choice in choices]}


def _thinks(choice: Any, name: str) -> bool:
    message = choice.get(name) if isinstance(choice, dict) else None
    if not isinstance(message, dict) or message.get("reasoning_content"):
        return False
    return bool(reasoning := message.get("reasoning")) and isinstance(reasoning, str)


def _renamed(choice: Json, name: str) -> Json:
    message = {**choice[name], "reasoning_content": choice[name]["reasoning"]}
    del message["reasoning"]
    return {**choice, name: message}


class _Reader:
    """Chunks are the hub's own, but for thoughts under another name."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False

    def feed(self, event: str, data: Json) -> Sequence[Json]:
        """Return the chunk; a finish reason is an end, for not everybody sends [DONE]."""
        if not self.finished:
            self.finished = any(choice.get("finish_reason") for choice in data.get("choices") or ())
        return (_thought(data, "delta"),)

    def end(self) -> Sequence[Json]:
        """Nothing is kept back."""
        return ()


def _filled(answer: Json, kind: str, moment: Moment) -> Json:
    """https://platform.openai.com/docs/api-reference/chat/object: what every answer has."""
    return {
        **answer,
        "id": answer.get("id") or f"chatcmpl-{moment.id}",
        "object": kind,
        "created": answer.get("created") or moment.created,
        "model": answer.get("model") or moment.model,
    }


def _to_caller(hub: Json, asked: Json, moment: Moment) -> Json:
    return _filled(hub, "chat.completion", moment)


class _Writer:
    """Chunks for a caller of OpenAI's chat; usage only for one who asked for it."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        options = asked.get("stream_options")
        self._usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._moment = moment
        self._id = f"chatcmpl-{moment.id}"
        self._model = moment.model

    def feed(self, chunk: Json) -> Sequence[tuple[str, Json]]:
        """Return the chunk with what every chunk has."""
        if not chunk.get("choices") and not self._usage:
            return ()
        self._id = chunk.get("id") or self._id
        self._model = chunk.get("model") or self._model
        filled = _filled({**chunk, "id": self._id, "model": self._model}, "chat.completion.chunk", self._moment)
        filled.setdefault("choices", [])
        if self._usage:
            filled.setdefault("usage", None)
        else:
            filled.pop("usage", None)
        return (("", filled),)

    def end(self) -> Sequence[tuple[str, Json]]:
        """`[DONE]` is no JSON: whoever writes the events adds it."""
        return ()


def _same(said: Json, losses: Losses) -> Json:
    return said


def _vectors_to_caller(hub: Json, asked: Json, moment: Moment) -> Json:
    """OpenAI's clients insist on usage, which Gemini's older models do not tell: no tokens were counted then.

    https://platform.openai.com/docs/api-reference/embeddings/create
    """
    return hub if "usage" in hub else {**hub, "usage": {"prompt_tokens": 0, "total_tokens": 0}}


INWARD: Final = Inward(request=_same, answer=_to_caller, stream=_Writer)
EMBEDDINGS_OUTWARD: Final = Outward(request=_same, answer=_unchanged, stream=_Reader)
"""OpenAI's embeddings are the hub of their family, and have nothing that needs taking out."""
EMBEDDINGS_INWARD: Final = Inward(request=_same, answer=_vectors_to_caller, stream=_Writer)
