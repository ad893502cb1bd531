"""The types that several answers share."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Masked = Annotated[str, Meta(pattern=r"^(\*\*\*.{0,4})?$", description="A secret, masked; absent when there is none.")]


def time_of(seconds: float) -> Time:
    """Return Unix seconds as they are told."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
