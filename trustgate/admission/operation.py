"""Method and path → the operation asked for, the dialect it is asked in, and the consumer that the path names."""

from typing import Final

from msgspec import Struct

from trustgate.contract.context import Dialect, Family, Operation
from trustgate.contract.errors import Refused


def _posted(name: str, dialect: Dialect, family: Family) -> Operation:
    return Operation(name=name, dialect=dialect, method="POST", family=family)


def _form(name: str) -> Operation:
    return Operation(name=name, dialect="openai", method="POST", family="native", body="form")


def _got(name: str, dialect: Dialect, family: Family, method: str = "GET") -> Operation:
    return Operation(name=name, dialect=dialect, method=method, family=family, body="none")


def _in_path(name: str, dialect: Dialect, family: Family, *, stream: bool = False) -> Operation:
    return Operation(name=name, dialect=dialect, method="POST", family=family, stream=stream, model_in_path=True)


CHAT: Final = _posted("chat_completions", "openai", "chat")
COMPLETIONS: Final = _posted("completions", "openai", "chat")
RESPONSES: Final = _posted("responses", "openai_responses", "chat")
MESSAGES: Final = _posted("messages", "anthropic", "chat")
COHERE_CHAT: Final = _posted("cohere_chat", "cohere", "chat")
GENERATE: Final = _in_path("generate_content", "gemini", "chat")
GENERATE_STREAM: Final = _in_path("generate_content", "gemini", "chat", stream=True)
CONVERSE: Final = _in_path("converse", "bedrock", "chat")
CONVERSE_STREAM: Final = _in_path("converse", "bedrock", "chat", stream=True)

MESSAGES_COUNT: Final = _posted("messages_count_tokens", "anthropic", "count")
RESPONSES_COUNT: Final = _posted("responses_input_tokens", "openai_responses", "count")
GEMINI_COUNT: Final = _in_path("count_tokens", "gemini", "count")

EMBEDDINGS: Final = _posted("embeddings", "openai", "embeddings")
COHERE_EMBED: Final = _posted("cohere_embed", "cohere", "embeddings")
EMBED_CONTENT: Final = _in_path("embed_content", "gemini", "embeddings")
BATCH_EMBED: Final = _in_path("batch_embed_contents", "gemini", "embeddings")
RERANK: Final = _posted("rerank", "cohere", "rerank")

MODERATIONS: Final = _posted("moderations", "openai", "native")
IMAGES: Final = _posted("images_generations", "openai", "native")
IMAGE_EDITS: Final = _form("images_edits")
IMAGE_VARIATIONS: Final = _form("images_variations")
SPEECH: Final = _posted("audio_speech", "openai", "native")
TRANSCRIPTIONS: Final = _form("audio_transcriptions")
TRANSLATIONS: Final = _form("audio_translations")

MODELS: Final = _got("models", "openai", "models")
MODEL: Final = _got("model", "openai", "models")
GEMINI_MODELS: Final = _got("models", "gemini", "models")
GEMINI_MODEL: Final = _got("model", "gemini", "models")

RESPONSE: Final = _got("response", "openai_responses", "stored")
RESPONSE_DELETE: Final = _got("response_delete", "openai_responses", "stored", "DELETE")
RESPONSE_CANCEL: Final = _got("response_cancel", "openai_responses", "stored", "POST")
RESPONSE_ITEMS: Final = _got("response_input_items", "openai_responses", "stored")
PASSTHROUGH: Final = Operation(name="passthrough", dialect="openai", method="*", family="passthrough", body="any")

_OPENAI: Final[dict[str, Operation]] = {
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/responses": RESPONSES,
    "/responses/input_tokens": RESPONSES_COUNT,
    "/embeddings": EMBEDDINGS,
    "/moderations": MODERATIONS,
    "/images/generations": IMAGES,
    "/images/edits": IMAGE_EDITS,
    "/images/variations": IMAGE_VARIATIONS,
    "/audio/speech": SPEECH,
    "/audio/transcriptions": TRANSCRIPTIONS,
    "/audio/translations": TRANSLATIONS,
    "/models": MODELS,
    "/messages": MESSAGES,
    "/messages/count_tokens": MESSAGES_COUNT,
    "/rerank": RERANK,
}
"""With and without `/v1` in front: base URLs end either way."""

ROUTES: Final[dict[str, Operation]] = {
    **{f"/v1{path}": operation for path, operation in _OPENAI.items()},
    **_OPENAI,
    "/v2/chat": COHERE_CHAT,
    "/v2/embed": COHERE_EMBED,
    "/v2/rerank": RERANK,
    "/v1beta/models": GEMINI_MODELS,
}
_ACTIONS: Final[dict[str, Operation]] = {
    "generateContent": GENERATE,
    "streamGenerateContent": GENERATE_STREAM,
    "countTokens": GEMINI_COUNT,
    "embedContent": EMBED_CONTENT,
    "batchEmbedContents": BATCH_EMBED,
}
_MODEL_PREFIXES: Final = ("/v1/models/", "/models/", "/v1beta/models/")
_CONVERSE: Final = {"/converse": CONVERSE, "/converse-stream": CONVERSE_STREAM}
_RESPONSE_PREFIXES: Final = ("/v1/responses/", "/responses/")
_KEPT: Final = {
    ("GET", ""): RESPONSE,
    ("DELETE", ""): RESPONSE_DELETE,
    ("POST", "cancel"): RESPONSE_CANCEL,
    ("GET", "input_items"): RESPONSE_ITEMS,
}
_PASSTHROUGH: Final = "/passthrough/"

PATHS: Final = (
    *(f"/{{consumer}}{path}" for path in ROUTES if path.startswith("/v")),
    "/{consumer}/v1/models/{id}",
    "/{consumer}/v1/responses/{id}",
    "/{consumer}/v1/responses/{id}/cancel",
    "/{consumer}/v1/responses/{id}/input_items",
    *(f"/{{consumer}}/v1beta/models/{{model}}:{action}" for action in _ACTIONS),
    *(f"/{{consumer}}/model/{{model}}{path}" for path in _CONVERSE),
    "/{consumer}/passthrough/{registry}/…",
)
"""Every route, as documents and errors name them."""

RESERVED: Final = frozenset(
    {
        *("v1", "v2", "v1beta", "v1alpha", "model", "models", "chat", "completions", "responses", "embeddings"),
        *("moderations", "images", "audio", "files", "batches", "rerank", "messages", "passthrough", "mcp", "admin"),
        *("health", "healthz", "readyz", "metrics", "docs", "openapi.json", "__"),
    }
)
"""First path segments that are routes, so never the slug of a consumer."""


class Asked(Struct, frozen=True):
    """What a path asks for. `consumer` is empty when the path names none.

    `item` is what the path names: a model, a stored response, or the registry of a passthrough; `rest` is the path
    behind that registry.
    """

    operation: Operation
    consumer: str = ""
    item: str = ""
    rest: str = ""


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
    return _checked(method, _unusual(method, path))


def _unusual(method: str, path: str) -> Asked:
    """A path with a trailing slash, or with something named in it."""
    first = path[1:].partition("/")[0]
    consumer, whole = ("", path) if first in RESERVED else (first, path[1 + len(first) :])
    if whole.startswith(_PASSTHROUGH):
        registry, slash, rest = whole[len(_PASSTHROUGH) :].partition("/")
        if registry:
            return Asked(PASSTHROUGH, consumer, registry, slash + rest)
    bare = whole.rstrip("/")
    if operation := ROUTES.get(bare):
        return Asked(operation, consumer)
    asked = _of_model(bare, consumer) or _converse(bare, consumer) or _stored(method, bare, consumer)
    if asked is None:
        raise Refused("unknown_route", f"There is no route {path}. {_known_routes()}", status=404, retry=False)
    return asked


def _of_model(path: str, consumer: str) -> Asked | None:
    for prefix in _MODEL_PREFIXES:
        item = path[len(prefix) :]
        if path.startswith(prefix) and item:
            model, colon, action = item.rpartition(":")
            if colon and model and action in _ACTIONS:
                return Asked(_ACTIONS[action], consumer, model)
            return Asked(GEMINI_MODEL if "beta" in prefix else MODEL, consumer, item)
    return None


def _converse(path: str, consumer: str) -> Asked | None:
    """A model's id can be an ARN, which has slashes."""
    for ending, operation in _CONVERSE.items():
        model = path.removeprefix("/model/").removesuffix(ending)
        if path.startswith("/model/") and path.endswith(ending) and model:
            return Asked(operation, consumer, model)
    return None


def _stored(method: str, path: str, consumer: str) -> Asked | None:
    for prefix in _RESPONSE_PREFIXES:
        item, _, what = path[len(prefix) :].partition("/")
        if not path.startswith(prefix) or not item:
            continue
        operation = _KEPT.get(("GET" if method == "HEAD" else method, what))
        if operation is None:
            operation = next((it for (_, kept), it in _KEPT.items() if kept == what), None)
        return Asked(operation, consumer, item) if operation else None
    return None


def _checked(method: str, asked: Asked) -> Asked:
    allowed = asked.operation.method
    if allowed in (method, "*") or (method == "HEAD" and allowed == "GET"):
        return asked
    raise Refused(
        "method_not_allowed",
        f"{method} is not allowed here: use {allowed}.",
        status=405,
        headers=((b"allow", allowed.encode()),),
        retry=False,
    )


def _known_routes() -> str:
    return "Routes are " + ", ".join(PATHS) + "."
