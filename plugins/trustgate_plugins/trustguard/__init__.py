"""TrustGuard, the remote guard of that name: a token for each collector, then a judgement of each request or answer."""

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
    HttpAnswer,
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
from trustgate_plugins.trustguard.settings import TrustGuardSettings
from trustgate_plugins.trustguard.tokens import Tokens

TOKENS = Tokens()
_NEEDED = ("TRUSTGUARD_BASE_URL", "TRUSTGUARD_CLIENT_ID", "TRUSTGUARD_CLIENT_SECRET")
_JSON = (b"content-type", b"application/json")


class Token(Struct, frozen=True):
    """What a token endpoint answers, as far as it is read."""

    access_token: str
    expires_in: float = 0.0


class Evaluation(Struct, frozen=True):
    """What a judgement says, as far as it is read."""

    status: str
    transformed_payload: Any = None
    findings: list[Any] = []
    trace_id: str = ""
    request_id: str = ""


@hookimpl
def settings_type() -> type[TrustGuardSettings]:
    return TrustGuardSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: TrustGuardSettings, services: Services) -> Verdict:
    return await judge_request(ctx, settings, partial(_ask, ctx, settings, services))


@hookimpl
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: TrustGuardSettings, services: Services
) -> Verdict:
    return await judge_answer(ctx, answer, partial(_ask, ctx, settings, services))


@hookimpl
async def on_chunk(ctx: RequestContext, chunk: Chunk, settings: TrustGuardSettings, services: Services) -> ChunkVerdict:
    return await judge_window(chunk, partial(_ask, ctx, settings, services))


async def _ask(ctx: RequestContext, settings: TrustGuardSettings, services: Services, subject: Subject) -> Judged:
    if missing := [name for name in _NEEDED if not services.variables.get(name)]:
        raise ServiceUnavailable(f"{missing[0]} is not set for this process")
    name = (*(services.variables[each] for each in _NEEDED[:2]), settings.collector_id, ctx.caller.gateway_id)
    fetch = partial(_fetch, ctx, settings, services)
    body = msgspec.json.encode(_question(ctx, subject))
    token = await TOKENS.get(name, fetch)
    answer = await _evaluate(token, body, settings, services)
    if answer.status == 401:
        TOKENS.drop(name, token)
        answer = await _evaluate(await TOKENS.get(name, fetch), body, settings, services)
    if answer.status == 429:
        return Judged(deny=_busy(answer))
    if answer.status != 200:
        raise ServiceUnavailable(f"TrustGuard answered with status {answer.status}")
    try:
        said = msgspec.json.decode(answer.body, type=Evaluation)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("TrustGuard answered with something that is no judgement") from None
    return _judged(said, subject, settings)


async def _fetch(ctx: RequestContext, settings: TrustGuardSettings, services: Services) -> tuple[str, float]:
    asked = {
        "grant_type": "client_credentials",
        "client_id": services.variables["TRUSTGUARD_CLIENT_ID"],
        "client_secret": services.variables["TRUSTGUARD_CLIENT_SECRET"],
        "scope": "platform",
        "collector_id": settings.collector_id,
        "gateway_id": ctx.caller.gateway_id,
    }
    url = services.variables["TRUSTGUARD_BASE_URL"].rstrip("/") + "/v1/token"
    body = msgspec.json.encode(asked)
    answer = await services.http.send("POST", url, headers=(_JSON,), body=body, within=settings.within)
    if answer.status != 200:
        raise ServiceUnavailable(f"TrustGuard gave no token: status {answer.status}")
    try:
        token = msgspec.json.decode(answer.body, type=Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceUnavailable("TrustGuard answered with something that holds no token") from None
    if not token.access_token.isascii() or not token.access_token.isprintable():
        raise ServiceUnavailable("TrustGuard gave a token that no header can have")
    return token.access_token, token.expires_in


async def _evaluate(token: str, body: bytes, settings: TrustGuardSettings, services: Services) -> HttpAnswer:
    url = services.variables["TRUSTGUARD_BASE_URL"].rstrip("/") + "/v1/evaluate"
    headers = (_JSON, (b"authorization", b"Bearer " + token.encode()))
    return await services.http.send("POST", url, headers=headers, body=body, within=settings.within)


def _question(ctx: RequestContext, subject: Subject) -> dict[str, Any]:
    return {
        "payload": {"messages": [{"role": piece.role, "content": piece.text} for piece in subject.pieces]},
        "direction": "input" if subject.stage == "request" else "output",
        "protocol": "llm",
        "gateway_id": ctx.caller.gateway_id,
        "session_id": ctx.session_id,
        "consumer_id": ctx.caller.consumer_id,
        "attributes": {"content_type": "application/json", "model": {"name": ctx.body.model}},
    }


def _judged(said: Evaluation, subject: Subject, settings: TrustGuardSettings) -> Judged:
    details = {"status": said.status[:32], "trace_id": said.trace_id[:128], "found": list(_found(said.findings))}
    if said.status == "block":
        return Judged(deny=_blocked(settings, details))
    if said.status == "transform":
        texts = _transformed(said.transformed_payload, len(subject.pieces))
        return Judged(deny=_blocked(settings, details)) if texts is None else Judged(texts=texts, details=details)
    return Judged(details=details)


def _transformed(payload: Any, wanted: int) -> list[str] | None:
    """Return the texts of a transformed payload; None where they are not those that were sent."""
    messages = payload.get("messages") if isinstance(payload, dict) else None
    if not isinstance(messages, list) or len(messages) != wanted:
        return None
    texts = [message.get("content") if isinstance(message, dict) else None for message in messages]
    return [text for text in texts if isinstance(text, str)] if all(isinstance(text, str) for text in texts) else None


def _found(findings: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield what was found, without the evidence: that is what the caller said."""
    for finding in findings[:32]:
        source = finding.get("source") if isinstance(finding, dict) else None
        signal = finding.get("signal") if isinstance(finding, dict) else None
        if isinstance(source, dict):
            told = {"detector": str(source.get("detector_name") or source.get("plugin") or "")[:64]}
            if isinstance(signal, dict) and isinstance(signal.get("confidence"), int | float):
                told["confidence"] = signal["confidence"]
            yield told


def _blocked(settings: TrustGuardSettings, details: Any) -> Deny:
    return Deny(code="trustguard_blocked", message=settings.message, retry=False, details=details)


def _busy(answer: HttpAnswer) -> Deny:
    told = {name: value for name, value in answer.headers if name == b"retry-after" or name.startswith(b"x-ratelimit-")}
    wait = told.pop(b"retry-after", b"1")
    return Deny(
        code="trustguard_rate_limited",
        message="The guard that judges this has too much to do. Try again later.",
        status=429,
        retry_after=float(wait) if wait.isdigit() else 1.0,
        headers=tuple(told.items()),
    )
