"""An answer in its other form: a whole one as the stream that would have said it, a stream as the whole that it said.

Both in the dialect in which it was given, by way of the hub. What was made is heard again and compared: an answer of
which something would be lost (places of citations, sealed thoughts) has no other form. Pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from trustgate.contract.prompt import Unreadable
from trustgate.contract.usage import Usage
from trustgate.providers.catalog import Quirks
from trustgate.providers.dialects import lens_of
from trustgate.providers.hub import CannotSay, Json, Losses, Moment
from trustgate.providers.lenses.openai import DONE
from trustgate.providers.translate import CHAT, inward, outward

PIECE: Final = 64
"""Characters in a piece of a text that is said as a stream."""
_QUIRKS: Final = Quirks(carries=frozenset(("reasoning_content",)))
_NO_WAY_BACK: Final = frozenset(("completions",))
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def replay(operation: str, asked: Any, answer: bytes, usage: Usage | None, *, streamed: bool) -> bytes:
    """Return a stream (`streamed`) as a whole answer, or a whole answer as a stream; `asked` is the parsed request.

    `usage` is what a stream used that does not say so itself.

    Raises Unreadable for what has no other form: operations outside chat, answers that would lose something by it,
    and bytes that are no such answer.
    """
    if operation not in CHAT or operation in _NO_WAY_BACK:
        raise Unreadable("answers of this operation have one form only")
    try:
        hub = inward(operation).request(asked, Losses()) if isinstance(asked, dict) else {}
        told = _hear(operation, hub, answer, streamed=streamed)
        if usage is not None:
            told = {"usage": _used(usage)} | told
        said = _say(operation, asked, told, streamed=not streamed)
        again = _hear(operation, hub, said, streamed=not streamed)
    except (CannotSay, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable("the answer is none of its dialect") from error
    if not _ended(told) or _meaning(told) != _meaning(again):
        raise Unreadable("the answer would lose something in its other form")
    return said


def _hear(operation: str, hub: Json, answer: bytes, *, streamed: bool) -> Json:
    return _heard_stream(operation, hub, answer) if streamed else _heard_whole(operation, hub, answer)


def _say(operation: str, asked: Any, told: Json, *, streamed: bool) -> bytes:
    moment = _moment(told)
    if streamed:
        return _as_stream(operation, asked, chunks_of(told), moment)
    return _encode(inward(operation).answer(told, asked, moment))


def _ended(told: Json) -> bool:
    choices = told.get("choices") or ()
    return bool(choices) and all(choice.get("finish_reason") for choice in choices)


def _used(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }


def _meaning(told: Json) -> Any:
    """What may not differ: what was said, thought, cited and called, and why it ended."""
    return [_meant(choice) for choice in told.get("choices") or ()]


def _meant(choice: Json) -> Any:
    message = choice.get("message") or {}
    blocks = [{name: each for name, each in block.items() if each} for block in message.get("thinking_blocks") or ()]
    calls = [call.get("function") or call.get("custom") for call in message.get("tool_calls") or ()]
    texts = (message.get("content") or "", message.get("refusal") or "")
    logprobs = (choice.get("logprobs") or {}).get("content") or []
    return [
        choice.get("finish_reason"),
        "".join(texts) if all(isinstance(text, str) for text in texts) else texts,
        [(call.get("name"), _parsed(call.get("arguments")), call.get("input")) for call in calls if call],
        [block for block in blocks if block != {"type": "thinking"}] or message.get("reasoning_content") or [],
        [message.get(name) or [] for name in ("citations", "annotations", "images", "audio")],
        [(each.get("token"), each.get("logprob")) for each in logprobs],
    ]


def _parsed(arguments: Any) -> Any:
    try:
        return _decode(arguments) if arguments else {}
    except msgspec.DecodeError:
        return arguments


def _moment(told: Json) -> Moment:
    created, identity = told.get("created"), str(told.get("id") or "")
    return Moment(
        id=identity.rpartition("-")[2].rpartition("_")[2] or "replayed",
        created=created if isinstance(created, int) else 0,
        model=str(told.get("model") or ""),
    )


_NOBODY: Final = Moment(id="replayed", created=0, model="")


def _heard_whole(operation: str, hub: Json, answer: bytes) -> Json:
    said = _decode(answer)
    if not isinstance(said, dict):
        raise Unreadable("the answer is no object")
    return outward(operation, _QUIRKS).answer(said, hub, _NOBODY)


def _heard_stream(operation: str, hub: Json, answer: bytes) -> Json:
    return answer_of(_chunks(operation, hub, answer))


def _chunks(operation: str, hub: Json, answer: bytes) -> Iterator[Json]:
    reader, framing = outward(operation, _QUIRKS).stream(hub, _NOBODY), lens_of(operation).framing
    for event in framing.split(answer):
        name, data = framing.event(event)
        if data and data != DONE:
            found = _decode(data)
            if not isinstance(found, dict):
                raise Unreadable("an event of the answer is no object")
            yield from reader.feed(name, found)
    yield from reader.end()


def _as_stream(operation: str, asked: Any, chunks: Iterable[Json], moment: Moment) -> bytes:
    writer, frame = inward(operation).stream(asked, moment), lens_of(operation).framing.frame
    events = [event for chunk in chunks for event in writer.feed(chunk)]
    frames = [frame(name, _encode(data)) for name, data in (*events, *writer.end())]
    return b"".join(frames) + (frame("", DONE) if operation == "chat_completions" else b"")


# A whole answer in pieces.


def chunks_of(answer: Json) -> Iterator[Json]:
    """Return the chunks that say what a hub's answer says, in the order in which a model would have said it."""
    base = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    base["object"] = "chat.completion.chunk"
    for choice in answer.get("choices") or ():
        index, message = choice.get("index") or 0, choice.get("message") or {}
        for delta in _deltas(message):
            yield {**base, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        rest = {name: value for name, value in choice.items() if name != "message"}
        yield {**base, "choices": [{**rest, "index": index, "delta": {}}]}
    if isinstance(usage := answer.get("usage"), dict):
        yield {**base, "choices": [], "usage": usage}


def _deltas(message: Json) -> Iterator[Json]:
    yield {"role": message.get("role") or "assistant", "content": ""}
    yield from _thoughts(message)
    text = message.get("content")
    for piece in _pieces(text) if isinstance(text, str) else ((text,) if text else ()):
        yield {"content": piece}
    for name in ("annotations", "citations", "images"):
        if message.get(name):
            yield {name: message[name]}
    if refusal := message.get("refusal"):
        yield {"refusal": refusal}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": index, **call}]}
    if rest := {name: value for name, value in message.items() if name not in _SAID and value is not None}:
        yield rest


_SAID: Final = frozenset(
    (
        *("role", "content", "reasoning_content", "thinking_blocks", "annotations", "citations", "images"),
        *("refusal", "tool_calls"),
    )
)


def _thoughts(message: Json) -> Iterator[Json]:
    """A block is said, and ended by its signature; callers who know no blocks read the same text beside it."""
    blocks = [block for block in message.get("thinking_blocks") or () if isinstance(block, dict)]
    if not blocks and (reasoning := message.get("reasoning_content")):
        yield from ({"reasoning_content": piece} for piece in _pieces(reasoning))
    for block in blocks:
        if block.get("type") != "thinking":
            yield {"thinking_blocks": [block]}
            continue
        for piece in _pieces(block.get("thinking") or ""):
            yield {"reasoning_content": piece, "thinking_blocks": [{"type": "thinking", "thinking": piece}]}
        if block.get("signature"):
            yield {"thinking_blocks": [{**block, "thinking": ""}]}


def _pieces(text: str) -> Sequence[str]:
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


# Pieces as a whole answer.


def answer_of(chunks: Iterable[Json]) -> Json:
    """Return the hub's answer that chunks have said."""
    answer: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                answer[name] = value
        for choice in chunk.get("choices") or ():
            index = choice.get("index") or 0
            known = choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
            _grow(known, choice)
    answer["object"] = "chat.completion"
    answer["choices"] = [_closed(choices[index]) for index in sorted(choices)]
    return answer


def _grow(known: Json, choice: Json) -> None:
    for name, value in (choice.get("delta") or {}).items():
        _add(known["message"], name, value)
    for name, value in choice.items():
        if name == "logprobs" and isinstance(value, dict):
            known["logprobs"] = _joined(known.get("logprobs") or {}, value)
        elif name not in ("delta", "index") and value is not None:
            known[name] = value


def _add(message: Json, name: str, value: Any) -> None:
    if name == "tool_calls":
        _call(message.setdefault(name, []), value or ())
    elif name == "thinking_blocks":
        _think(message.setdefault(name, []), value or ())
    elif name == "role":
        message[name] = value or message.get(name)
    elif value is not None:
        message[name] = _grown(message.get(name), value)


def _grown(known: Any, value: Any) -> Any:
    if isinstance(value, str):
        return known + value if isinstance(known, str) else value
    if isinstance(value, list):
        return [*known, *value] if isinstance(known, list) else value
    if isinstance(value, dict) and isinstance(known, dict):
        return _joined(known, value)
    return value


def _joined(known: Json, more: Json) -> Json:
    return {**known, **{name: _grown(known.get(name), value) for name, value in more.items() if value is not None}}


def _call(known: list[Json], pieces: Sequence[Json]) -> None:
    """A piece goes on with the call of its index; what comes with an id of its own is a new one.

    Ids, names and types are said whole, and some say them with each piece again.
    """
    for piece in pieces:
        index = piece.get("index")
        call = next((each for each in reversed(known) if each["index"] == index), None)
        if call is None or (piece.get("id") and call.get("id") and piece["id"] != call["id"]):
            known.append({"index": index, **piece})
            continue
        for kind, field in (("function", "arguments"), ("custom", "input")):
            if isinstance(told := piece.get(kind), dict):
                before = call.get(kind) or {}
                said = (before.get(field) or "") + (told.get(field) or "")
                call[kind] = {**before, **{name: each for name, each in told.items() if each}, field: said}
        for name in ("id", "type", "extra_content"):
            if piece.get(name):
                call[name] = piece[name]


def _think(known: list[Json], blocks: Sequence[Json]) -> None:
    """A signature ends a block; what may not be read is a block of its own."""
    for block in blocks:
        last = known[-1] if known else None
        goes_on = last is not None and last.get("type") == "thinking" and not last.get("signature")
        if block.get("type") == "thinking" and last is not None and goes_on:
            last["thinking"] = (last.get("thinking") or "") + (block.get("thinking") or "")
            if block.get("signature"):
                last["signature"] = block["signature"]
        else:
            known.append(dict(block))


def _closed(choice: Json) -> Json:
    message = choice["message"]
    message.setdefault("role", "assistant")
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
    if not message.get("content"):
        message["content"] = None if calls or message.get("refusal") else ""
    return choice
