"""Schemas of an OpenAPI description as schemas of arguments: JSON Schema 2020-12, with what they refer to beside them.

https://spec.openapis.org/oas/v3.0.3#schema-object
"""

from typing import Any, Final

from trustgate.mcp.messages import Json

COMPONENTS: Final = "#/components/schemas/"
DEEPEST: Final = 100
_DROPPED: Final = frozenset(("discriminator", "xml", "externalDocs", "example"))
"""What OpenAPI says in a schema that JSON Schema does not know."""


class BadReference(ValueError):
    """A reference leads nowhere, or out of the document."""


def resolved(document: Json, told: Any) -> Json:
    """Return what is meant: what is there, or what a reference leads to. Raises BadReference."""
    for _ in range(DEEPEST):
        if not isinstance(told, dict):
            raise BadReference("an object is expected where there is none")
        reference = told.get("$ref")
        if not isinstance(reference, str):
            return told
        told = _at(document, reference)
    raise BadReference("references lead to one another without an end")


def _at(document: Json, reference: str) -> Any:
    if not reference.startswith("#/"):
        raise BadReference(f"{reference[:200]} leads out of the document: put what it means into it")
    found: Any = document
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            raise BadReference(f"{reference[:200]} leads nowhere")
        found = found[name]
    return found


class Schemas:
    """Reads schemas of one document; `used` are those that others refer to, for `$defs`."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self.used: Json = {}

    def read(self, schema: Any, *, depth: int = 0) -> Any:
        """Return a schema as JSON Schema. Raises BadReference."""
        if depth > DEEPEST:
            raise BadReference("a schema is nested too deeply")
        if isinstance(schema, list):
            return [self.read(each, depth=depth + 1) for each in schema]
        if not isinstance(schema, dict):
            return schema
        if isinstance(reference := schema.get("$ref"), str):
            return self._referred(reference, depth)
        made: Json = {}
        for name, value in schema.items():
            if name in ("properties", "patternProperties", "$defs") and isinstance(value, dict):
                made[name] = {key: self.read(each, depth=depth + 1) for key, each in value.items()}
            elif name in ("enum", "const", "default", "examples"):
                made[name] = value
            elif name not in _DROPPED and not name.startswith("x-"):
                made[name] = self.read(value, depth=depth + 1)
        return _as_2020(made)

    def _referred(self, reference: str, depth: int) -> Json:
        """Return a reference to a definition of ours: schemas may be made of themselves."""
        name = reference.removeprefix(COMPONENTS) if reference.startswith(COMPONENTS) else reference
        key = name.replace("/", "_").replace("#", "").replace("~", "_")
        if key not in self.used:
            self.used[key] = {}
            self.used[key] = self.read(_at(self._document, reference), depth=depth + 1)
        return {"$ref": f"#/$defs/{key}"}


def _as_2020(schema: Json) -> Json:
    """Say what OpenAPI 3.0 says in its own way as JSON Schema does."""
    nullable = schema.pop("nullable", False) is True
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    return schema
