"""Changing places in a JSON text and nothing else: every value that no edit touches keeps its very bytes."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]
"""Where a value stands: the keys and indices that lead to it from the outermost value."""


class _Removed:
    """The value of an edit that takes its place away."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()
Edits = Mapping[Path, Any]
"""What stands where from now on: a JSON value, or REMOVED. An index one behind a list's last adds to it, and a key that
an object has not adds to that."""

_Node = dict[str | int, Any]
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


class _Leaf:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def edited(raw: bytes | bytearray, edits: Edits) -> bytes:
    """Return the text with its edits made. Raises LookupError for a path that leads nowhere, DecodeError for no JSON.

    An edit below another edit is lost in it. Of a key that stands twice in an object only the last is kept.
    """
    if not edits:
        return bytes(raw)
    if () in edits:
        return bytes(_encode(edits[()]))
    return bytes(_changed(raw, _tree(edits)))


def _tree(edits: Edits) -> _Node:
    root: _Node = {}
    for path in sorted(edits, key=len, reverse=True):  # shorter paths last: what they say stands
        node = root
        for step in path[:-1]:
            below = node.get(step)
            node = node.setdefault(step, {}) if not isinstance(below, _Leaf) else {}
        node[path[-1]] = _Leaf(edits[path])
    return root


def _changed(raw: bytes | bytearray | msgspec.Raw, node: _Node) -> bytes:
    if all(isinstance(step, int) for step in node):
        items = _array.decode(raw)
        return _encode(_in_list(items, node))
    fields = _object.decode(raw)
    for key, edit in node.items():
        if not isinstance(key, str):
            raise LookupError(f"an object has no index {key}")
        if isinstance(edit, _Leaf) and edit.value is REMOVED:
            fields.pop(key, None)
        elif isinstance(edit, _Leaf):
            fields[key] = msgspec.Raw(_encode(edit.value))
        else:
            fields[key] = msgspec.Raw(_changed(fields[key], edit))
    return _encode(fields)


def _in_list(items: list[msgspec.Raw], node: _Node) -> list[msgspec.Raw]:
    gone: list[int] = []
    for index in sorted(node, key=int):
        edit, at = node[index], int(index)
        if at > len(items):
            raise LookupError(f"a list of {len(items)} has no index {at}")
        if not isinstance(edit, _Leaf):
            items[at] = msgspec.Raw(_changed(items[at], edit))
        elif edit.value is REMOVED:
            gone.append(at)
        else:
            items[at : at + 1] = [msgspec.Raw(_encode(edit.value))]
    for at in reversed(gone):
        del items[at]
    return items
