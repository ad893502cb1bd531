"""Mistral's own SDK in front of every provider: the gateway is an OpenAI to it."""

import dataclasses

import pytest

from .callers.mistral import Mistral
from .cells import KINDS, SYSTEM, expected, question, tools_of
from .gateway import Place
from .talk import TARGETS, Target, Usage
from .upstream import Providers

CELLS = [(kind, streamed) for kind in KINDS for streamed in (False, True) if not (streamed and tools_of(kind))]


@pytest.mark.parametrize(("kind", "streamed"), CELLS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_caller_hears_what_the_target_says(
    place: Place, providers: Providers, target: Target, kind: str, *, streamed: bool
) -> None:
    with Mistral().open(place.door(target), tools_of(kind), system=SYSTEM) as talk:
        question(talk, kind)
        heard = talk.ask(streamed=streamed)
    wanted = expected(kind, "openai", target)
    usage = Usage() if streamed else dataclasses.replace(wanted.usage, cached=0)
    assert heard == dataclasses.replace(wanted, usage=usage)
    assert providers.asked[-1].system == SYSTEM
