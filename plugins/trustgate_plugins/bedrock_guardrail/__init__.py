"""A guardrail of Amazon Bedrock.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ApplyGuardrail.html
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

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
    judge_window,
)
from trustgate_plugins.bedrock_guardrail.settings import BedrockGuardrailSettings

MASKED = "ANONYMIZED"


class Output(Struct, frozen=True):
    """One text as the guardrail would have it."""

    text: str = ""


class Applied(Struct, frozen=True):
    """The answer, as far as it is read."""

    action: Literal["NONE", "GUARDRAIL_INTERVENED"]
    outputs: list[Output] = []
    assessments: list[dict[str, Any]] = []


@hookimpl
def settings_type() -> type[BedrockGuardrailSettings]:
    return BedrockGuardrailSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: BedrockGuardrailSettings, services: Services) -> Verdict:
    return await judge_request(ctx, settings, partial(_ask, settings, services))


@hookimpl
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: BedrockGuardrailSettings, services: Services
) -> Verdict:
    return await judge_answer(ctx, answer, partial(_ask, settings, services))


@hookimpl
async def on_chunk(chunk: Chunk, settings: BedrockGuardrailSettings, services: Services) -> ChunkVerdict:
    ask = partial(_ask, settings, services)
    return await (judge_window if settings.pii_action == "anonymize" else judge_chunk)(chunk, ask)


async def _ask(settings: BedrockGuardrailSettings, services: Services, subject: Subject) -> Judged:
    asked = {
        "source": "INPUT" if subject.stage == "request" else "OUTPUT",
        "content": [{"text": {"text": subject.context + text}} for text in subject.texts],
    }
    answer = await services.http.send(
        "POST",
        settings.url,
        headers=((b"content-type", b"application/json"),),
        body=msgspec.json.encode(asked),
        within=settings.within,
        signing=settings.signing,
    )
    if answer.status != 200:
        raise ServiceUnavailable(f"the guardrail answered with status {answer.status}")
    try:
        applied = msgspec.json.decode(answer.body, type=Applied)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("the guardrail answered with something that cannot be read") from None
    return _judged(applied, subject, settings)


def _judged(applied: Applied, subject: Subject, settings: BedrockGuardrailSettings) -> Judged:
    if applied.action == "NONE":
        return Judged()
    found = list(_found(applied.assessments))
    details = {"found": [{"policy": policy, "name": name, "action": action} for policy, name, action in found]}
    only_masks = bool(found) and all(action in (MASKED, "NONE") for _, _, action in found)
    if settings.pii_action == "anonymize" and only_masks and len(applied.outputs) == len(subject.pieces):
        return Judged(texts=[output.text for output in applied.outputs], details=details)
    return Judged(deny=Deny(code="guardrail_blocked", message=settings.message, retry=False, details=details))


def _found(assessments: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield what was found: of which policy, its name there, and what was done. Never the text that matched."""
    for assessment in assessments:
        for policy, said in assessment.items():
            for kind in said.values() if isinstance(said, dict) else ():
                for each in kind if isinstance(kind, list) else ():
                    if isinstance(each, dict) and "action" in each:
                        name = each.get("name") or each.get("type") or ""
                        yield policy.removesuffix("Policy"), str(name)[:64], str(each["action"])
