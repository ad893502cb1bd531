"""Thoughts that only their author can read, in places where somebody else keeps them. Both ways are reversible.

A reasoning item of Responses is a block of `thinking_blocks` in the hub: its text is the block's, and what else it has
is the *seal*, which is the block's signature: `openai-responses:` and, in base64, the JSON

    {"id"?, "encrypted_content"?, "parts": [the length of each part of the text], "content"?: true where the text is
     the item's content and not its summary, "after"?: [characters of the message, calls] that were said before it}

What the hub carries for others is `encrypted_content` to a caller of Responses: `trustgate-thoughts:` and, in base64,
the JSON

    {"blocks": thinking_blocks, "extra_content"?: the message's, "calls"?: {id of a call: its extra_content}}

The colon keeps both apart from what providers write themselves, which is base64 without any prefix.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from trustgate.providers.hub import SEALED, Json
from trustgate.providers.pairs.reading import list_of, object_of, text_of

CARRIED: Final = "trustgate-thoughts:"
BREAK: Final = "\n\n"
"""Stands between parts of a summary, and between thoughts where they are one text."""
_Length = Annotated[int, Meta(ge=0)]
_UNREADABLE: Final = (msgspec.MsgspecError, binascii.Error, UnicodeError, RecursionError)


class Seal(Struct, omit_defaults=True):
    """What a reasoning item has beside its text."""

    parts: list[_Length]
    id: str = ""
    encrypted_content: str = ""
    content: bool = False
    after: tuple[_Length, _Length] = (0, 0)


class Carried(Struct, omit_defaults=True):
    """What the hub says of thoughts beside their text."""

    blocks: list[Json]
    extra_content: Json | UnsetType = UNSET
    calls: dict[str, Json] = {}


_encode: Final = msgspec.json.Encoder().encode
_seal: Final = msgspec.json.Decoder(Seal)
_carried: Final = msgspec.json.Decoder(Carried)


def _written(mark: str, value: Struct) -> str:
    return mark + b64encode(_encode(value)).decode()


def texts_of(item: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the texts of a reasoning item, and whether they are its content: that is read where it has no summary."""
    for name in ("summary", "content"):
        texts = [text for part in list_of(item.get(name)) if (text := text_of(object_of(part).get("text")))]
        if texts:
            return texts, name == "content"
    return [], False


def to_block(item: Mapping[str, Any], after: tuple[int, int]) -> Json:
    """Return a reasoning item as a block of thoughts; `after` is what was said before it: characters, calls."""
    texts, is_content = texts_of(item)
    seal = Seal(
        parts=[len(text) for text in texts],
        id=text_of(item.get("id")),
        encrypted_content=text_of(item.get("encrypted_content")),
        content=is_content,
        after=after,
    )
    return {"type": "thinking", "thinking": BREAK.join(texts), "signature": _written(SEALED, seal)}


def unseal(signature: Any) -> Seal | None:
    """Return what a signature seals, None for one that is no seal."""
    if not isinstance(signature, str) or not signature.startswith(SEALED):
        return None
    try:
        return _seal.decode(b64decode(signature[len(SEALED) :], validate=True))
    except _UNREADABLE:
        return None


def to_item(text: str, seal: Seal) -> Json:
    """Return the reasoning item that was sealed, with this text: in one part where its length is another."""
    texts = _parts(text, seal.parts)
    item: Json = {"type": "reasoning", "summary": []}
    if seal.id:
        item["id"] = seal.id
    if seal.content:
        item["content"] = [{"type": "reasoning_text", "text": each} for each in texts]
    else:
        item["summary"] = [{"type": "summary_text", "text": each} for each in texts]
    if seal.encrypted_content:
        item["encrypted_content"] = seal.encrypted_content
    return item


def _parts(text: str, sizes: Sequence[int]) -> list[str]:
    if sum(sizes) + len(BREAK) * (len(sizes) - 1) != len(text):
        return [text] if text else []
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size + len(BREAK)
    return parts


def carry(blocks: list[Json], extra: Json | None = None, calls: dict[str, Json] | None = None) -> str:
    """Return an `encrypted_content` that carries these."""
    return _written(CARRIED, Carried(blocks=blocks, extra_content=extra or UNSET, calls=calls or {}))


def is_carried(encrypted: Any) -> bool:
    """Say whether an `encrypted_content` was written by `carry`."""
    return isinstance(encrypted, str) and encrypted.startswith(CARRIED)


def uncarry(encrypted: str) -> Carried | None:
    """Return what `carry` wrote, None for what is not whole."""
    try:
        return _carried.decode(b64decode(encrypted[len(CARRIED) :], validate=True))
    except _UNREADABLE:
        return None
