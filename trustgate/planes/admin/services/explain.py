"""What msgspec says about a value, in the words of whoever sent it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, inspect, structs

from trustgate.planes.admin.services.problems import invalid

_AT: Final = re.compile(r"(.*) - at `(?:key in )?`?\$?([^`]*)`", re.DOTALL)


def explain(error: Exception, root: str = "") -> str:
    """Return `field: what is wrong` for a validation error; `root` is the field that was validated."""
    match = _AT.fullmatch(str(error))
    message, path = (match[1], match[2]) if match else (str(error), "")
    where = (root + path).strip(".") if root else path.strip(".")
    plain = message.replace("Object contains unknown field", "unknown field").replace(
        "Object missing required field", "missing the required field"
    )
    return f"{where}: {plain}" if where else plain


def unknown_fields(kind: type[Struct], given: Mapping[str, Any], root: str) -> None:
    """Refuse fields that the type does not have, naming all of them and what there is. Raises Refused."""
    known = [field.encode_name for field in structs.fields(kind)]
    if unknown := [key for key in given if key not in known]:
        named = ", ".join(key[:100] for key in unknown[:20])
        raise invalid(f"{root}: unknown field {named}: the known ones are {', '.join(known) or 'none'}")


def unknown_within(kind: Any, given: object, root: str) -> None:
    """The same for everything in a value, whatever it is a list or a field of. Raises Refused."""
    _check_within(inspect.type_info(kind), given, root)


def _check_within(node: inspect.Type, given: object, path: str) -> None:
    match node, given:
        case inspect.StructType(), dict():
            unknown_fields(node.cls, given, path)
            for field in node.fields:
                if field.encode_name in given:
                    _check_within(field.type, given[field.encode_name], f"{path}.{field.encode_name}")
        case (inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item), list()):
            for at, each in enumerate(given):
                _check_within(item, each, f"{path}[{at}]")
        case inspect.UnionType(), _:
            for each in node.types:
                _check_within(each, given, path)
        case inspect.Metadata(), _:
            _check_within(node.type, given, path)
