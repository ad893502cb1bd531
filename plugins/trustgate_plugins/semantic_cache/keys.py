"""What has to be equal for an answer to be told again, as keys. Nothing but the last words of the user is left out."""

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from trustgate import Piece, RequestContext, telling_words
from trustgate_plugins.semantic_cache.facts import facts
from trustgate_plugins.semantic_cache.settings import SemanticCacheSettings

VARYING = ("anthropic-beta", "openai-beta", "anthropic-version")
"""Headers that change what a provider answers."""
STAND_IN = "\x00 what the user said last"
_encode = msgspec.json.Encoder(order="deterministic").encode


class Question(Struct, frozen=True, kw_only=True):
    """A request as the cache knows it: `partition` is all but the last words, `exact` those too; `text` is them.

    Both keys begin with the gateway. `options` is what a caller wants of a stream beside the answer.
    """

    partition: str
    exact: str
    text: str
    model: str
    streamed: bool
    options: bytes


def question(ctx: RequestContext, settings: SemanticCacheSettings) -> Question:
    """Return what is asked. Raises Unreadable for a body that cannot be looked into."""
    body = ctx.body
    said = body.prompt().last_user
    text = "\n".join(piece.text for piece in said)
    known = body.json()
    gateway, consumer = ctx.caller.gateway_id, ctx.caller.consumer_id if settings.scope == "consumer" else "*"
    rest = [
        consumer,
        ctx.operation.dialect,
        ctx.operation.name,
        body.model,
        [ctx.header(name) for name in VARYING],
        _without_last(body.edited({piece.path: STAND_IN for piece in said}), settings),
    ]
    whole = sha256(_encode(rest)).hexdigest()
    return Question(
        partition=f"{gateway}:sc:{sha256(_encode([whole, *_apart(text, said, settings)])).hexdigest()}",
        exact=f"{gateway}:sc:{whole}:{sha256(_encode([piece.text for piece in said])).hexdigest()}",
        text=text,
        model=body.model,
        streamed=body.stream,
        options=_encode(known.get("stream_options")) if isinstance(known, dict) else b"null",
    )


def _apart(text: str, said: tuple[Piece, ...], settings: SemanticCacheSettings) -> tuple[Any, ...]:
    """What sets texts apart that may be similar: their facts, the shape they come in, and who compares them."""
    embedder = (settings.embedding.registry, settings.embedding.model)
    words = tuple(telling_words(text)) if settings.words_count else ()
    return (embedder, len(said), facts(text), words)


def _without_last(raw: bytes, settings: SemanticCacheSettings) -> Any:
    fields = msgspec.json.decode(raw)
    return {name: value for name, value in fields.items() if name not in settings.left_out}
