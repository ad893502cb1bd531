"""Keys that are sent as they are: in a header, or in the query."""

import re
from typing import Final

from trustgate.config.records import ApiKeyAuth
from trustgate.providers.credentials.references import BadCredential

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def check_key(key: ApiKeyAuth, path: str = "auth.api_key") -> None:
    """Check that a key is one of three things, complete, and can travel in a header. Raises BadCredential."""
    for field in ("api_key", "header_value", "param_value"):
        value = getattr(key, field)
        if value and not _VISIBLE.fullmatch(value):
            raise BadCredential(
                f"{path}.{field} must be visible ASCII characters, with no blank or line break at either end"
            )
    if bool(key.header_name) != bool(key.header_value) or bool(key.param_name) != bool(key.param_value):
        raise BadCredential(f"{path} needs both halves of a header or parameter pair: a name and a value")
    if not (key.api_key or key.header_name or key.param_name or key.keys):
        raise BadCredential(f"{path} needs api_key, or header_name and header_value, or param_name and param_value")
    _check_several(key, path)


def _check_several(key: ApiKeyAuth, path: str) -> None:
    if key.keys and (key.api_key or key.header_name or key.param_name):
        raise BadCredential(f"{path} has several keys: leave api_key, header_name and param_name out")
    for name, value in key.keys.items():
        if not _NAME.fullmatch(name):
            raise BadCredential(f"{path}.keys has a key whose name is not letters, digits, dots and dashes")
        if not _VISIBLE.fullmatch(value):
            raise BadCredential(f"{path}.keys.{name} must be visible ASCII characters, with no blank at either end")
    for name, weight in key.key_weights.items():
        if name not in key.keys:
            raise BadCredential(f"{path}.key_weights names {name[:64]}, which is none of its keys")
        if not 1 <= weight <= 100:
            raise BadCredential(f"{path}.key_weights.{name} is {weight}: it must be 1 to 100")
