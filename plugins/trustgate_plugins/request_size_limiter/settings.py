"""What a size limit can be told, and everything that follows from it and not from a request."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import PolicySettings

Positive = Annotated[int, Meta(gt=0)]
UNITS = {"bytes": 1, "kilobytes": 1024, "megabytes": 1024 * 1024}


class RequestSizeLimiterSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Refuses requests that are too large, in bytes, characters or tokens, before anybody is paid to read them."""

    title: ClassVar[str] = "Request size limiter"
    protocols = ("LLM", "MCP")
    rewrites: ClassVar[bool] = False
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request"})

    allowed_payload_size: Annotated[
        int, Meta(gt=0, description="The largest body, in `size_unit`. The listener's own limit applies as well.")
    ]
    size_unit: Annotated[
        Literal["bytes", "kilobytes", "megabytes"],
        Meta(description="What `allowed_payload_size` counts; a kilobyte is 1024 bytes."),
    ] = "megabytes"
    max_chars_per_request: Annotated[
        int, Meta(gt=0, description="The most characters (Unicode code points) that a body may have as it was sent.")
    ] = 100_000
    max_tokens_per_request: Annotated[
        Positive | None,
        Meta(description="The most tokens that a request may have to be read, as they are estimated; without it any."),
    ] = None
    require_content_length: Annotated[
        bool, Meta(description="Refuse a body whose length is not announced by `Content-Length`.")
    ] = False

    @cached_property
    def max_bytes(self) -> int:
        """The largest body in bytes."""
        return self.allowed_payload_size * UNITS[self.size_unit]
