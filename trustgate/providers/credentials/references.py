"""A secret that is somewhere else: `env:NAME` is a variable of this process, `file:/path` the text of a file.

Rule 1: a tenant names what to read, so it is the operator who says what may be read (`settings.References`).
Rule 2: a message names the reference, never its value, and tells nothing about what lies outside of what is allowed.
"""

import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct, inspect
from msgspec.structs import replace

from trustgate.settings import References

LARGEST: Final = 64 * 1024
"""Bytes of a file: key files are far smaller, and a mistaken path should not fill the memory."""
_VARIABLE: Final = "env:"
_FILE: Final = "file:"

S = TypeVar("S", bound=Struct)


class BadCredential(ValueError):
    """A registry's auth cannot work as it is configured; the message names the field and holds no secret."""


def is_reference(text: str) -> bool:
    """Say whether a secret is a reference to one."""
    return text.startswith((_VARIABLE, _FILE))


def resolve(text: str, references: References) -> str:
    """Return the secret that a text refers to, or is. Raises BadCredential, which names the reference."""
    if text.startswith(_VARIABLE):
        return _variable(text.removeprefix(_VARIABLE), references)
    if text.startswith(_FILE):
        return _file(text.removeprefix(_FILE), references)
    return text


def resolved(block: S, references: References, path: str) -> S:
    """Return a block of an auth with every secret in it looked up. Raises BadCredential, which names the field."""
    found: dict[str, object] = {}
    for name in secrets_of(type(block)):
        value = getattr(block, name)
        if isinstance(value, str):
            found[name] = _named(f"{path}.{name}", value, references)
        else:
            found[name] = {key: _named(f"{path}.{name}.{key}", each, references) for key, each in value.items()}
    return replace(block, **found)


def refers(block: Struct) -> bool:
    """Say whether any secret of a block is a reference."""
    values = [getattr(block, name) for name in secrets_of(type(block))]
    texts = [text for value in values for text in (value.values() if isinstance(value, Mapping) else (value,))]
    return any(map(is_reference, texts))


@lru_cache(maxsize=32)
def secrets_of(kind: type[Struct]) -> tuple[str, ...]:
    """Return the names of the fields of a record that hold a secret, or a map of them."""
    node = inspect.type_info(kind)
    assert isinstance(node, inspect.StructType)
    return tuple(field.name for field in node.fields if _is_secret(field.type))


def _is_secret(node: inspect.Type) -> bool:
    if isinstance(node, inspect.DictType):
        return _is_secret(node.value_type)
    return isinstance(node, inspect.Metadata) and bool((node.extra or {}).get("secret"))


def _named(field: str, text: str, references: References) -> str:
    try:
        return resolve(text, references)
    except BadCredential as error:
        raise BadCredential(f"{field}: {error}") from None


def _variable(name: str, references: References) -> str:
    if not references.may_read(name):
        raise BadCredential(
            f"env:{name[:200]} may not be referred to: CREDENTIAL_ENV_ALLOWED of the gateway says which names may "
            f"({', '.join(references.allowed)}), and its own variables never may"
        )
    if name not in references.variables:
        raise BadCredential(f"env:{name[:200]} is not set where the gateway runs")
    return references.variables[name]


def _file(path: str, references: References) -> str:
    if not references.folder:
        raise BadCredential(
            f"file:{path[:200]} may not be referred to: set CREDENTIAL_FILE_DIR of the gateway to the folder that "
            "holds such files"
        )
    real = _within(path, references.folder)
    try:
        return _read(real, path)
    except OSError as error:
        raise BadCredential(f"file:{path[:200]} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadCredential(f"file:{path[:200]} is no text in UTF-8") from None


def _within(path: str, folder: str) -> Path:
    """Return where a path really leads. What lies outside is refused alike whether it is there or not."""
    try:
        real = Path(path).resolve()
        inside = Path(path).is_absolute() and real.is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
        inside = False
    if not inside:
        raise BadCredential(f"file:{path[:200]} does not lie below CREDENTIAL_FILE_DIR of the gateway")
    return real


def _read(real: Path, path: str) -> str:
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a path opens nothing that is already open
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadCredential(f"file:{path[:200]} is no file")
        data = file.read(LARGEST + 1)
    text = data.decode().strip()
    if len(data) > LARGEST or not text:
        raise BadCredential(f"file:{path[:200]} is {'larger than 64 KiB' if text else 'empty'}")
    return text
