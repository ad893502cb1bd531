"""Gemini's contents as the hub's messages: the results of functions, which stand in a turn of the user, are messages.

https://ai.google.dev/api/caching#Content and https://ai.google.dev/gemini-api/docs/function-calling
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.gemini_to_openai.media import in_standard, to_data_url, to_elsewhere, to_inline
from trustgate.providers.pairs.gemini_to_openai.reading import named, several
from trustgate.providers.pairs.reading import an_object, string, text_of

_DATA: Final = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_BESIDE: Final = frozenset(("thought", "thoughtSignature"))
_RESULT: Final = frozenset(("id", "name", "response", "parts"))
_encode: Final = msgspec.json.Encoder().encode


def to_system(given: Any) -> list[Json]:
    """Return the message of the system, none where it says nothing. Raises CannotSay."""
    path = "systemInstruction.parts"
    said = several(named(given, "systemInstruction").get("parts"), path)
    parts = [_text(part, f"{path}.{at}") for at, part in enumerate(said)]
    return [{"role": "system", "content": _plain(parts)}] if parts else []


class Conversation:
    """Takes Gemini's contents one after the other; `messages` are the hub's.

    What the model says in several contents is one turn: Google's own client keeps each event of a stream as a content.
    A call without an id gets one, by its place: the same each time that the conversation is sent. A result without one
    is that of the first call of its name which has no result yet.
    """

    __slots__ = ("_calls", "_losses", "_turn", "messages")

    def __init__(self, losses: Losses) -> None:
        self.messages: list[Json] = []
        self._losses = losses
        self._calls: list[tuple[str, str]] = []
        self._turn = _Turn(losses)

    def add(self, content: Json, at: int) -> None:
        """Hear the content at a place. Raises CannotSay."""
        role = content.get("role")
        role = "user" if role is None else string(role, f"contents.{at}.role").lower()
        path = f"contents.{at}.parts"
        parts = several(content.get("parts"), path)
        if role == "model":
            for number, part in enumerate(parts):
                self._turn.hear(part, f"{path}.{number}", f"call_{at}_{number}")
        elif role in ("user", "function", "tool"):
            self.close()
            self._hear_user(parts, path)
        else:
            raise CannotSay(f"contents.{at}.role", "The role must be user or model.")

    def close(self) -> None:
        """End the turn of the model, if it has one."""
        turn, self._turn = self._turn, _Turn(self._losses)
        self._calls += [(call["id"], call["function"]["name"]) for call in turn.calls]
        if (message := turn.told()) is not None:
            self.messages.append(message)

    def _hear_user(self, parts: Sequence[Json], path: str) -> None:
        """Hear one turn: the results first, for they answer what the model has said before."""
        told: list[Json] = []
        for at, part in enumerate(parts):
            if part.get("functionResponse") is not None:
                self.messages.append(self._result(part["functionResponse"], f"{path}.{at}.functionResponse"))
            else:
                told.append(_part(part, f"{path}.{at}", self._losses))
        if told:
            self._calls.clear()
            self.messages.append({"role": "user", "content": _plain(told)})

    def _result(self, given: Any, path: str) -> Json:
        result = named(given, path)
        for name in result:
            if name not in _RESULT and result[name] is not None:
                self._losses.drop(f"contents.parts.functionResponse.{name}")
        response = result.get("response")
        text, failed = _outcome({} if response is None else an_object(response, f"{path}.response"))
        shown = several(result.get("parts"), f"{path}.parts")
        media = [_part(part, f"{path}.parts.{at}", self._losses) for at, part in enumerate(shown)]
        if media and text:
            media.insert(0, {"type": "text", "text": text})
        message: Json = {"role": "tool", "tool_call_id": self._answered(result, path), "content": media or text}
        if failed:
            message["is_error"] = True
        return message

    def _answered(self, result: Json, path: str) -> str:
        """Return the id of the call that a result answers."""
        identity, name = text_of(result.get("id")), text_of(result.get("name"))
        for at, (call, called) in enumerate(self._calls):
            if call == identity or (called == name and not identity):
                del self._calls[at]
                return call
        if not identity:
            raise CannotSay(path, "This has no id, and no call of its name stands before that has no result yet.")
        return identity


def _outcome(response: Json) -> tuple[str, bool]:
    """Return what a function has said, and whether it failed: Google's names for that are `output` and `error`."""
    if len(response) == 1:
        output, error = response.get("output"), response.get("error")
        if isinstance(output, str):
            return output, False
        if error is not None:
            return error if isinstance(error, str) else _encode(error).decode(), True
    return _encode(response).decode() if response else "", False


class _Turn:
    """Takes the parts of one turn of the model.

    A signature behind a thought is another provider's, who signs those: it ends the thought (see answer.py).
    """

    __slots__ = ("_blocks", "_images", "_losses", "_reasoning", "_signature", "_texts", "_thought", "calls")

    def __init__(self, losses: Losses) -> None:
        self.calls: list[Json] = []
        self._losses = losses
        self._texts: list[str] = []
        self._images: list[Json] = []
        self._reasoning: list[str] = []
        self._thought: list[str] = []
        self._blocks: list[Json] = []
        self._signature = ""

    def hear(self, part: Json, path: str, identity: str) -> None:
        """Take one part; `identity` is the id of a call that has none. Raises CannotSay."""
        kind = _kind(part, path, self._losses)
        if kind == "functionCall":
            self.calls.append({**_call(part[kind], f"{path}.{kind}", identity), **_signed(part)})
        elif kind == "inlineData":
            url = to_data_url(part[kind], f"{path}.{kind}")
            self._images.append({"type": "image_url", "image_url": {"url": url}, **_signed(part)})
        elif kind != "text":
            raise CannotSay(f"{path}.{kind}", "A model cannot have said this to anyone but Gemini.")
        elif part.get("thought"):
            self._think(string(part.get(kind, ""), f"{path}.{kind}"), text_of(part.get("thoughtSignature")))
        else:
            self._texts.append(string(part.get(kind, ""), f"{path}.{kind}"))
            self._sign(text_of(part.get("thoughtSignature")))

    def told(self) -> Json | None:
        """Return the hub's message, None where nothing is said."""
        text = "".join(self._texts)
        if self._blocks and self._thought:
            self._end_thought("")
        found = {
            "reasoning_content": "".join(self._reasoning),
            "thinking_blocks": self._blocks,
            "images": self._images,
            "extra_content": _extra(self._signature),
            "tool_calls": self.calls,
        }
        fields = {name: value for name, value in found.items() if value}
        if not text and not fields:
            return None
        return {"role": "assistant", "content": text or (None if self.calls else ""), **fields}

    def _think(self, text: str, signature: str) -> None:
        self._reasoning.append(text)
        self._thought.append(text)
        if signature:
            self._end_thought(in_standard(signature))

    def _end_thought(self, signature: str) -> None:
        self._blocks.append({"type": "thinking", "thinking": "".join(self._thought), "signature": signature})
        self._thought.clear()

    def _sign(self, signature: str) -> None:
        """Texts are one in the hub, and have one signature: the last."""
        if signature and self._signature:
            self._losses.drop("contents.parts.thoughtSignature")
        self._signature = signature or self._signature


def _extra(signature: str) -> Json:
    return {"google": {"thought_signature": signature}} if signature else {}


def _signed(part: Json) -> Json:
    extra = _extra(text_of(part.get("thoughtSignature")))
    return {"extra_content": extra} if extra else {}


def _call(given: Any, path: str, identity: str) -> Json:
    call = named(given, path)
    arguments = call.get("args")
    written = _encode({} if arguments is None else an_object(arguments, f"{path}.args")).decode()
    function = {"name": string(call.get("name"), f"{path}.name"), "arguments": written}
    return {"id": text_of(call.get("id")) or identity, "type": "function", "function": function}


def _kind(part: Json, path: str, losses: Losses) -> str:
    """Return what a part is, and note what is lost beside it. Raises CannotSay for what is only Gemini's."""
    found = ""
    for name, value in part.items():
        if value is None or name in _BESIDE:
            continue
        if name in _DATA:
            found = found or name
        elif name.endswith(("Metadata", "Resolution", "Processing")):
            losses.drop(f"contents.parts.{name}")
        else:
            raise CannotSay(f"{path}.{name}"[:200], "A part of this kind can be said to Gemini alone.")
    if not found and not part.get("thoughtSignature"):
        raise CannotSay(path, "This part says nothing.")
    return found or "text"


def _part(part: Json, path: str, losses: Losses) -> Json:
    """Return a part of what the user says, or of a result."""
    kind = _kind(part, path, losses)
    if part.get("thoughtSignature"):
        losses.drop("contents.parts.thoughtSignature")
    if kind == "inlineData":
        return to_inline(part[kind], f"{path}.{kind}")
    if kind == "fileData":
        return to_elsewhere(part[kind], f"{path}.{kind}", losses)
    if kind == "text":
        return {"type": "text", "text": string(part.get(kind, ""), f"{path}.{kind}")}
    raise CannotSay(f"{path}.{kind}", "Only the model calls functions.")


def _text(part: Json, path: str) -> Json:
    return {"type": "text", "text": string(part.get("text"), f"{path}.text")}


def _plain(parts: list[Json]) -> str | list[Json]:
    """One text needs no list."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts
