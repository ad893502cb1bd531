"""What a webhook can be told, and everything that follows from it and not from a request."""

import re
from base64 import b64decode
from binascii import Error
from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import Meta, field

from trustgate import GuardSettings, Secret, check_url

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
PREFIX = "whsec_"


class WebhookGuardSettings(GuardSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Any HTTP service decides: it is sent a signed JSON request and answers allow, deny or rewrite."""

    title: ClassVar[str] = "Webhook guard"
    group = "Guardrails"

    url: Annotated[str, Meta(max_length=2048, description="Where the service is asked, by POST.")]
    secret: Annotated[
        Secret,
        Meta(
            min_length=1,
            max_length=1024,
            description="What requests are signed with: `whsec_` and base64 as Standard Webhooks has it, or any text.",
        ),
    ]
    headers: Annotated[
        dict[str, Secret], Meta(max_length=16, description="More headers of the request, such as a key of the service.")
    ] = field(default_factory=dict)
    window: Annotated[
        int,
        Meta(ge=0, le=4000, description="How many characters at the end of a live stream it can still rewrite."),
    ] = 100
    message: Annotated[
        str, Meta(max_length=1000, description="What a refused caller is told where the service does not say.")
    ] = "This request was refused by a policy."

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url("url", self.url)
        if self.secret.startswith(PREFIX):
            try:
                b64decode(self.secret.removeprefix(PREFIX), validate=True)
            except Error:
                raise ValueError("`secret` begins with whsec_, but base64 does not follow") from None
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"`headers` has {name!r}, which is not the name of a header")
            if not value.isascii() or any(mark in value for mark in "\r\n\0"):
                raise ValueError(f"`headers` has a value for {name} that no header can have")

    def hold_back(self) -> int:
        """What can still be rewritten."""
        return self.window

    @cached_property
    def key(self) -> bytes:
        """The secret as bytes."""
        if self.secret.startswith(PREFIX):
            return b64decode(self.secret.removeprefix(PREFIX))
        return self.secret.encode()

    @cached_property
    def sent(self) -> tuple[tuple[bytes, bytes], ...]:
        """The chosen headers as they are sent."""
        return tuple((name.lower().encode(), value.encode()) for name, value in self.headers.items())
