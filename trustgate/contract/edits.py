"""Changing places in a JSON text and nothing else: every value that no edit touches keeps its very bytes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

Path = tuple[str | int, ...]
"""Where a value stands: the keys and indices that lead to it from the outermost value."""


class _Removed:
    """The value of an edit that takes its place away."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()


class Inserted:
    """The value of an edit that puts values into a list, before the one which stands at its index, or at the end."""

    __slots__ = ("values",)

    def __init__(self, *values: Any) -> None:
        self.values: Sequence[Any] = values


Edits = Mapping[Path, Any]
"""What stands where from now on: a JSON value, REMOVED, or Inserted. All indices are those of the text as it was; one
behind a list's last adds to it, and a key that an object has not adds to that."""

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
    return _changed(raw, _tree(edits))


def _tree(edits: Edits) -> _Node:
    root: _Node = {}
    for path in sorted(edits, key=len):
        node: Any = root
        for step in path[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):  # else a shorter edit stands in its way
            node[path[-1]] = _Leaf(edits[path])
    return root


def _changed(raw: bytes | bytearray | msgspec.Raw, node: _Node) -> bytes:
    if all(isinstance(step, int) for step in node):
        return bytes(_encode(_in_list(_array.decode(raw), node)))
    fields = _object.decode(raw)
    for key, edit in node.items():
        if not isinstance(key, str):
            raise LookupError(f"an object has no index {key}")
        if not isinstance(edit, _Leaf):
            fields[key] = msgspec.Raw(_changed(fields[key], edit))
        elif edit.value is REMOVED:
            fields.pop(key, None)
        else:
            fields[key] = msgspec.Raw(_encode(edit.value))
    return bytes(_encode(fields))


def _in_list(items: Sequence[msgspec.Raw], node: _Node) -> list[msgspec.Raw]:
    changed: list[msgspec.Raw] = []
    for at in range(len(items) + 1):
        old, edit = items[at : at + 1], node.get(at)
        if edit is None:
            changed += old
        elif not isinstance(edit, _Leaf):
            changed += [msgspec.Raw(_changed(items[at], edit))]
        elif isinstance(edit.value, Inserted):
            changed += [*(msgspec.Raw(_encode(value)) for value in edit.value.values), *old]
        elif edit.value is not REMOVED:
            changed.append(msgspec.Raw(_encode(edit.value)))
    if beyond := [at for at in node if not 0 <= int(at) <= len(items)]:
        raise LookupError(f"a list of {len(items)} has no index {beyond[0]}")
    return changed
