"""An agent of twenty turns through every pair: what a model makes of all results is what it makes without us."""

from collections.abc import Mapping

import pytest

from .callers.registry import CALLERS
from .gateway import Place
from .model import ROUNDS, STEP, take_step
from .talk import TARGETS, Door, Heard, Target
from .upstream import KEY, Providers


def run_agent(caller: Target, door: Door, *, streamed: bool) -> Heard:
    """Let the model ask for tools until it answers. Every other turn is of two calls at once."""
    with CALLERS[caller].open(door, (STEP,), system="You are an agent.") as talk:
        talk.user("agent, go")
        for turn in range(ROUNDS):
            heard = talk.ask(streamed=streamed)
            assert len(heard.calls) == 1 + turn % 2, heard
            talk.results([(call, take_step(call)) for call in heard.calls])
        return talk.ask(streamed=streamed)


@pytest.fixture(scope="module")
def direct(server: Providers) -> Mapping[Target, Heard]:
    """What each target's own SDK comes to, with no gateway."""
    server.think()
    doors = {target: Door(url=server.root, key=KEY, model="some-model") for target in TARGETS}
    return {target: run_agent(target, door, streamed=False) for target, door in doors.items()}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("caller", TARGETS)
def test_an_agent_comes_to_the_same_end(
    place: Place, direct: Mapping[Target, Heard], caller: Target, target: Target, streamed: bool
) -> None:
    expected = direct[target]
    assert expected.text.startswith("28 results: ")
    heard = run_agent(caller, place.door(target), streamed=streamed)
    assert (heard.text, heard.calls) == (expected.text, ())


@pytest.mark.parametrize("caller", TARGETS)
def test_signed_calls_survive_an_agent(place: Place, direct: Mapping[Target, Heard], caller: Target) -> None:
    """Gemini 3 refuses a history in which its signatures are missing, also from callers that have no place for them."""
    heard = run_agent(caller, place.door("gemini", "gemini-3-pro"), streamed=False)
    assert heard.text == direct["gemini"].text
