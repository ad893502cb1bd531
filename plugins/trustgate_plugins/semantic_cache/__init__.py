"""Answers told again. All but the user's last words is compared exactly, and of those the numbers and names too."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from trustgate import (
    Answer,
    AnswerView,
    Outcome,
    Proceed,
    RequestContext,
    Services,
    StateUnavailable,
    Unreadable,
    Usage,
    Vectors,
    Verdict,
    hookimpl,
    plain_usd,
    seconds,
)
from trustgate_plugins.semantic_cache.keys import Question, question
from trustgate_plugins.semantic_cache.settings import SemanticCacheSettings

NAMES = {"in_memory": "memory"}
_MISS = ((b"x-cache", b"MISS"), (b"x-cache-status", b"MISS"))


class Stored(Struct, frozen=True, kw_only=True, array_like=True):
    """An answer as it is kept: the very bytes that a caller was sent, in which form, and what they cost."""

    body: bytes
    status: int
    streamed: bool
    options: bytes
    usage: Usage | None
    usd: str


class Missed(Struct, frozen=True, kw_only=True):
    """A question that was not answered, for when its answer comes. `vector` is empty where texts are not compared."""

    question: Question
    vector: Sequence[float] = ()


class Details(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the event says: never a text."""

    cache_hit: bool
    match_type: str = ""
    similarity: float = 0.0
    skip_reason: str = ""
    saved_input_tokens: int = 0
    saved_output_tokens: int = 0
    saved_usd: str = ""
    embedding_tokens: int = 0
    stored: bool = False


@hookimpl
def settings_type() -> type[SemanticCacheSettings]:
    return SemanticCacheSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: SemanticCacheSettings, services: Services) -> Verdict:
    if ctx.operation.family != "chat":
        return None
    if why := _skipped(ctx, settings):
        return Proceed(headers=_MISS, details=Details(cache_hit=False, skip_reason=why))
    asked = question(ctx, settings)
    if settings.mode != "semantic":
        hit = await _hit(asked.exact, ctx, asked, services)
        if hit is not None:
            return _answer(*hit, match="exact")
    if not settings.compares or not asked.text.strip():
        return Proceed(kept=Missed(question=asked), headers=_MISS, details=Details(cache_hit=False))
    vector, tokens = await _embedded(ctx, asked.text, settings, services)
    near = await _store(settings, services).nearest(asked.partition, vector, at_least=settings.similarity_threshold)
    hit = await _hit(near.value.decode(), ctx, asked, services) if near is not None else None
    if near is not None and hit is not None:
        return _answer(*hit, match="semantic", similarity=near.similarity, tokens=tokens)
    missed = Missed(question=asked, vector=vector)
    return Proceed(kept=missed, headers=_MISS, details=Details(cache_hit=False, embedding_tokens=tokens))


@hookimpl
async def post_response(
    ctx: RequestContext,
    outcome: Outcome,
    answer: AnswerView | None,
    settings: SemanticCacheSettings,
    services: Services,
    kept: Missed | None,
) -> Verdict:
    if kept is None or answer is None or not _worth(ctx, outcome, answer, kept, settings):
        return None
    asked = kept.question
    stored = Stored(
        body=answer.body,
        status=answer.status,
        streamed=answer.streamed,
        options=asked.options,
        usage=outcome.usage,
        usd="" if outcome.cost is None else plain_usd(outcome.cost.total),
    )
    await services.cache.set(asked.exact, msgspec.msgpack.encode(stored), ttl=settings.keeps)
    if kept.vector:
        await _store(settings, services).add(
            asked.partition, asked.exact, kept.vector, asked.exact.encode(), ttl=settings.keeps
        )
    return Proceed(details=Details(cache_hit=False, stored=True))


def _skipped(ctx: RequestContext, settings: SemanticCacheSettings) -> str:
    """Return why a request is let pass, or nothing."""
    if ctx.header(settings.bypass_header) or "no-cache" in ctx.header("cache-control").lower():
        return "bypass"
    if settings.skip_if_streaming and ctx.body.stream:
        return "streaming"
    if settings.skip_if_tools_present and ctx.body.prompt().tools:
        return "tools"
    return ""


async def _hit(key: str, ctx: RequestContext, asked: Question, services: Services) -> tuple[bytes, Stored] | None:
    """Return what is kept, in the form that is asked for. What another version kept in another form is not there."""
    raw = await services.cache.get(key)
    if raw is None:
        return None
    try:
        stored = msgspec.msgpack.decode(raw, type=Stored)
        return _told(ctx, asked, stored, services), stored
    except (msgspec.DecodeError, Unreadable):
        return None


def _told(ctx: RequestContext, asked: Question, stored: Stored, services: Services) -> bytes:
    """Return an answer in the form that is asked for. Raises Unreadable where it would lose something by that."""
    if stored.streamed == asked.streamed and (not asked.streamed or stored.options == asked.options):
        return stored.body
    said, known, operation = stored.body, ctx.body.json(), ctx.operation.name
    if stored.streamed == asked.streamed:  # another stream: by way of the whole answer
        said = services.replay(operation, known, said, stored.usage, streamed=True)
    return services.replay(operation, known, said, stored.usage, streamed=not asked.streamed)


def _answer(body: bytes, stored: Stored, *, match: str, similarity: float = 0.0, tokens: int = 0) -> Answer:
    usage = stored.usage or Usage()
    headers = [(b"x-cache", b"HIT"), (b"x-cache-status", b"HIT")]
    if match == "semantic":
        headers.append((b"x-cache-similarity", b"%.4f" % similarity))
    details = Details(
        cache_hit=True,
        match_type=match,
        similarity=round(similarity, 4),
        saved_input_tokens=usage.input,
        saved_output_tokens=usage.output,
        saved_usd=stored.usd,
        embedding_tokens=tokens,
    )
    return Answer(body=body, status=stored.status, judged=True, headers=headers, details=details)


async def _embedded(
    ctx: RequestContext, text: str, settings: SemanticCacheSettings, services: Services
) -> tuple[Sequence[float], int]:
    embedding = settings.embedding
    found = await services.embedder.embed(
        ctx.caller.gateway_id, embedding.registry, embedding.model, (text,), within=seconds(embedding.timeout)
    )
    return found.vectors[0], found.tokens


def _store(settings: SemanticCacheSettings, services: Services) -> Vectors:
    name = settings.vector_store
    if name is None:
        return services.vectors.get("redis") or services.vectors["memory"]
    store = services.vectors.get(NAMES.get(name, name))
    if store is None:
        raise StateUnavailable(f"this process has no {name} to keep vectors in: it has {', '.join(services.vectors)}")
    return store


def _worth(
    ctx: RequestContext, outcome: Outcome, answer: AnswerView, missed: Missed, settings: SemanticCacheSettings
) -> bool:
    """Whether an answer is one to be told again: of the model that was asked for, whole, and not too large."""
    wanted = settings.cache_only_on_status
    return (
        outcome.target is not None
        and outcome.complete
        and not (outcome.refused or outcome.answered_by)
        and ctx.body.model == missed.question.model
        and (not wanted or answer.status in wanted)
        and len(answer.body) <= settings.max_answer_bytes
    )
