"""The four dialects of callers, as the tests of policies speak them: one request said in each, and answers read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tests.lifecycle.kit import Told

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
DIALECTS = ("chat", "responses", "messages", "gemini")


class Turn(Struct, frozen=True, kw_only=True):
    """What is asked: a text, what the system says, the tools that are offered, and runs of tools (id, name, result)."""

    text: str = "Hello!"
    system: str = ""
    tools: tuple[str, ...] = ()
    runs: tuple[tuple[str, str, str], ...] = ()
    stream: bool = False
    model: str = "m-1"


class Asked(Struct, frozen=True, kw_only=True):
    """A request as it is sent."""

    path: str
    body: dict[str, Any]
    query: bytes = b""


def said(dialect: str, turn: Turn) -> Asked:
    """Return a turn in a dialect."""
    return {"chat": _chat, "responses": _responses, "messages": _messages, "gemini": _gemini}[dialect](turn)


def _chat(turn: Turn) -> Asked:
    system = [{"role": "system", "content": turn.system}] if turn.system else []
    messages: list[dict[str, Any]] = [*system, {"role": "user", "content": turn.text}]
    if turn.runs:
        calls = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}} for id_, name, _ in turn.runs
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": id_, "content": result} for id_, _, result in turn.runs]
    body: dict[str, Any] = {"model": turn.model, "messages": messages, "stream": turn.stream}
    if turn.tools:
        body["tools"] = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in turn.tools]
    return Asked(path="/my-app/v1/chat/completions", body=body)


def _responses(turn: Turn) -> Asked:
    items: list[dict[str, Any]] = [{"role": "user", "content": turn.text}]
    items += [{"type": "function_call", "call_id": id_, "name": name, "arguments": "{}"} for id_, name, _ in turn.runs]
    items += [{"type": "function_call_output", "call_id": id_, "output": result} for id_, _, result in turn.runs]
    body: dict[str, Any] = {"model": turn.model, "input": items, "stream": turn.stream}
    if turn.system:
        body["instructions"] = turn.system
    if turn.tools:
        body["tools"] = [{"type": "function", "name": name, "parameters": SCHEMA} for name in turn.tools]
    return Asked(path="/my-app/v1/responses", body=body)


def _messages(turn: Turn) -> Asked:
    messages: list[dict[str, Any]] = [{"role": "user", "content": turn.text}]
    if turn.runs:
        calls = [{"type": "tool_use", "id": id_, "name": name, "input": {}} for id_, name, _ in turn.runs]
        results = [{"type": "tool_result", "tool_use_id": id_, "content": result} for id_, _, result in turn.runs]
        messages += [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    body: dict[str, Any] = {"model": turn.model, "max_tokens": 99, "messages": messages, "stream": turn.stream}
    if turn.system:
        body["system"] = turn.system
    if turn.tools:
        body["tools"] = [{"name": name, "input_schema": SCHEMA} for name in turn.tools]
    return Asked(path="/my-app/v1/messages", body=body)


def _gemini(turn: Turn) -> Asked:
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": turn.text}]}]
    if turn.runs:
        calls = [{"functionCall": {"id": id_, "name": name, "args": {}}} for id_, name, _ in turn.runs]
        results = [
            {"functionResponse": {"id": id_, "name": name, "response": {"result": result}}}
            for id_, name, result in turn.runs
        ]
        contents += [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    body: dict[str, Any] = {"contents": contents}
    if turn.system:
        body["systemInstruction"] = {"parts": [{"text": turn.system}]}
    if turn.tools:
        body["tools"] = [{"functionDeclarations": [{"name": name, "parameters": SCHEMA} for name in turn.tools]}]
    action = "streamGenerateContent" if turn.stream else "generateContent"
    query = b"alt=sse" if turn.stream else b""
    return Asked(path=f"/my-app/v1beta/models/{turn.model}:{action}", body=body, query=query)


def text_of(dialect: str, told: Told) -> str:
    """What an answer says, whole or streamed."""
    if told.header(b"content-type").startswith("text/event-stream"):
        return "".join(_delta(dialect, event) for event in events(told))
    answer = told.json
    match dialect:
        case "chat":
            return str(answer["choices"][0]["message"]["content"] or "")
        case "responses":
            parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
            return "".join(part["text"] for part in parts)
        case "messages":
            return "".join(block.get("text", "") for block in answer["content"])
        case _:
            return "".join(part.get("text", "") for part in answer["candidates"][0]["content"]["parts"])


def events(told: Told) -> list[Any]:
    """The data of a stream's events."""
    lines = told.body.decode().replace("\r", "").split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def _delta(dialect: str, event: Mapping[str, Any]) -> str:
    match dialect:
        case "chat":
            return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        case "responses":
            return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""
        case "messages":
            return str(event.get("delta", {}).get("text", "")) if event["type"] == "content_block_delta" else ""
        case _:
            parts = [part for each in event.get("candidates", ()) for part in each.get("content", {}).get("parts", ())]
            return "".join(part.get("text", "") for part in parts)


def refusal_of(dialect: str, told: Told) -> str:
    """The message of an error, whole or at the end of a stream, in the shape that the dialect's clients read."""
    streamed = told.header(b"content-type").startswith("text/event-stream")
    found = events(told)[-1] if streamed else told.json
    if dialect == "messages":
        assert found["type"] == "error"
    if dialect == "responses" and streamed:
        assert found["type"] in ("error", "response.failed"), found
        error = found.get("error") or found.get("response", {}).get("error") or found
        return str(error["message"])
    return str(found["error"]["message"])


def calls(*names: str) -> list[dict[str, Any]]:
    """The calls of an OpenAI answer."""
    return [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for at, name in enumerate(names)
    ]


def upstream_texts(body: Mapping[str, Any]) -> str:
    """All that the provider (OpenAI's chat) was asked, roles first."""
    return "\n".join(f"{message['role']}: {_content(message.get('content'))}" for message in body["messages"])


def upstream_tools(body: Mapping[str, Any]) -> list[str]:
    """The tools that the provider was offered."""
    return [tool["function"]["name"] for tool in body.get("tools", ())]


def _content(content: Any) -> str:
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")
