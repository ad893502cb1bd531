"""The providers' formats, as a provider speaks them: each hears a request as strictly, and answers as exactly."""

import dataclasses
from collections.abc import Callable, Sequence

from ..talk import Asked, Json, Said

Header = Callable[[str], str | None]
"""Gives a header of the request."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """One provider's format.

    `hear(path, body, header)` reads a request (raises BadRequest); `whole` and `events` say an answer, as a body or as
    the framed events of a stream; `fault(status, code, message)` is the body of an error.
    """

    paths: Sequence[str]
    hear: Callable[[str, Json, Header], Asked]
    whole: Callable[[Said, Asked], Json]
    events: Callable[[Said, Asked], list[bytes]]
    fault: Callable[[int, str, str], Json]
    content_type: str = "text/event-stream"
