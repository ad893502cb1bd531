"""The hub's messages in Gemini's words.

System and developer messages stand beside the conversation. The results of functions that were called together stand
in one turn of the user. https://ai.google.dev/gemini-api/docs/function-calling
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_anthropic.messages import arguments_of
from trustgate.providers.pairs.openai_to_gemini.abilities import Abilities
from trustgate.providers.pairs.openai_to_gemini.media import MEDIA, split_data_url
from trustgate.providers.pairs.reading import an_object, object_of, objects, string, text_of

_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset(("role", "content")),
    "developer": frozenset(("role", "content")),
    "user": frozenset(("role", "content")),
    "tool": frozenset(("role", "content", "tool_call_id", "is_error", "name")),
    "assistant": frozenset(
        (
            *("role", "content", "tool_calls", "refusal", "reasoning_content", "thinking_blocks", "images"),
            *("extra_content", "audio", "function_call"),
        )
    ),
}
_UNSIGNED: Final = "skip_thought_signature_validator"
"""What stands for the signature of a call that no Gemini has made: thought-signatures#faqs."""
_EXACT: Final = re.compile(r"\d{16}")
"""A number that is rounded in a `Struct`, whose numbers are floating point: such a result is said as text."""
_decode: Final = msgspec.json.Decoder().decode


class Conversation:
    """Takes the hub's messages one after the other; `system` and `contents` are Gemini's."""

    __slots__ = ("_losses", "_media", "_model", "_names", "_results", "contents", "system")

    def __init__(self, model: Abilities, losses: Losses) -> None:
        self.system: list[Json] = []
        self.contents: list[Json] = []
        self._model = model
        self._losses = losses
        self._names: dict[str, str] = {}
        self._results: list[Json] = []
        self._media: list[Json] = []

    def add(self, message: Json, path: str) -> None:
        """Say one message. Raises CannotSay."""
        role = message.get("role")
        known = _KNOWN.get(role) if isinstance(role, str) else None
        if known is None:
            raise CannotSay(f"{path}.role", "The role must be one of system, developer, user, assistant and tool.")
        for name in message:
            if name not in known and message[name]:
                self._losses.drop(f"messages.{name}")
        if role == "tool":
            self._say_result(message, path)
            return
        self.close()
        if role == "user":
            self._say("user", self._parts(message.get("content"), path, media=True))
        elif role == "assistant":
            self._say_assistant(message, path)
        else:
            self.system += self._parts(message.get("content"), path, media=False)

    def close(self) -> None:
        """End the turn of results, if there is one. What they show and cannot hold themselves stands behind them."""
        self._say("user", self._results)
        self._say("user", self._media)
        self._results, self._media = [], []

    def _say(self, role: str, parts: list[Json]) -> None:
        if parts:
            self.contents.append({"role": role, "parts": parts})

    def _parts(self, content: Any, path: str, *, media: bool) -> list[Json]:
        """Return the parts of a content; nothing for an empty text, which Gemini refuses."""
        if content is None:
            return []
        if isinstance(content, str):
            return [{"text": content}] if content else []
        path += ".content"
        found = (self._part(part, f"{path}.{at}", media=media) for at, part in enumerate(objects(content, path)))
        return [part for part in found if part.get("text") != ""]

    def _part(self, part: Json, path: str, *, media: bool) -> Json:
        if part.get("cache_control") is not None:
            self._losses.drop("messages.content.cache_control")
        kind = part.get("type")
        if kind in ("text", "refusal"):
            return {"text": string(part.get(kind), f"{path}.{kind}")}
        say = MEDIA.get(kind) if media and isinstance(kind, str) else None
        if say is None:
            where = f"{path}.{kind}" if isinstance(kind, str) and kind in part else f"{path}.type"
            raise CannotSay(where, f"Gemini has no content of the type {str(kind)[:40]!r} here.")
        return say(part, path, self._losses)

    def _say_result(self, message: Json, path: str) -> None:
        """https://ai.google.dev/gemini-api/docs/function-calling#multimodal: pictures in results, of data alone."""
        call = string(message.get("tool_call_id"), f"{path}.tool_call_id")
        name = self._names.get(call) or message.get("name")
        if not isinstance(name, str) or not name:
            raise CannotSay(f"{path}.tool_call_id", "No call with this id stands before: Gemini wants its name.")
        parts = self._parts(message.get("content"), path, media=True)
        text = "".join(part["text"] for part in parts if "text" in part)
        media = [part for part in parts if "text" not in part]
        inside = [part for part in media if "inlineData" in part] if self._model.sees_results else []
        self._media += [part for part in media if part not in inside]
        response = {} if inside and not text else _response(text, failed=bool(message.get("is_error")))
        result: Json = {"id": call, "name": name, "response": response}
        if inside:
            result["parts"] = inside
        self._results.append({"functionResponse": result})

    def _say_assistant(self, message: Json, path: str) -> None:
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                raise CannotSay(f"{path}.{name}", "Gemini has no such content in a message of the assistant.")
        parts = self._thoughts(message, path)
        texts = self._parts(message.get("content"), path, media=False)
        if refusal := message.get("refusal"):
            texts.append({"text": string(refusal, f"{path}.refusal")})
        if signature := signature_of(message):
            texts = texts or [{"text": ""}]
            texts[-1] = {**texts[-1], "thoughtSignature": signature}
        self._say("model", [*parts, *texts, *_images(message, path), *self._calls(message, path)])

    def _thoughts(self, message: Json, path: str) -> list[Json]:
        """Gemini signs what follows its thoughts and not those: a signature on thoughts is another's."""
        if (given := message.get("thinking_blocks")) is None:
            thoughts = text_of(message.get("reasoning_content"))
            return [{"text": thoughts, "thought": True}] if thoughts else []
        path += ".thinking_blocks"
        parts: list[Json] = []
        for at, block in enumerate(objects(given, path)):
            if block.get("type") not in ("thinking", "redacted_thinking"):
                raise CannotSay(f"{path}.{at}.type", "A thinking block is of the type thinking or redacted_thinking.")
            if block.get("signature") or block.get("data"):
                self._losses.drop(f"messages.thinking_blocks.{'data' if block.get('data') else 'signature'}")
            if thought := text_of(block.get("thinking")):
                parts.append({"text": thought, "thought": True})
        return parts

    def _calls(self, message: Json, path: str) -> list[Json]:
        if (given := message.get("tool_calls")) is None:
            return []
        path += ".tool_calls"
        calls = [self._call(call, f"{path}.{at}") for at, call in enumerate(objects(given, path))]
        if calls and self._model.wants_signatures:
            calls[0].setdefault("thoughtSignature", _UNSIGNED)
        return calls

    def _call(self, call: Json, path: str) -> Json:
        if call.get("type", "function") != "function":
            raise CannotSay(f"{path}.type", "Gemini knows calls of functions only.")
        function = an_object(call.get("function"), f"{path}.function")
        identity = string(call.get("id"), f"{path}.id")
        name = string(function.get("name"), f"{path}.function.name")
        arguments = string(function.get("arguments", ""), f"{path}.function.arguments")
        self._names[identity] = name
        part: Json = {"functionCall": {"id": identity, "name": name, "args": arguments_of(arguments)}}
        if signature := signature_of(call):
            part["thoughtSignature"] = signature
        return part


def signature_of(carrier: Json) -> str:
    """Return Gemini's signature of a message or of a call, an empty string where there is none."""
    return text_of(object_of(object_of(carrier.get("extra_content")).get("google")).get("thought_signature"))


def _images(message: Json, path: str) -> list[Json]:
    """Return the pictures that a model has drawn."""
    if (given := message.get("images")) is None:
        return []
    path += ".images"
    return [_image(image, f"{path}.{at}") for at, image in enumerate(objects(given, path))]


def _image(image: Json, path: str) -> Json:
    path += ".image_url"
    kind, data = split_data_url(string(an_object(image.get("image_url"), path).get("url"), f"{path}.url"))
    if not kind:
        raise CannotSay(f"{path}.url", "What a model has drawn must be a data URL with base64.")
    part: Json = {"inlineData": {"mimeType": kind, "data": data}}
    if signature := signature_of(image):
        part["thoughtSignature"] = signature
    return part


def _response(text: str, *, failed: bool) -> Json:
    """Return the result of a function as an object: `output` and `error` are the names that Google has for it.

    What is an object already is said as one, unless there is a number in it that would be rounded.
    """
    found = _parsed(text) if text.startswith("{") and not _EXACT.search(text) else None
    if failed:
        return {"error": text if found is None else found}
    return {"output": text} if found is None else found


def _parsed(text: str) -> Json | None:
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
