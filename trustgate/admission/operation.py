"""Method and path → the operation asked for, the dialect it is asked in, and the consumer that the path names."""

from typing import Final

from msgspec import Struct

from trustgate.contract.context import Operation
from trustgate.contract.errors import Refused

CHAT: Final = Operation(name="chat_completions", dialect="openai", method="POST", reads_body=True)
MODELS: Final = Operation(name="models", dialect="openai", method="GET", reads_body=False)
MODEL: Final = Operation(name="model", dialect="openai", method="GET", reads_body=False)

ROUTES: Final[dict[str, Operation]] = {
    "/v1/chat/completions": CHAT,
    "/chat/completions": CHAT,
    "/v1/models": MODELS,
    "/models": MODELS,
}
MODEL_PREFIXES: Final = ("/v1/models/", "/models/")

RESERVED: Final = frozenset(
    {
        *("v1", "v2", "v1beta", "v1alpha", "model", "models", "chat", "completions", "responses", "embeddings"),
        *("moderations", "images", "audio", "files", "batches", "rerank", "messages", "passthrough", "mcp", "admin"),
        *("health", "healthz", "readyz", "metrics", "docs", "openapi.json", "__"),
    }
)
"""First path segments that are routes, so never the slug of a consumer."""


class Asked(Struct, frozen=True):
    """What a path asks for. `consumer` is empty when the path names none; `item` is the id in `/models/{id}`."""

    operation: Operation
    consumer: str = ""
    item: str = ""


def ask(method: str, path: str) -> Asked:
    """Return what is asked. Raises Refused: 404 for a path that is no route, 405 for a method that it does not take."""
    operation = ROUTES.get(path)
    if operation is not None:
        return _checked(method, Asked(operation))
    cut = path.find("/", 1)
    consumer, rest = path[1:cut], path[cut:]
    operation = ROUTES.get(rest)
    if cut > 1 and operation is not None and consumer not in RESERVED:
        return _checked(method, Asked(operation, consumer))
    return _checked(method, _unusual(path))


def _unusual(path: str) -> Asked:
    """A path with a trailing slash or with an id at its end."""
    bare = path.rstrip("/")
    first = bare[1:].partition("/")[0]
    consumer, rest = ("", bare) if first in RESERVED else (first, bare[1 + len(first) :])
    if operation := ROUTES.get(rest):
        return Asked(operation, consumer)
    for prefix in MODEL_PREFIXES:
        if rest.startswith(prefix) and len(rest) > len(prefix):
            return Asked(MODEL, consumer, rest[len(prefix) :])
    raise Refused("unknown_route", f"There is no route {path}. {_known_routes()}", status=404, retry=False)


def _checked(method: str, asked: Asked) -> Asked:
    if method == asked.operation.method or (method == "HEAD" and asked.operation.method == "GET"):
        return asked
    allowed = asked.operation.method
    raise Refused(
        "method_not_allowed",
        f"{method} is not allowed here: use {allowed}.",
        status=405,
        headers=((b"allow", allowed.encode()),),
        retry=False,
    )


def _known_routes() -> str:
    return "Routes are " + ", ".join(f"/{{consumer}}{route}" for route in ROUTES if route.startswith("/v1")) + "."
