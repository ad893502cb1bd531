"""The SDKs in front of the mocks, with nothing between: what mocks say is what strict SDKs take for the provider."""

import pytest

from .callers.registry import CALLERS
from .cells import KINDS, SYSTEM, expected, question, tools_of
from .talk import TARGETS, Door, Target
from .upstream import KEY, Providers


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_an_sdk_understands_the_mock_of_its_provider(
    providers: Providers, target: Target, kind: str, streamed: bool
) -> None:
    door = Door(url=providers.root, key=KEY, model="some-model")
    with CALLERS[target].open(door, tools_of(kind), system=SYSTEM) as talk:
        question(talk, kind)
        heard = talk.ask(streamed=streamed)
    assert heard == expected(kind, target, target)
    (asked,) = providers.asked
    assert (asked.system, asked.streamed) == (SYSTEM, streamed)
    assert asked.tools == tuple(tool.name for tool in tools_of(kind))
