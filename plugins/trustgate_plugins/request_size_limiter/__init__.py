"""Refuses bodies that are too large. Bytes are known; characters are counted only where they could be too many, and
tokens are estimated only where somebody asked for that."""

from trustgate import Deny, RequestContext, Services, Verdict, hookimpl
from trustgate_plugins.request_size_limiter.settings import RequestSizeLimiterSettings

CONTINUATION = bytes(range(0x80, 0xC0))


@hookimpl
def settings_type() -> type[RequestSizeLimiterSettings]:
    return RequestSizeLimiterSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: RequestSizeLimiterSettings, services: Services) -> Verdict:
    if settings.require_content_length and ctx.operation.reads_body and b"content-length" not in ctx.headers:
        return Deny(code="length_required", message="This gateway needs a Content-Length header.", status=411)
    raw = ctx.body.raw
    size = len(raw)
    if size > settings.max_bytes:
        return _deny(b"bytes", size, settings.max_bytes)
    # no text has more characters than bytes
    if size > settings.max_chars_per_request and (count := count_characters(raw)) > settings.max_chars_per_request:
        return _deny(b"chars", count, settings.max_chars_per_request)
    if settings.max_tokens_per_request is not None and ctx.operation.body == "json" and raw:
        tokens = services.expect(ctx.body.json(), 0).input
        if tokens > settings.max_tokens_per_request:
            return _deny(b"tokens", tokens, settings.max_tokens_per_request)
    return None


def count_characters(raw: bytes | bytearray) -> int:
    """Count the code points of UTF-8 text: every byte but those that go on with one."""
    return len(raw) if raw.isascii() else len(raw.translate(None, CONTINUATION))


def _deny(unit: bytes, received: int, limit: int) -> Deny:
    name = {b"bytes": "bytes", b"chars": "characters", b"tokens": "tokens"}[unit]
    about = "about " if unit == b"tokens" else ""
    return Deny(
        code="request_too_large",
        message=f"The request has {about}{received} {name}; the limit is {limit}.",
        status=413,
        headers=((b"x-request-size-" + unit, b"%d" % received), (b"x-size-limit-" + unit, b"%d" % limit)),
        details={"received": received, "limit": limit, "unit": name},
    )
