"""What every cell of the matrix is asked, and what it has to hear."""

import dataclasses
from typing import Final

from .callers.registry import FINISHES
from .dialects.cohere import PLAN
from .model import CITY, TEXT, TIME, WEATHER, picture_seen
from .talk import Call, Finish, Heard, Picture, Said, Talk, Target, Tool

PNG: Final = Picture(
    "image/png",
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c63f8cfc0f01f00050001ff0a2db4000000000049454e44ae426082"
    ),
)
SYSTEM: Final = "You are terse."
TOOLS: Final = (WEATHER, TIME)
KINDS: Final = ("plain", "tool", "parallel", "image", "length")


def tools_of(kind: str) -> tuple[Tool, ...]:
    """Return the tools that a kind of question offers."""
    return TOOLS if kind in ("tool", "parallel") else ()


def prompt_of(kind: str) -> str:
    """Return the words of a kind of question."""
    prompts = {"tool": "one tool", "parallel": "two tools", "image": "look at this", "length": "too long"}
    return prompts.get(kind, "Hello!")


def question(talk: Talk, kind: str) -> None:
    """Ask a kind of question."""
    talk.user(prompt_of(kind), picture=PNG if kind == "image" else None)


def expected(kind: str, caller: Target, target: Target) -> Heard:
    """Return what a caller has to hear of a target.

    Cohere's plan is text elsewhere, and its cached tokens are not told: they may be more than were billed.
    """
    foreign = target == "cohere" != caller
    usage = dataclasses.replace(Said().usage, cached=0) if foreign else Said().usage
    plan = PLAN if foreign and kind in ("tool", "parallel") else ""
    text, calls, finish = _story(kind)
    return Heard(text=text or plan, calls=calls, finish=FINISHES[caller][finish], usage=usage)


def _story(kind: str) -> tuple[str, tuple[Call, ...], Finish]:
    weather, time = Call(WEATHER.name, CITY), Call(TIME.name, {"city": "Rome"})
    match kind:
        case "tool":
            return "", (weather,), "tool_calls"
        case "parallel":
            return "", (weather, time), "tool_calls"
        case "image":
            return picture_seen(PNG), (), "stop"
        case "length":
            return "I was just about to", (), "length"
        case _:
            return TEXT, (), "stop"
