"""Any HTTP service decides. Requests are signed as Standard Webhooks has it, so that libraries for it check them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64encode
from functools import partial
from secrets import token_hex
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

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
    judge_request,
    judge_window,
)
from trustgate_plugins.webhook_guard.settings import WebhookGuardSettings


class Said(Struct, frozen=True, kw_only=True):
    """What the service answers. What it says beside this is left alone."""

    action: Literal["allow", "deny", "rewrite"]
    message: Annotated[str, Meta(max_length=1000)] = ""
    code: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")] = "webhook_denied"
    texts: list[str] | None = None
    labels: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=32)] = []


@hookimpl
def settings_type() -> type[WebhookGuardSettings]:
    return WebhookGuardSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: WebhookGuardSettings, services: Services) -> Verdict:
    return await judge_request(ctx, settings, partial(_ask, ctx, settings, services))


@hookimpl
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: WebhookGuardSettings, services: Services
) -> Verdict:
    return await judge_answer(ctx, answer, partial(_ask, ctx, settings, services))


@hookimpl
async def on_chunk(
    ctx: RequestContext, chunk: Chunk, settings: WebhookGuardSettings, services: Services
) -> ChunkVerdict:
    return await judge_window(chunk, partial(_ask, ctx, settings, services))


async def _ask(ctx: RequestContext, settings: WebhookGuardSettings, services: Services, subject: Subject) -> Judged:
    body = msgspec.json.encode(_question(ctx, subject))
    headers = (*settings.sent, (b"content-type", b"application/json"), *_signature(settings.key, body, services))
    answer = await services.http.send("POST", settings.url, headers=headers, body=body, within=settings.within)
    if answer.status != 200:
        raise ServiceUnavailable(f"the webhook answered with status {answer.status}")
    try:
        said = msgspec.json.decode(answer.body, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("the webhook answered with something that is no decision") from None
    return _judged(said, subject, settings)


def _question(ctx: RequestContext, subject: Subject) -> dict[str, Any]:
    caller = ctx.caller
    return {
        "id": ctx.id,
        "stage": subject.stage,
        "gateway": caller.gateway_slug,
        "consumer": {"id": caller.consumer_id, "slug": caller.consumer_slug, "name": caller.consumer_name},
        "session_id": ctx.session_id,
        "operation": ctx.operation.name,
        "model": ctx.body.model,
        "texts": [{"role": each.role, "kind": each.kind, "text": each.text} for each in subject.pieces],
        "final": subject.final,
    }


def _signature(key: bytes, body: bytes, services: Services) -> tuple[tuple[bytes, bytes], ...]:
    name, moment = f"msg_{token_hex(12)}".encode(), b"%d" % services.clock()
    proof = b64encode(hmac.digest(key, b".".join((name, moment, body)), "sha256"))
    return (b"webhook-id", name), (b"webhook-timestamp", moment), (b"webhook-signature", b"v1," + proof)


def _judged(said: Said, subject: Subject, settings: WebhookGuardSettings) -> Judged:
    details = {"action": said.action, "labels": said.labels} if said.labels else {"action": said.action}
    if said.action == "allow":
        return Judged(details=details)
    if said.action == "deny":
        message = said.message or settings.message
        return Judged(deny=Deny(code=said.code, message=message, retry=False, details=details))
    if said.texts is None or len(said.texts) != len(subject.pieces):
        raise ServiceUnavailable("the webhook rewrites, but not as many texts as there are")
    return Judged(texts=said.texts, details=details)
