"""What providers that speak almost OpenAI say almost right, put right before a strict client hears it.

Rule 1: what is right already is returned as it is, the very bytes; finding out costs one typed decoding.
Rule 2: of what is not, only the deviating fields are written anew; every other value keeps its bytes.
Rule 3: nothing is invented. What cannot be told in OpenAI's words goes, or stands beside them under its own name.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from trustgate.providers.hub import Json

Fields = dict[str, Raw]


class Repair(Struct, frozen=True, kw_only=True):
    """How one provider is put right.

    `answer` takes a whole answer, `event` the JSON data of one event of a stream: both return the same object when
    there is nothing to do, and never raise. `request` returns a body that the provider takes, and is None where it
    takes OpenAI's; it never changes what it was given.
    """

    answer: Callable[[bytes], bytes]
    event: Callable[[bytes], bytes]
    request: Callable[[Json], Json] | None = None


# What is right: https://platform.openai.com/docs/api-reference/chat/object and .../chat-streaming/streaming

_Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
_Finish = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class _Function(Struct):
    name: str
    arguments: str


class _Call(Struct):
    id: str
    type: Literal["function", "custom"]
    function: _Function | None = None


class _Message(Struct):
    role: Literal["assistant"]
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int
    message: _Message
    finish_reason: _Finish


class _Answer(Struct):
    object: Literal["chat.completion"]
    choices: list[_Choice]
    service_tier: _Tier | None = None


class _DeltaCall(Struct):
    index: int
    type: Literal["function"] | None = None


class _Delta(Struct):
    content: str | None = None
    tool_calls: list[_DeltaCall] | None = None


class _EventChoice(Struct):
    index: int
    delta: _Delta
    finish_reason: _Finish | None = None


class _Event(Struct):
    object: Literal["chat.completion.chunk"]
    choices: list[_EventChoice]
    service_tier: _Tier | None = None


_right_answer: Final = msgspec.json.Decoder(_Answer)
_right_event: Final = msgspec.json.Decoder(_Event)
_fields: Final = msgspec.json.Decoder(Fields)
_list_of_fields: Final = msgspec.json.Decoder(list[Fields])
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
Right = TypeVar("Right")


def _unless_right(raw: bytes, right: "msgspec.json.Decoder[Right]", mend: Callable[[Fields], None]) -> bytes:
    try:
        right.decode(raw)
    except msgspec.ValidationError:
        return _mended(raw, mend)
    except _UNREADABLE:
        return raw
    return raw


def _mended(raw: bytes, mend: Callable[[Fields], None]) -> bytes:
    """Only what has choices is an answer: an error among the events stays what it is."""
    try:
        fields = _fields.decode(raw)
        if "choices" not in fields:
            return raw
        mend(fields)
        return msgspec.json.encode(fields)
    except _UNREADABLE:
        return raw


def _put_answer_right(raw: bytes) -> bytes:
    return _unless_right(raw, _right_answer, _mend_answer)


def _put_event_right(raw: bytes) -> bytes:
    return _unless_right(raw, _right_event, _mend_event)


def _mend_answer(answer: Fields) -> None:
    _mend_envelope(answer, "chat.completion")
    choices = _list_of_fields.decode(answer["choices"])
    for position, choice in enumerate(choices):
        choice.setdefault("index", _raw(position))
        message = _object(choice.get("message"))
        _mend_message(message)
        choice["message"] = _raw(message)
        _mend_finish(choice, otherwise="tool_calls" if _value(message.get("tool_calls")) else "stop")
    answer["choices"] = _raw(choices)


def _mend_event(event: Fields) -> None:
    _mend_envelope(event, "chat.completion.chunk")
    choices = _list_of_fields.decode(event["choices"])
    for position, choice in enumerate(choices):
        choice.setdefault("index", _raw(position))
        delta = _object(choice.get("delta"))
        _mend_content(delta)
        _mend_delta_calls(delta)
        choice["delta"] = _raw(delta)
        _mend_finish(choice, otherwise=None)
    event["choices"] = _raw(choices)


_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", None))
_NAMED_TIERS: Final[Mapping[str, str]] = {"on_demand": "default"}
"""https://console.groq.com/docs/service-tiers: on_demand is what Groq calls the ordinary tier."""


def _mend_envelope(said: Fields, kind: str) -> None:
    if _value(said.get("object")) != kind:
        said["object"] = _raw(kind)
    tier = _value(said.get("service_tier"))
    if not isinstance(tier, str | None) or tier not in _TIERS:
        said["service_tier"] = _raw(_NAMED_TIERS.get(tier) if isinstance(tier, str) else None)


def _mend_message(message: Fields) -> None:
    """Azure leaves the message out of a choice whose content its filter took."""
    message["role"] = _raw("assistant")
    message.setdefault("content", _raw(None))
    _mend_content(message)
    _mend_calls(message)


_FINISHES: Final[Mapping[Any, str]] = {
    "eos": "stop",
    "model_length": "length",
    "insufficient_system_resource": "length",
    "error": "length",
}
"""Together · Mistral · DeepSeek, which was interrupted · OpenRouter and Mistral, whose generation failed midway."""
_RIGHT_FINISHES: Final = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))


def _mend_finish(choice: Fields, *, otherwise: str | None) -> None:
    word = _value(choice.get("finish_reason"))
    if isinstance(word, str) and word in _RIGHT_FINISHES:
        return
    if word is None and otherwise is None:
        return
    choice["finish_reason"] = _raw(_FINISHES.get(word, otherwise) if isinstance(word, str) else otherwise)
    if isinstance(word, str) and word:
        choice.setdefault("native_finish_reason", _raw(word))


# Content. https://docs.mistral.ai/capabilities/reasoning: a list of parts of which some are thoughts.


def _mend_content(message: Fields) -> None:
    content = _value(message.get("content"))
    if not isinstance(content, list):
        return
    parts = [part for part in content if isinstance(part, dict)]
    said = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    message["content"] = _raw("".join(said) if said else None)
    if thoughts := "".join(_thoughts(part.get("thinking")) for part in parts):
        message.setdefault("reasoning_content", _raw(thoughts))


def _thoughts(thinking: Any) -> str:
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    return "".join(part["text"] for part in thinking if isinstance(part, dict) and isinstance(part.get("text"), str))


# Tool calls.


def _mend_calls(message: Fields) -> None:
    if not _value(message.get("tool_calls")):
        return
    calls = _list_of_fields.decode(message["tool_calls"])
    for call in calls:
        _mend_call(call)
    message["tool_calls"] = _raw(calls)


def _mend_call(call: Fields) -> None:
    if "function" not in call:
        return
    if not isinstance(_value(call.get("type")), str):
        call["type"] = _raw("function")
    function = _object(call["function"])
    arguments = _value(function.get("arguments"))
    if not isinstance(arguments, str):
        function["arguments"] = _raw("{}" if arguments is None else bytes(function["arguments"]).decode())
        call["function"] = _raw(function)


def _mend_delta_calls(delta: Fields) -> None:
    if not _value(delta.get("tool_calls")):
        return
    calls = _list_of_fields.decode(delta["tool_calls"])
    for position, call in enumerate(calls):
        if not isinstance(_value(call.get("index")), int):
            call["index"] = _raw(position)
        if _value(call.get("type")) not in ("function", None):
            del call["type"]
    delta["tool_calls"] = _raw(calls)


# Bytes and values.


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _value(raw: Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(raw)


def _object(raw: Raw | None) -> Fields:
    """Return the fields of an object; an absent one, or a null, has none."""
    return {} if raw is None or bytes(raw) == b"null" else _fields.decode(raw)


# Groq tells the usage of a stream under a name of its own. https://console.groq.com/docs/api-reference#chat-create


class _OfGroq(Struct):
    usage: Raw = Raw()


class _GroqEvent(Struct):
    usage: Raw = Raw()
    x_groq: _OfGroq | None = None


_groq_event: Final = msgspec.json.Decoder(_GroqEvent)
_NOTHING: Final = (b"", b"null")


def _put_groq_event_right(raw: bytes) -> bytes:
    raw = _put_event_right(raw)
    if b'"x_groq"' not in raw or b'"usage"' not in raw:
        return raw
    try:
        said = _groq_event.decode(raw)
        if bytes(said.usage) not in _NOTHING or said.x_groq is None or bytes(said.x_groq.usage) in _NOTHING:
            return raw
        return msgspec.json.encode({**_fields.decode(raw), "usage": said.x_groq.usage})
    except _UNREADABLE:
        return raw


# Requests.


def _older(body: Json) -> Json:
    """Return a body for a provider that has `max_tokens` and the role system only, as OpenAI had them first."""
    told = {name: value for name, value in body.items() if name != "max_completion_tokens"}
    if body.get("max_completion_tokens") is not None and told.get("max_tokens") is None:
        told["max_tokens"] = body["max_completion_tokens"]
    if isinstance(messages := body.get("messages"), list):
        told["messages"] = [_for_system(message) for message in messages]
    return told


def _for_system(message: Any) -> Any:
    if isinstance(message, dict) and message.get("role") == "developer":
        return {**message, "role": "system"}
    return message


_UNKNOWN_TO_MISTRAL: Final = frozenset(
    ("stream_options", "user", "safety_identifier", "store", "prompt_cache_retention")
)
"""Refused as unknown (https://docs.mistral.ai/api), and no part of what is asked for: streams have usage anyway."""
_BESIDE_CONTENT: Final = frozenset(("reasoning_content", "thinking_blocks", "annotations"))
"""What clients send back of an answer, and Mistral refuses."""


def _for_mistral(body: Json) -> Json:
    """Mistral refuses names that it does not know, and ids of tool calls that are not of its own kind."""
    told = {name: value for name, value in _older(body).items() if name not in _UNKNOWN_TO_MISTRAL}
    if "seed" in told:
        seed = told.pop("seed")
        told.setdefault("random_seed", seed)
    if isinstance(messages := told.get("messages"), list):
        told["messages"] = [_mistral_message(message) for message in messages]
    return told


def _mistral_message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    told = {
        name: value
        for name, value in message.items()
        if name not in _BESIDE_CONTENT and (value is not None or name == "content")
    }
    if isinstance(calls := told.get("tool_calls"), list):
        told["tool_calls"] = [_mistral_call(call) for call in calls]
    if isinstance(identity := told.get("tool_call_id"), str):
        told["tool_call_id"] = _mistral_id(identity)
    if isinstance(parts := told.get("content"), list):
        told["content"] = [_mistral_part(part) for part in parts]
    return told


def _mistral_call(call: Any) -> Any:
    if not isinstance(call, dict) or not isinstance(identity := call.get("id"), str):
        return call
    return {**call, "id": _mistral_id(identity)}


_MISTRAL_ID: Final = re.compile(r"[A-Za-z0-9]{9}")


def _mistral_id(identity: str) -> str:
    """Nine letters and digits; the same id always becomes the same, so that results still find their calls."""
    if _MISTRAL_ID.fullmatch(identity):
        return identity
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:9]


def _mistral_part(part: Any) -> Any:
    """https://docs.mistral.ai/capabilities/audio: the sound itself, where OpenAI has an object of data and format."""
    if not isinstance(part, dict) or part.get("type") != "input_audio":
        return part
    sound = part.get("input_audio")
    return {**part, "input_audio": sound["data"]} if isinstance(sound, dict) and "data" in sound else part


_PLAIN: Final = Repair(answer=_put_answer_right, event=_put_event_right)
_OLDER: Final = Repair(answer=_put_answer_right, event=_put_event_right, request=_older)

REPAIRS: Final[Mapping[str, Repair]] = {
    "azure": _PLAIN,
    "deepseek": _OLDER,
    "groq": Repair(answer=_put_answer_right, event=_put_groq_event_right),
    "mistral": Repair(answer=_put_answer_right, event=_put_event_right, request=_for_mistral),
    "openai_compatible": _PLAIN,
    "openrouter": _PLAIN,
    "perplexity": _OLDER,
    "together": _OLDER,
}
"""By the provider's name in the catalog. Who is not here says what OpenAI would say."""
