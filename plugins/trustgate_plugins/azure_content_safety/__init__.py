"""Azure AI Content Safety.

https://learn.microsoft.com/en-us/rest/api/contentsafety/text-operations/analyze-text
"""

import asyncio
from collections.abc import Iterator
from functools import partial

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
from trustgate_plugins.azure_content_safety.settings import AzureContentSafetySettings

LONGEST = 10_000
"""Characters that the service takes at once."""
AT_ONCE = 8
"""Calls for one judgement that are under way at the same time."""


class Analysis(Struct, frozen=True):
    """What is said of one category."""

    category: str
    severity: int = 0


class Answer(Struct, frozen=True, rename="camel"):
    """The answer, as far as it is read."""

    categories_analysis: list[Analysis]


@hookimpl
def settings_type() -> type[AzureContentSafetySettings]:
    return AzureContentSafetySettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: AzureContentSafetySettings, services: Services) -> Verdict:
    return await judge_request(ctx, settings, partial(_ask, settings, services))


@hookimpl
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: AzureContentSafetySettings, services: Services
) -> Verdict:
    return await judge_answer(ctx, answer, partial(_ask, settings, services))


@hookimpl
async def on_chunk(chunk: Chunk, settings: AzureContentSafetySettings, services: Services) -> ChunkVerdict:
    return await judge_chunk(chunk, partial(_ask, settings, services))


async def _ask(settings: AzureContentSafetySettings, services: Services, subject: Subject) -> Judged:
    places = asyncio.Semaphore(AT_ONCE)
    parts = list(_parts(subject.context + "\n".join(subject.texts)))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_analyse(part, settings, services, places)) for part in parts]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    worst: dict[str, int] = {}
    for task in tasks:
        for said in task.result():
            worst[said.category] = max(said.severity, worst.get(said.category, 0))
    return _judged(worst, settings)


def _parts(text: str) -> Iterator[str]:
    """Yield a text in parts that the service takes; neighbours overlap, so that nothing is cut in two unseen."""
    step = LONGEST - 200
    for start in range(0, max(1, len(text) - 200), step):
        yield text[start : start + LONGEST]


async def _analyse(
    text: str, settings: AzureContentSafetySettings, services: Services, places: asyncio.Semaphore
) -> list[Analysis]:
    asked = {"text": text, "categories": list(settings.category_severity), "outputType": settings.output_type}
    async with places:
        answer = await services.http.send(
            "POST",
            settings.url,
            headers=(
                (b"content-type", b"application/json"),
                (b"ocp-apim-subscription-key", settings.api_key.encode()),
            ),
            body=msgspec.json.encode(asked),
            within=settings.within,
        )
    if answer.status != 200:
        raise ServiceUnavailable(f"content safety answered with status {answer.status}")
    try:
        said = msgspec.json.decode(answer.body, type=Answer).categories_analysis
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("content safety answered with something that is no analysis") from None
    if missing := settings.category_severity.keys() - {each.category for each in said}:
        raise ServiceUnavailable(f"content safety said nothing about {', '.join(sorted(missing))}")
    return said


def _judged(worst: dict[str, int], settings: AzureContentSafetySettings) -> Judged:
    score = round(max(worst.values(), default=0) / 7, 4)
    breaches = [
        {"category": category, "severity": worst[category], "threshold": threshold}
        for category, threshold in settings.category_severity.items()
        if worst.get(category, 0) >= threshold
    ]
    if not breaches:
        return Judged(details={"score": score})
    details = {"score": score, "categories": breaches}
    return Judged(deny=Deny(code="content_flagged", message=settings.message, retry=False, details=details))
