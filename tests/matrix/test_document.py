"""The page on translation says what the gateway does, and nothing is lost without being told."""

import httpx
import pytest

from .callers import PLAIN
from .document import PATH, render
from .gateway import Place
from .losses import Probe
from .parameters import PARAMETERS
from .raw import merged, post
from .talk import TARGETS, Json, Target
from .upstream import Providers

HARMLESS = {
    ("tool_choice: none", "bedrock"): "Converse has no such choice: the tools are not offered",
    ("tool_choice: NONE", "bedrock"): "as above",
    ("toolConfig: NONE", "bedrock"): "as above",
    **{("include: reasoning", target): "it is about the answer, which has it" for target in TARGETS},
}
"""What may leave no trace, and why."""


def test_the_page_is_current(place: Place, providers: Providers) -> None:
    assert PATH.read_text("utf-8") == render(place, providers), "write it: python -m tests.matrix.document"


@pytest.mark.parametrize("caller", TARGETS)
def test_nothing_is_lost_without_being_told(place: Place, providers: Providers, caller: Target) -> None:
    with Probe(place, providers) as probe:
        silent = [
            (name, target)
            for name, fields in PARAMETERS[caller].items()
            for target in TARGETS
            if target != caller and (name, target) not in HARMLESS
            if probe.outcome(caller, target, fields).fate == "silent"
        ]
    assert not silent


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("caller", TARGETS)
def test_all_parameters_at_once(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    """A request with everything in it loses what each parameter loses alone: nothing hides behind another."""
    if caller == target:
        _nothing_is_dropped(place, providers, caller)
        return
    fields: Json = {}
    alone: set[str] = set()
    with Probe(place, providers) as probe:
        for name, each in PARAMETERS[caller].items():
            outcome = probe.outcome(caller, target, each)
            if outcome.fate != "refused" and ":" not in name and "messages" not in each:
                fields = merged(fields, each)
                alone |= set(outcome.told.split(", ")) if outcome.told else set()
        together = probe.outcome(caller, target, fields)
    assert together.fate in ("dropped", "carried"), together
    assert alone <= set(together.told.split(", "))


def _nothing_is_dropped(place: Place, providers: Providers, caller: Target) -> None:
    providers.listen()
    with httpx.Client(timeout=15, trust_env=False, verify=PLAIN) as client:
        for fields in PARAMETERS[caller].values():
            answer = post(client, caller, place.door(caller), fields)
            assert (answer.status_code, answer.headers.get("x-ag-dropped-params")) == (200, None)
