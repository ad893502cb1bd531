"""Which of the caller's headers go on to the provider, and which of the provider's come back. Explicit, both ways.

Never forwarded: hop-by-hop headers, credentials, cookies, whatever names the caller's network, and all X-AG headers.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from trustgate.contract.target import Target
from trustgate.contract.upstream import Header

FORWARDED: Final = frozenset(
    {
        b"accept",
        b"accept-language",
        b"anthropic-beta",
        b"anthropic-version",
        b"content-type",
        b"idempotency-key",
        b"openai-beta",
        b"openai-organization",
        b"openai-project",
        b"tracestate",
        b"x-client-request-id",
        b"x-stainless-arch",
        b"x-stainless-async",
        b"x-stainless-helper-method",
        b"x-stainless-lang",
        b"x-stainless-os",
        b"x-stainless-package-version",
        b"x-stainless-retry-count",
        b"x-stainless-runtime",
        b"x-stainless-runtime-version",
    }
)
"""`user-agent` and `traceparent` go on too, rewritten: ours first, the caller's behind it; our span in its trace."""

ANY_DIALECT: Final = frozenset(
    {b"accept-language", b"content-type", b"idempotency-key", b"tracestate", b"x-client-request-id"}
)
"""What goes on to a provider of another dialect: nothing that speaks of the caller's own vendor or SDK."""

RETURNED: Final = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"mistral-correlation-id",
        b"openai-model",
        b"openai-organization",
        b"openai-processing-ms",
        b"openai-version",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-amzn-errortype",
        b"x-amzn-requestid",
        b"x-debug-trace-id",
        b"x-request-id",
        b"x-should-retry",
    }
)
RETURNED_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")


IDENTITY: Final = (b"accept-encoding", b"identity")
"""Answers are passed on as they are, and looked into: they have to be readable."""


class Outgoing:
    """Builds the headers of calls: what is the same for all of them is encoded once."""

    __slots__ = ("_agent",)

    def __init__(self, version: str) -> None:
        self._agent = b"trustgate/" + version.encode()

    def headers(
        self, caller: Iterable[Header], target: Target, *, agent: bytes | None, traceparent: bytes, translated: bool
    ) -> list[Header]:
        """Return the headers of one call. What the registry sets wins over what the caller sent, and over our own."""
        forwarded = ANY_DIALECT if translated else FORWARDED
        headers = [header for header in caller if header[0] in forwarded and header[0] not in target.names]
        headers += target.headers
        if target.defaults:
            sent = {name for name, _ in headers}
            headers += [header for header in target.defaults if header[0] not in sent]
        if b"user-agent" not in target.names:
            headers.append((b"user-agent", self._agent + b" " + agent if agent else self._agent))
        if b"accept-encoding" not in target.names:
            headers.append(IDENTITY)
        if b"traceparent" not in target.names:
            headers.append((b"traceparent", traceparent))
        return headers


def returned(headers: Iterable[Header]) -> list[Header]:
    """Return the provider's headers that the caller gets."""
    return [header for header in headers if header[0] in RETURNED or header[0].startswith(RETURNED_PREFIXES)]


def content_type(headers: Iterable[Header], value: bytes) -> list[Header]:
    """Return the headers with another content type."""
    return [(b"content-type", value), *(header for header in headers if header[0] != b"content-type")]


def lookup(headers: Iterable[Header]) -> Mapping[bytes, bytes]:
    """Return headers by name; of a repeated one the last."""
    return dict(headers)
