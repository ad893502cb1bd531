"""What is said between a caller and a model, in nobody's dialect: what tests compare."""

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Json = dict[str, Any]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Target = Literal["openai", "openai_responses", "anthropic", "gemini", "cohere", "bedrock"]
TARGETS: tuple[Target, ...] = ("openai", "openai_responses", "anthropic", "gemini", "cohere", "bedrock")


@dataclasses.dataclass(frozen=True)
class Call:
    """A model's wish to have a tool run. The id is the dialect's own, so two calls are the same without it."""

    name: str
    arguments: Json
    id: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens; `prompt` includes the cached ones."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


@dataclasses.dataclass(frozen=True)
class Said:
    """What a model says. `native` is the provider's own word for why it ended, where the usual one will not do."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish = "stop"
    usage: Usage = Usage(prompt=41, cached=16, completion=13)
    native: str = ""


@dataclasses.dataclass(frozen=True)
class Heard:
    """What an SDK has made of an answer; `finish` is the caller's dialect's own word."""

    text: str
    calls: tuple[Call, ...]
    finish: str
    usage: Usage


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image as a model receives it."""

    media_type: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request as a model hears it: the last words of the user, and of the whole history calls, results, pictures."""

    model: str
    streamed: bool
    prompt: str
    system: str
    pictures: tuple[Picture, ...]
    calls: tuple[Call, ...]
    results: tuple[str, ...]
    rounds: int
    tools: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Tool:
    """A tool that a caller offers; `schema` is JSON Schema."""

    name: str
    description: str
    schema: Json


@dataclasses.dataclass(frozen=True)
class Door:
    """Where a caller knocks: an address without what its SDK appends, a key, and the model it asks for."""

    url: str
    key: str
    model: str


class Talk(Protocol):
    """A conversation that an SDK holds, in its own objects: what the model says goes back to it as it came."""

    def user(self, text: str, *, picture: Picture | None = None) -> None:
        """Say something, with a picture perhaps."""

    def results(self, answers: Sequence[tuple[Call, str]]) -> None:
        """Answer the calls of the last turn."""

    def ask(self, *, streamed: bool) -> Heard:
        """Have the model speak. What the SDK raises is raised."""


class Caller(Protocol):
    """An SDK."""

    def open(self, door: Door, tools: Sequence[Tool] = (), *, system: str = "") -> AbstractContextManager[Talk]:
        """Return a client's conversation, which closes the client in the end."""
