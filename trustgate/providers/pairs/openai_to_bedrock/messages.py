"""The hub's messages in Bedrock's words.

System and developer messages stand beside the conversation, the results of tools in the user's turn, and turns of one
role that follow one another become one: Converse insists that roles alternate and that the user begins.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from trustgate.providers.hub import SEALED, CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_bedrock.citations import cited_blocks
from trustgate.providers.pairs.openai_to_bedrock.family import Family
from trustgate.providers.pairs.openai_to_bedrock.media import Media
from trustgate.providers.pairs.reading import an_object, objects, string

_KNOWN: Final = frozenset(
    (
        *("role", "content", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"),
        *("reasoning_content", "thinking_blocks", "citations", "cache_control", "is_error"),
    )
)
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_TTLS: Final = frozenset(("5m", "1h"))
_arguments: Final = msgspec.json.Decoder().decode


def cache_point(mark: Any, path: str, where: str, family: Family, losses: Losses) -> Sequence[Json]:
    """Return the block that a `cache_control` is in Bedrock, none where the model has no cache."""
    if mark is None:
        return ()
    if not family.caches:
        losses.drop(where)
        return ()
    ttl = an_object(mark, path).get("ttl")
    if ttl is not None and (not isinstance(ttl, str) or ttl not in _TTLS):
        losses.drop(f"{where}.ttl")
        ttl = None
    return ({"cachePoint": {"type": "default", "ttl": ttl} if ttl else {"type": "default"}},)


class Conversation:
    """Takes the hub's messages one after the other; `system` and `messages` are Bedrock's."""

    __slots__ = ("_family", "_losses", "_media", "_roles", "messages", "system", "tool_names")

    def __init__(self, family: Family, losses: Losses) -> None:
        self.messages: list[Json] = []
        self.system: list[Json] = []
        self.tool_names: dict[str, None] = {}
        self._family = family
        self._losses = losses
        media = Media(losses)
        self._media: Mapping[str, Callable[[Json, str], Json]] = {
            "image_url": media.image,
            "input_audio": media.audio,
            "video_url": media.video,
            "file": media.document,
        }
        self._roles: Mapping[Any, Callable[[Json, str], None]] = {
            "system": self._say_system,
            "developer": self._say_system,
            "user": self._say_user,
            "assistant": self._say_assistant,
            "tool": self._say_result,
        }

    def add(self, message: Json, path: str) -> None:
        """Say one message. Raises CannotSay."""
        role = message.get("role")
        say = self._roles.get(role) if isinstance(role, str) else None
        if say is None:
            raise CannotSay(f"{path}.role", "The role must be one of system, developer, user, assistant and tool.")
        if not self.messages and role == "assistant":
            raise CannotSay(f"{path}.role", "Bedrock's conversations begin with a message of the user.")
        if odd := message.keys() - _KNOWN:
            self._drop(message, odd)
        say(message, path)

    def _drop(self, message: Json, names: set[str]) -> None:
        for name in sorted(names):
            if message[name]:
                self._losses.drop(f"messages.{name}")

    def _turn(self, role: str, blocks: list[Json]) -> None:
        """A turn without a block is none: Bedrock refuses empty text, and it says nothing."""
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        elif blocks:
            self.messages.append({"role": role, "content": blocks})

    def _say_system(self, message: Json, path: str) -> None:
        self.system += self._texts(message, path)

    def _say_user(self, message: Json, path: str) -> None:
        self._turn("user", self._blocks(message, path))

    def _say_result(self, message: Json, path: str) -> None:
        call = string(message.get("tool_call_id"), f"{path}.tool_call_id")
        content = self._blocks({"content": message.get("content")}, path)
        result: Json = {"toolUseId": call_id(call), "content": content}
        if message.get("is_error") and self._family.knows_failed_tools:
            result["status"] = "error"
        elif message.get("is_error"):
            self._losses.drop("messages.is_error")
        self._turn("user", [{"toolResult": result}, *self._mark(message, path, "messages.cache_control")])

    def _say_assistant(self, message: Json, path: str) -> None:
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                raise CannotSay(f"{path}.{name}", "Bedrock has no such content in a message of the assistant.")
        blocks = self._thoughts(message, path)
        blocks += self._cited(message, path) if message.get("citations") else self._texts(message, path, marked=False)
        if refusal := message.get("refusal"):
            blocks.append({"text": string(refusal, f"{path}.refusal")})
        if (calls := message.get("tool_calls")) is not None:
            blocks += self._calls(calls, f"{path}.tool_calls")
        self._turn("assistant", [*blocks, *self._mark(message, path, "messages.cache_control")])

    def _blocks(self, message: Json, path: str) -> list[Json]:
        """Return the blocks of a content of any kind."""
        content = message.get("content")
        if isinstance(content, str):
            blocks: list[Json] = [{"text": content}] if content else []
        else:
            path_of_parts = f"{path}.content"
            blocks = []
            for at, part in enumerate(objects([] if content is None else content, path_of_parts)):
                blocks += self._part(part, f"{path_of_parts}.{at}")
        return [*blocks, *self._mark(message, path, "messages.cache_control")]

    def _part(self, part: Json, path: str) -> Sequence[Json]:
        kind = part.get("type")
        say = self._media.get(kind) if isinstance(kind, str) else None
        said = say(part, path) if say else _text(part, path)
        mark = self._mark(part, path, "messages.content.cache_control")
        return (said, *mark) if said.get("text") != "" else mark

    def _mark(self, marked: Json, path: str, where: str) -> Sequence[Json]:
        mark = marked.get("cache_control")
        return cache_point(mark, f"{path}.cache_control", where, self._family, self._losses) if mark else ()

    def _texts(self, message: Json, path: str, *, marked: bool = True) -> list[Json]:
        """Return the blocks of a content that may be nothing but text."""
        content = message.get("content")
        if isinstance(content, list):
            for at, part in enumerate(objects(content, f"{path}.content")):
                _text(part, f"{path}.content.{at}")
        return self._blocks(message if marked else {"content": content}, path)

    def _thoughts(self, message: Json, path: str) -> list[Json]:
        """Thoughts that are signed go back as they came; those that are not no model here takes back."""
        if (found := message.get("thinking_blocks")) is None:
            if message.get("reasoning_content"):
                self._losses.drop("messages.reasoning_content")
            return []
        path += ".thinking_blocks"
        blocks = objects(found, path)
        if any(_is_sealed(block) for block in blocks):
            self._losses.drop("messages.thinking_blocks")
        return [_thought(block, f"{path}.{at}") for at, block in enumerate(blocks) if not _is_sealed(block)]

    def _cited(self, message: Json, path: str) -> list[Json]:
        """Return the blocks of a text with citations, which go where they fit, or not at all."""
        citations = objects(message["citations"], f"{path}.citations")
        blocks, offset, fit = self._texts(message, path, marked=False), 0, 0
        told: list[Json] = []
        for block in blocks:
            text = block.get("text", "")
            within = [each for each in citations if _starts(each, offset, offset + len(text))]
            cut = cited_blocks(text, offset, within) if within else None
            told += [block] if cut is None else cut
            fit += len(within) if cut is not None else 0
            offset += len(text)
        if fit < len(citations):
            self._losses.drop("messages.citations")
        return told

    def _calls(self, calls: Any, path: str) -> list[Json]:
        return [self._call(call, f"{path}.{at}") for at, call in enumerate(objects(calls, path))]

    def _call(self, call: Json, path: str) -> Json:
        if call.get("extra_content"):
            self._losses.drop("messages.tool_calls.extra_content")
        if call.get("type", "function") != "function":
            raise CannotSay(f"{path}.type", "Bedrock knows calls of functions only.")
        function = an_object(call.get("function"), f"{path}.function")
        name = string(function.get("name"), f"{path}.function.name")
        self.tool_names[name] = None
        arguments = _read_arguments(function.get("arguments"), f"{path}.function.arguments")
        return {
            "toolUse": {"toolUseId": call_id(string(call.get("id"), f"{path}.id")), "name": name, "input": arguments}
        }


def _starts(citation: Json, begin: int, end: int) -> bool:
    start = citation.get("start_index")
    return isinstance(start, int) and begin <= start < end


def _text(part: Json, path: str) -> Json:
    kind = part.get("type")
    if kind not in ("text", "refusal"):
        raise CannotSay(f"{path}.type", f"Bedrock has no content of the type {str(kind)[:40]!r} here.")
    return {"text": string(part.get(kind), f"{path}.{kind}")}


def _is_sealed(block: Json) -> bool:
    """Whether OpenAI has sealed it, so that no model here takes it back."""
    return str(block.get("signature")).startswith(SEALED)


def _thought(block: Json, path: str) -> Json:
    if block.get("type") == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": string(block.get("data"), f"{path}.data")}}
    if block.get("type") != "thinking":
        raise CannotSay(f"{path}.type", "A thinking block is of the type thinking or redacted_thinking.")
    told: Json = {"text": string(block.get("thinking"), f"{path}.thinking")}
    if signature := block.get("signature"):
        told["signature"] = string(signature, f"{path}.signature")
    return {"reasoningContent": {"reasoningText": told}}


def call_id(given: str) -> str:
    """Return the id of a call as Bedrock takes it: a longer one, or one of other characters, gives way to its hash."""
    return given if _CALL_ID(given) else blake2b(given.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _read_arguments(arguments: Any, path: str) -> Json:
    """Return the object that the arguments are; none at all are an empty one."""
    text = string("" if arguments is None else arguments, path)
    try:
        found = _arguments(text) if text.strip() else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CannotSay(path, "The arguments must be JSON.") from error
    if not isinstance(found, dict):
        raise CannotSay(path, "The arguments must be a JSON object.")
    return found
