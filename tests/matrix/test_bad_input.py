"""What a caller gets wrong is a 400 of its own SDK's, whoever finds it: the gateway, or the provider behind it."""

from collections.abc import Iterator

import pytest

from .callers.problems import KINDS, RAISED, problem_of
from .callers.registry import CALLERS
from .gateway import Place
from .model import WEATHER
from .talk import TARGETS, Call, Picture, Target, Tool
from .upstream import Providers

both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
PAIRS = [(one, other) for one in TARGETS for other in TARGETS]
every_pair = pytest.mark.parametrize(("caller", "target"), PAIRS)


@pytest.fixture(autouse=True)
def _the_model_is_not_asked(providers: Providers) -> Iterator[None]:
    yield
    assert not providers.asked


@both
@every_pair
def test_a_result_without_its_call(
    place: Place, providers: Providers, caller: Target, target: Target, streaming: bool
) -> None:
    with CALLERS[caller].open(place.door(target), (WEATHER,)) as talk:
        talk.user("one tool")
        talk.results([(Call("get_weather", {}, "call_of_nobody"), "sunny")])
        with pytest.raises(RAISED) as raised:
            talk.ask(streamed=streaming)
    problem = problem_of(raised.value)
    assert (problem.kind, problem.status) == (KINDS[caller][400], 400)


@every_pair
def test_a_call_without_its_result(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    with CALLERS[caller].open(place.door(target), (WEATHER,)) as talk:
        talk.user("one tool")
        talk.ask(streamed=False)
        providers.asked.clear()
        talk.user("never mind")
        with pytest.raises(RAISED) as raised:
            talk.ask(streamed=False)
    problem = problem_of(raised.value)
    assert (problem.kind, problem.status) == (KINDS[caller][400], 400)


@every_pair
def test_a_schema_that_is_none(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    broken = Tool("broken", "Has properties that are no object.", {"type": "object", "properties": "none"})
    with CALLERS[caller].open(place.door(target), (broken,)) as talk:
        talk.user("one tool")
        with pytest.raises(RAISED) as raised:
            talk.ask(streamed=False)
    problem = problem_of(raised.value)
    assert (problem.kind, problem.status) == (KINDS[caller][400], 400)


@both
@pytest.mark.parametrize(("caller", "target"), [pair for pair in PAIRS if pair[0] != "bedrock"])
def test_a_picture_of_a_type_that_nobody_takes(
    place: Place, providers: Providers, caller: Target, target: Target, streaming: bool
) -> None:
    """Amazon's SDK has no word for such a picture."""
    with CALLERS[caller].open(place.door(target)) as talk:
        talk.user("look at this", picture=Picture("image/tiff", b"II*\0"))
        with pytest.raises(RAISED) as raised:
            talk.ask(streamed=streaming)
    problem = problem_of(raised.value)
    assert (problem.kind, problem.status) == (KINDS[caller][400], 400)


@both
@pytest.mark.parametrize("caller", TARGETS)
def test_a_model_that_the_consumer_may_not_ask_for(place: Place, caller: Target, streaming: bool) -> None:
    with CALLERS[caller].open(place.door("openai", "forbidden-model", consumer="picky")) as talk:
        talk.user("Hello!")
        with pytest.raises(RAISED) as raised:
            talk.ask(streamed=streaming)
    problem = problem_of(raised.value)
    assert (problem.kind, problem.status) == (KINDS[caller][403], 403)
    assert problem.code == (KINDS["bedrock"][403] if caller == "bedrock" else "model_not_allowed")
