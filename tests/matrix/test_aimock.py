"""The matrix again, in front of a mock that others have written."""

from collections.abc import Iterator

import pytest

from .aimock import CALLS, INVALID, TEXT, running_aimock
from .callers.registry import CALLERS, FINISHES
from .cells import question, tools_of
from .gateway import Place, register
from .talk import TARGETS, Heard, Target, Usage

PAIRS = [(one, other) for one in TARGETS for other in TARGETS if one != other or one not in INVALID]
PLAN = "I will use the requested tool."
"""What it has Cohere plan, in streams alone."""
USAGE = Usage(prompt=41, completion=13)


@pytest.fixture(scope="module")
def beside(place: Place, packages: None) -> Iterator[Place]:
    """The gateway, with a consumer in front of aimock for each target."""
    with running_aimock() as url:
        for target in TARGETS:
            base_url = f"{url}/v1" if target.startswith("openai") else url
            consumer = register(place.gateway, target, base_url, f"aimock-{target.replace('_', '-')}")
            place.gateway.attach(consumer, "auths", place.key_id)
        yield place


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["plain", "tool", "parallel"])
@pytest.mark.parametrize(("caller", "target"), PAIRS)
def test_a_caller_hears_what_aimock_says(
    beside: Place, caller: Target, target: Target, kind: str, streamed: bool
) -> None:
    door = beside.door(target, consumer=f"aimock-{target.replace('_', '-')}")
    with CALLERS[caller].open(door, tools_of(kind)) as talk:
        question(talk, kind)
        heard = talk.ask(streamed=streamed)
    assert heard == _expected(caller, target, kind, streamed=streamed)


def _expected(caller: Target, target: Target, kind: str, *, streamed: bool) -> Heard:
    if kind == "plain":
        return Heard(text=TEXT, calls=(), finish=FINISHES[caller]["stop"], usage=USAGE)
    calls = CALLS if kind == "parallel" else CALLS[:1]
    plan = PLAN if streamed and target == "cohere" != caller else ""
    return Heard(text=plan, calls=calls, finish=FINISHES[caller]["tool_calls"], usage=USAGE)
