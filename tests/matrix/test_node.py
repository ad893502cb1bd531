"""The npm SDKs and their stream helpers in front of every provider."""

import dataclasses
from typing import Any

import pytest

from . import npm
from .cells import expected, prompt_of, tools_of
from .gateway import Place
from .talk import TARGETS, Target
from .upstream import Providers

CALLERS: tuple[Target, ...] = ("openai", "openai_responses", "anthropic")
Cell = tuple[Target, Target, str]
KINDS = ("plain", "tool", "parallel")


@pytest.fixture(scope="module")
def heard(place: Place, server: Providers, packages: None) -> dict[Cell, Any]:
    """What every cell has heard, asked by one process: node takes its time to start."""
    server.think()
    cells = [(caller, target, kind) for caller in CALLERS for target in TARGETS for kind in KINDS]
    return dict(zip(cells, npm.run("callers.mjs", [_ask(place, *cell) for cell in cells]), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("caller", CALLERS)
def test_the_stream_helpers(heard: dict[Cell, Any], caller: Target, target: Target, kind: str) -> None:
    assert heard[caller, target, kind] == _expected(caller, target, kind)


def _ask(place: Place, caller: Target, target: Target, kind: str) -> Any:
    tools = [dataclasses.asdict(tool) for tool in tools_of(kind)]
    door = dataclasses.asdict(place.door(target))
    return {"caller": caller, "door": door, "prompt": prompt_of(kind), "tools": tools}


def _expected(caller: Target, target: Target, kind: str) -> Any:
    wanted = expected(kind, caller, target)
    return {
        "text": wanted.text,
        "calls": [[call.name, call.arguments] for call in wanted.calls],
        "finish": wanted.finish,
        "usage": [wanted.usage.prompt, wanted.usage.completion],
    }


def test_without_npm_the_tests_fail_and_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="and npm: install them"):
        npm.install()
