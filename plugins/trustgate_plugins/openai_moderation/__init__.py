"""OpenAI's moderation. https://platform.openai.com/docs/api-reference/moderations"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from trustgate import (
    AnswerView,
    Chunk,
    ChunkVerdict,
    Deny,
    Judged,
    RequestContext,
    Services,
    ServiceUnavailable,
    Subject,
    Verdict,
    hookimpl,
    judge_answer,
    judge_chunk,
    judge_request,
)
from trustgate_plugins.openai_moderation.settings import OpenAIModerationSettings

BASE_URL = "https://api.openai.com"


class Result(Struct, frozen=True):
    """What is said of one text."""

    categories: dict[str, bool]
    category_scores: dict[str, float]


class Moderation(Struct, frozen=True):
    """The answer, as far as it is read."""

    results: list[Result]


@hookimpl
def settings_type() -> type[OpenAIModerationSettings]:
    return OpenAIModerationSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: OpenAIModerationSettings, services: Services) -> Verdict:
    return await judge_request(ctx, settings, partial(_ask, settings, services))


@hookimpl
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: OpenAIModerationSettings, services: Services
) -> Verdict:
    return await judge_answer(ctx, answer, partial(_ask, settings, services))


@hookimpl
async def on_chunk(chunk: Chunk, settings: OpenAIModerationSettings, services: Services) -> ChunkVerdict:
    return await judge_chunk(chunk, partial(_ask, settings, services))


async def _ask(settings: OpenAIModerationSettings, services: Services, subject: Subject) -> Judged:
    texts = [subject.context + text for text in subject.texts]
    base = services.variables.get("OPENAI_MODERATION_BASE_URL", BASE_URL).rstrip("/")
    answer = await services.http.send(
        "POST",
        f"{base}/v1/moderations",
        headers=((b"content-type", b"application/json"), (b"authorization", b"Bearer " + settings.api_key.encode())),
        body=msgspec.json.encode({"model": settings.model, "input": texts}),
        within=settings.within,
    )
    if answer.status != 200:
        raise ServiceUnavailable(f"moderation answered with status {answer.status}")
    try:
        results = msgspec.json.decode(answer.body, type=Moderation).results
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("moderation answered with something that is no moderation") from None
    if len(results) != len(texts):
        raise ServiceUnavailable("moderation did not answer for each text")
    return _judged(results, settings)


def _judged(results: list[Result], settings: OpenAIModerationSettings) -> Judged:
    found = sorted(
        (each for result in results for each in _breaches(result, settings)), key=lambda each: -each["score"]
    )
    worst = {each["category"]: each for each in reversed(found)}
    if not worst:
        return Judged(details={"score": round(max(_scores(results, settings), default=0.0), 4)})
    details = {"categories": sorted(worst.values(), key=lambda each: -each["score"])}
    return Judged(deny=Deny(code="content_flagged", message=settings.message, retry=False, details=details))


def _breaches(result: Result, settings: OpenAIModerationSettings) -> Iterator[dict[str, Any]]:
    for category, score in result.category_scores.items():
        if settings.categories and category not in settings.categories:
            continue
        threshold = settings.thresholds.get(category)
        if threshold is not None and score >= threshold:
            yield {"category": category, "score": round(score, 4), "threshold": threshold}
        elif threshold is None and settings.block_on_flagged and result.categories.get(category):
            yield {"category": category, "score": round(score, 4)}


def _scores(results: list[Result], settings: OpenAIModerationSettings) -> Iterator[float]:
    for result in results:
        for category, score in result.category_scores.items():
            if not settings.categories or category in settings.categories:
                yield score
