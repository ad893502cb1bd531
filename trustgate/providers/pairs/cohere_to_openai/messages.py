"""The messages of a request to Cohere's v2 chat as the hub has them, and the documents that go with them.

https://docs.cohere.com/reference/chat#request.body.messages

The hub's targets have no documents beside the messages: they are read to the model ahead of the last that the user
said, in the order given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses


def to_messages(messages: Any, documents: Any, losses: Losses) -> list[Json]:
    """Return the hub's messages. Raises CannotSay."""
    if not isinstance(messages, list):
        raise CannotSay("messages", "`messages` must be a list.")
    told = [_message(message, f"messages.{index}", losses) for index, message in enumerate(messages)]
    if documents is None:
        return told
    if not isinstance(documents, list):
        raise CannotSay("documents", "`documents` must be a list.")
    return _with_documents(told, documents) if documents else told


def _message(message: Any, path: str, losses: Losses) -> Json:
    if not isinstance(message, dict):
        raise CannotSay(path, "A message must be an object.")
    role = message.get("role")
    told = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if told is None:
        raise CannotSay(f"{path}.role", "`role` must be system, user, assistant or tool.")
    if message.get("citations"):
        losses.drop("messages.citations")
    return told(message, path)


# Parts of content.

_Part = Callable[[Json, str], Json]


def _content(message: Json, path: str, to_part: _Part) -> str | list[Json]:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise CannotSay(f"{path}.content", "`content` must be a string or a list of parts.")
    return [to_part(part, f"{path}.content.{index}") for index, part in enumerate(_objects(content, path))]


def _objects(content: Sequence[Any], path: str) -> Sequence[Json]:
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise CannotSay(f"{path}.content.{index}", "A part of content must be an object.")
    return content


def _text(part: Json, path: str) -> Json:
    if part.get("type", "text") != "text":
        raise CannotSay(f"{path}.type", "There is no content of this type here.")
    if not isinstance(part.get("text"), str):
        raise CannotSay(f"{path}.text", "`text` must be a string.")
    return {"type": "text", "text": part["text"]}


def _user_part(part: Json, path: str) -> Json:
    if part.get("type") != "image_url":
        return _text(part, path)
    image = part.get("image_url")
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise CannotSay(f"{path}.image_url", "`image_url` must be an object with a `url`.")
    return {"type": "image_url", "image_url": image}


def _tool_part(part: Json, path: str) -> Json:
    if part.get("type") != "document":
        return _text(part, path)
    return {"type": "text", "text": _read_out(part.get("document"), "", f"{path}.document")}


# Roles.


def _system(message: Json, path: str) -> Json:
    return {"role": "system", "content": _content(message, path, _text)}


def _user(message: Json, path: str) -> Json:
    return {"role": "user", "content": _content(message, path, _user_part)}


def _tool(message: Json, path: str) -> Json:
    identity = message.get("tool_call_id")
    if not isinstance(identity, str):
        raise CannotSay(f"{path}.tool_call_id", "A message of role tool needs the `tool_call_id` of its call.")
    return {"role": "tool", "tool_call_id": identity, "content": _content(message, path, _tool_part)}


def _assistant(message: Json, path: str) -> Json:
    """A plan is what the model said before it called: content, as with every other model."""
    text, thoughts = _spoken(message, path)
    told: Json = {"role": "assistant", "content": _planned(message, text, path)}
    if thoughts:
        told["reasoning_content"] = thoughts
    calls = message.get("tool_calls")
    if calls:
        if not isinstance(calls, list):
            raise CannotSay(f"{path}.tool_calls", "`tool_calls` must be a list.")
        told["tool_calls"] = [_call(call, f"{path}.tool_calls.{at}") for at, call in enumerate(calls)]
    if not told["content"]:
        told["content"] = None if calls else ""
    return told


def _spoken(message: Json, path: str) -> tuple[str | list[Json], str]:
    """Return the texts and the thoughts."""
    content = message.get("content")
    if content is None:
        return "", ""
    if not isinstance(content, list):
        return _content(message, path, _text), ""
    texts, thoughts = [], []
    for index, part in enumerate(_objects(content, path)):
        if part.get("type") != "thinking":
            texts.append(_text(part, f"{path}.content.{index}"))
        elif isinstance(part.get("thinking"), str):
            thoughts.append(part["thinking"])
        else:
            raise CannotSay(f"{path}.content.{index}.thinking", "`thinking` must be a string.")
    return texts, "".join(thoughts)


def _planned(message: Json, text: str | list[Json], path: str) -> str | list[Json]:
    plan = message.get("tool_plan")
    if plan is None or plan == "":
        return text
    if not isinstance(plan, str):
        raise CannotSay(f"{path}.tool_plan", "`tool_plan` must be a string.")
    return plan + text if isinstance(text, str) else [{"type": "text", "text": plan}, *text] if text else plan


def _call(call: Any, path: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(call.get("id"), str):
        raise CannotSay(path, "A call must be one of a function, with an `id`.")
    return {"id": call["id"], "type": "function", "function": function}


_Role = Callable[[Json, str], Json]
_ROLES: Final[Mapping[str, _Role]] = {"system": _system, "user": _user, "assistant": _assistant, "tool": _tool}


# Documents. https://docs.cohere.com/docs/rag-citations#document-id: one without an id is called doc:0, doc:1, …


def _with_documents(messages: list[Json], documents: Sequence[Any]) -> list[Json]:
    last = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last < 0:
        raise CannotSay("documents", "Documents need a message of the user that they go with.")
    read = [
        {"type": "text", "text": _read_out(document, f"doc:{at}", f"documents.{at}")}
        for at, document in enumerate(documents)
    ]
    content = messages[last]["content"]
    said = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [*messages[:last], {"role": "user", "content": [*read, *said]}, *messages[last + 1 :]]


def _read_out(document: Any, name: str, path: str) -> str:
    if isinstance(document, str):
        return _named(document, name)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(data, str | dict):
        raise CannotSay(path, "A document must be a string, or an object with `data`.")
    identity = document.get("id")
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return _named(text, identity if isinstance(identity, str) else name)


def _named(text: str, name: str) -> str:
    return f"Document {name}:\n{text}" if name else text
