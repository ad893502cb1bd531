"""The page on translation says what the gateway does, and nothing is lost without being told."""

import httpx
import pytest

from .callers import PLAIN
from .document import PATH, render
from .gateway import Place
from .losses import Probe, outcomes
from .parameters import PARAMETERS
from .raw import merged, post
from .talk import TARGETS, Json, Target
from .upstream import Providers


def test_the_page_is_current(place: Place, providers: Providers) -> None:
    assert PATH.read_text("utf-8") == render(place, providers), "write it: python -m tests.matrix.document"


@pytest.mark.parametrize("caller", TARGETS)
def test_nothing_is_lost_without_being_told(place: Place, providers: Providers, caller: Target) -> None:
    with Probe(place, providers) as probe:
        found = outcomes(probe, caller)
    assert not [(name, target) for name, each in found.items() for target in each if each[target].fate == "silent"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("caller", TARGETS)
def test_all_parameters_at_once(place: Place, providers: Providers, caller: Target, target: Target) -> None:
    """A request with everything in it loses what each parameter loses alone: nothing hides behind another."""
    if caller == target:
        _nothing_is_dropped(place, providers, caller)
        return
    with Probe(place, providers) as probe:
        alone = {name: probe.outcome(caller, target, fields) for name, fields in PARAMETERS[caller].items()}
        fields = _together({name for name, outcome in alone.items() if outcome.fate != "refused"}, caller)
        told = probe.outcome(caller, target, fields).told.split(", ")
    there = [alone[name] for name, each in PARAMETERS[caller].items() if merged(fields, each) == fields]
    lost = {path for outcome in there if outcome.fate == "dropped" for path in outcome.told.split(", ")}
    assert lost - {"response_format"} <= set(told)  # which is lost alone, and carried with the schema that is here too


def _together(names: set[str], caller: Target) -> Json:
    """All of these in one request. What two of them set, the last of them sets."""
    fields: Json = {}
    for name, each in PARAMETERS[caller].items():
        if name in names and ":" not in name and "messages" not in each:
            fields = merged(fields, each)
    return fields


def _nothing_is_dropped(place: Place, providers: Providers, caller: Target) -> None:
    providers.listen()
    with httpx.Client(timeout=15, trust_env=False, verify=PLAIN) as client:
        for fields in PARAMETERS[caller].values():
            answer = post(client, caller, place.door(caller), fields)
            assert (answer.status_code, answer.headers.get("x-ag-dropped-params")) == (200, None)
