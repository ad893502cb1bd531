"""Which values are secret is said by types (`contract.policy.Secret`), and nowhere else. Pure: JSON in, JSON out.

Rule 1: what is read back holds no secret: nothing for an empty one, `***` for a short one, else `***` and 4 characters.
Rule 2: a secret that comes back absent, empty or masked means the stored one; where none is stored, masked is refused.
Rule 3: where no type says which values are secret, every text is.
Rule 4: what stands where a secret may, and is none, is shown only if who asks for the masking says so (`plain`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import inspect

MARK = "***"


class MaskedSecret(ValueError):
    """A masked value was sent where no secret is stored; the message names the field."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is a masked secret, which cannot be a new value: send the secret itself, "
            "or omit the field to keep the stored value"
        )


def mask(secret: str) -> str:
    """Return what may be shown of a secret."""
    return secret if secret.startswith(MARK) else MARK + (secret[-4:] if len(secret.encode()) > 8 else "")


def _never(_: str) -> bool:
    return False


def masked(kind: Any, value: Any, *, plain: Callable[[str], bool] = _never) -> Any:
    """Return a value of this type with every secret in it masked, unless it is `plain`, and empty ones left out."""
    return _mask(_node(kind), value, plain)


def masked_whole(value: Any) -> Any:
    """Return a value of no known type with every text in it masked."""
    match value:
        case str():
            return mask(value) if value else ""
        case dict():
            return {key: masked_whole(item) for key, item in value.items()}
        case list() | tuple():
            return [masked_whole(item) for item in value]
    return value


def kept(kind: Any, new: Any, old: Any, *, path: str) -> Any:
    """Return the new value with the secrets that it leaves out or masks taken from the old. Raises MaskedSecret."""
    return _keep(_node(kind), new, old, path)


@lru_cache(maxsize=256)
def _node(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _is_secret(node: inspect.Type) -> bool:
    return isinstance(node, inspect.Metadata) and bool((node.extra or {}).get("secret"))


def _resolve(node: inspect.Type, value: Any) -> inspect.Type:
    """Return the type that a value has been given under: unwrapped, and of a union the member of the value's kind."""
    while not _is_secret(node):
        if isinstance(node, inspect.Metadata):
            node = node.type
        elif isinstance(node, inspect.UnionType):
            node = next((member for member in node.types if _fits(member, value)), inspect.AnyType())
        else:
            break
    return node


def _fits(node: inspect.Type, value: Any) -> bool:
    inner = _resolve(node, value)
    match inner:
        case inspect.StructType(tag_field=str() as field, tag=tag):
            return isinstance(value, dict) and value.get(field) == tag
        case inspect.StructType() | inspect.DictType():
            return isinstance(value, dict)
        case inspect.ListType() | inspect.VarTupleType():
            return isinstance(value, list | tuple)
        case inspect.StrType():
            return isinstance(value, str)
    return _is_secret(inner) and isinstance(value, str)


def _mask(node: inspect.Type, value: Any, plain: Callable[[str], bool] = _never) -> Any:
    inner = _resolve(node, value)
    if _is_secret(inner):
        return _shown(value, plain) if isinstance(value, str) and value else None
    match inner, value:
        case (inspect.StructType() | inspect.DictType(), dict()):
            pairs = {key: (child, value[key]) for key, child in _children(inner, value)}
            return {
                key: shown
                for key, (child, item) in pairs.items()
                if (shown := _mask(child, item, plain)) is not None or not _is_secret(_resolve(child, item))
            }
        case (inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item), list() | tuple()):
            return [
                _mask(item, each, plain) or "" if _is_secret(_resolve(item, each)) else _mask(item, each, plain)
                for each in value
            ]
    return value


def _shown(value: str, plain: Callable[[str], bool]) -> str:
    return value if plain(value) else mask(value)


def _children(node: inspect.Type, value: Mapping[str, Any]) -> Iterator[tuple[str, inspect.Type]]:
    """Yield each key of an object with the type of what it holds."""
    fields = {field.encode_name: field.type for field in node.fields} if isinstance(node, inspect.StructType) else {}
    other = node.value_type if isinstance(node, inspect.DictType) else inspect.AnyType()
    for key in value:
        yield key, fields.get(key, other)


def _keep(node: inspect.Type, new: Any, old: Any, path: str) -> Any:
    inner = _resolve(node, new)
    if _is_secret(inner):
        return _kept_secret(new, old, path)
    match inner, new:
        case (inspect.StructType() | inspect.DictType(), dict()):
            return _kept_object(inner, new, old if _fits(inner, old) else {}, path)
        case (inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item), list() | tuple()):
            partners = _partners(item, new, old if isinstance(old, list | tuple) else ())
            return [
                _keep(item, each, was, f"{path}[{i}]") for i, (each, was) in enumerate(zip(new, partners, strict=True))
            ]
    return new


def _kept_secret(new: Any, old: Any, path: str) -> Any:
    if new is not None and not (isinstance(new, str) and (not new or new.startswith(MARK))):
        return new
    if isinstance(old, str) and old:
        return old
    if new:
        raise MaskedSecret(path)
    return new


def _kept_object(node: inspect.Type, new: dict[str, Any], old: Mapping[str, Any], path: str) -> dict[str, Any]:
    result = {key: _keep(child, new[key], old.get(key), f"{path}.{key}") for key, child in _children(node, new)}
    if isinstance(node, inspect.StructType):  # a map's entry that is left out is taken away; a field's secret stays
        for field in node.fields:
            name = field.encode_name
            if name not in new and name in old and _is_secret(_resolve(field.type, old[name])):
                result[name] = old[name]
    return result


def _partners(item: inspect.Type, new: Sequence[Any], old: Sequence[Any]) -> list[Any]:
    """Find for each new item the stored one that it was read from: the one that reads the same, else the same place."""
    readings = [_mask(item, each) for each in old]
    found = []
    for i, each in enumerate(new):
        reading = _mask(item, each)
        same = next((was for was, read in zip(old, readings, strict=True) if read == reading), None)
        found.append(same if same is not None else old[i] if i < len(old) else None)
    return found
