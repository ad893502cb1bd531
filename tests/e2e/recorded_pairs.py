"""What providers were really asked and really said, read from the recordings.

Python's json reads the bodies and botocore AWS's event streams: none of the gateway's own code does.
"""

import dataclasses
import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from botocore.eventstream import EventStreamBuffer

from .program import Json
from .test_recorded_traffic import DATA, raw

EVENT_STREAM = "application/vnd.amazon.eventstream"
NO_KIND = (None, "**REDACTED**")
"""Content types that were not recorded."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """One request and its answer; `stream` says whether the answer came live."""

    id: str
    file: Path
    provider: str
    api: str
    status: int
    stream: bool
    model: str
    accepted: bool | None
    """Whether the dialect's own SDK takes the answer at its strictest, None where nobody has tried."""

    @cached_property
    def pair(self) -> Json:
        """The recording as it is stored."""
        found: Json = json.loads(self.file.read_bytes())
        return found

    @property
    def response(self) -> Json:
        """The answer with its headers."""
        found: Json = self.pair["response"]
        return found

    @property
    def path(self) -> str:
        """The path that was asked."""
        return unquote(self.pair["request"]["path"])

    @cached_property
    def body(self) -> bytes:
        """The answer's bytes."""
        return as_events(raw(self.response)) if self.is_array else raw(self.response)

    @property
    def is_array(self) -> bool:
        """Whether this is a stream of Gemini's that was not asked for as server-sent events."""
        return self.api == "streamGenerateContent" and raw(self.response).lstrip()[:1] == b"["

    @property
    def live(self) -> bool:
        """Whether it is replayed as a stream."""
        return self.status == 200 and (self.stream or self.is_array)

    @property
    def kind(self) -> str:
        """The content type of the answer, the usual one where it was not recorded."""
        recorded = {name.lower(): value for name, value in self.response["headers"].items()}.get("content-type")
        if recorded not in NO_KIND and not self.is_array:
            return str(recorded)
        if not self.live:
            return "application/json"
        return EVENT_STREAM if "body_b64" in self.response else "text/event-stream"

    @cached_property
    def value(self) -> Json:
        """The answer as an object."""
        found: Json = json.loads(self.body)
        return found

    @cached_property
    def events(self) -> list[Json]:
        """The events of a stream; each of AWS's stands under its name, as in its documents."""
        return aws_events(self.body) if self.kind == EVENT_STREAM else sse_events(self.body)


def as_events(array: bytes) -> bytes:
    """Return an array of Gemini's as it comes behind `?alt=sse`, which the gateway always asks for.

    https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
    """
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in json.loads(array))


def sse_events(body: bytes) -> list[Json]:
    """Return the JSON of server-sent events, whose data lies on one line in all that was recorded."""
    lines = [line.removeprefix("data:").strip() for line in body.decode().lstrip().splitlines() if "data:" in line[:5]]
    return [json.loads(line) for line in lines if line not in ("", "[DONE]")]


def aws_events(body: bytes) -> list[Json]:
    """Return the JSON of an AWS event stream under the events' names."""
    buffer: Any = EventStreamBuffer()
    buffer.add_data(body)
    return [{message.headers[":event-type"]: json.loads(message.payload)} for message in buffer]


@lru_cache
def index() -> tuple[Recording, ...]:
    """Return every recording, none where they are absent."""
    listed = DATA / "index.jsonl"
    if not listed.is_file():
        return ()
    return tuple(_recording(json.loads(line)) for line in listed.read_text("utf-8").splitlines())


def _recording(row: Json) -> Recording:
    return Recording(
        id=row["id"],
        file=DATA / row["file"],
        provider=row["provider"],
        api=row["api"],
        status=row["status"],
        stream=row["stream"],
        model=row["model"] or "",
        accepted=row["newest_sdk_strict_ok"],
    )


def recordings(provider: str, *apis: str, ends: tuple[str, ...]) -> tuple[Recording, ...]:
    """Return the recordings of an API whose paths end like this: the others went to other operations."""
    found = (each for each in index() if each.provider == provider and each.api in apis)
    return tuple(each for each in found if each.path.endswith(ends))
