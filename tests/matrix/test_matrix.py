"""Every SDK in front of every provider: what the model says is what the caller hears, in the caller's own words."""

import pytest

from .callers.registry import CALLERS
from .cells import KINDS, SYSTEM, expected, question, tools_of
from .gateway import MODELS, Place
from .talk import TARGETS, Target
from .upstream import Providers


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("caller", TARGETS)
def test_a_caller_hears_what_the_target_says(
    place: Place, providers: Providers, caller: Target, target: Target, kind: str, *, streamed: bool
) -> None:
    with CALLERS[caller].open(place.door(target), tools_of(kind), system=SYSTEM) as talk:
        question(talk, kind)
        heard = talk.ask(streamed=streamed)
    assert heard == expected(kind, caller, target)
    (asked,) = providers.asked
    assert (asked.model, asked.system, asked.streamed) == (MODELS[target], SYSTEM, streamed)
    assert asked.tools == tuple(tool.name for tool in tools_of(kind))
