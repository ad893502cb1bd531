"""Which policies run for whom, in which order, side by side with whom, and with what they asked for."""

import inspect
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import services
from trustgate import PolicyRef, PolicySettings, RequestContext, Services
from trustgate.config.records import Policy
from trustgate.contract import hookspecs
from trustgate.contract.context import Stage
from trustgate.enforcement.chain import compile_chains, effective
from trustgate.enforcement.plugins import STAGES, Plugins

from .kit import Deciding, Desk, Lenient, Plain, compiled, plugin, policy, rule, says


def ids(policies: Sequence[Policy], consumer_id: str = "c1") -> list[str]:
    return [found.id for found in effective(policies, consumer_id)]


# Which policies are in force.


def test_in_order_of_priority_then_slug_then_id() -> None:
    assert ids(
        [
            policy("p9", "a", priority=1),
            policy("p3", "b", priority=0),
            policy("p2", "a", priority=0),
            policy("p1", "b", priority=0),
            policy("p0", "z", priority=-1),
        ]
    ) == ["p0", "p2", "p1", "p3", "p9"]


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from("abc")), max_size=12), st.randoms())
@settings(deadline=None, max_examples=60)
def test_the_order_in_which_policies_are_stored_means_nothing(drawn: list[tuple[int, str]], chance: Any) -> None:
    policies = [policy(f"p{at}", slug, priority=priority) for at, (priority, slug) in enumerate(drawn)]
    shuffled = list(policies)
    chance.shuffle(shuffled)
    assert ids(shuffled) == ids(policies)


GLOBAL: dict[str, Any] = {"is_global": True, "consumer_ids": ()}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([policy("own"), policy("all", **GLOBAL)], ["own"]),
        ([policy("own", "other"), policy("all", **GLOBAL)], ["all", "own"]),
        ([policy("own", enabled=False), policy("all", **GLOBAL)], ["all"]),
        ([policy("all", is_global=True), policy("more", **GLOBAL)], ["all"]),
        ([policy("one"), policy("two"), policy("all", **GLOBAL)], ["one", "two"]),
        ([policy("all", **GLOBAL), policy("both", **GLOBAL)], ["all", "both"]),
        ([policy("own", consumer_ids=("c2",)), policy("all", **GLOBAL)], ["all"]),
        ([policy("own", enabled=False)], []),
        ([policy("all", **GLOBAL, enabled=False)], []),
        ([policy("free", consumer_ids=())], []),
        ([], []),
    ],
)
def test_own_policies_override_global_ones_of_the_same_slug(policies: list[Policy], expected: list[str]) -> None:
    assert ids(policies) == expected


# Batches.


@pytest.mark.parametrize(
    ("policies", "batches"),
    [
        ([(0, True), (0, True), (0, True)], [["p0", "p1", "p2"]]),
        ([(0, True), (1, True)], [["p0"], ["p1"]]),
        ([(0, False), (0, False)], [["p0"], ["p1"]]),
        ([(0, True), (0, False), (0, True)], [["p0"], ["p1"], ["p2"]]),
        ([(0, True), (0, True), (0, False), (0, True), (0, True)], [["p0", "p1"], ["p2"], ["p3", "p4"]]),
        ([(1, True), (0, True), (1, True), (0, True)], [["p1", "p3"], ["p0", "p2"]]),
        ([(0, False), (1, True), (1, True), (2, False)], [["p0"], ["p1", "p2"], ["p3"]]),
        ([], []),
    ],
)
def test_consecutive_parallel_policies_of_equal_priority_share_a_batch(
    policies: list[tuple[int, bool]], batches: list[list[str]]
) -> None:
    made = [policy(f"p{at}", priority=rank, parallel=parallel) for at, (rank, parallel) in enumerate(policies)]
    chains = compiled(made, [plugin(settings=Deciding, pre_request=says(None))])
    assert [[link.policy.id for link in batch] for batch in chains.pre_request] == batches


def test_one_that_may_rewrite_is_the_last_of_its_batch() -> None:
    plugins = [plugin("decides", settings=Deciding, pre_request=says(None)), plugin("rewrites", pre_request=says(None))]
    plugins.append(plugin("says", settings=Deciding, pre_request=says(None)))
    slugs = ["decides", "decides", "rewrites", "rewrites", "says"]
    chains = compiled([policy(f"p{at}", slug) for at, slug in enumerate(slugs)], plugins)
    assert [[link.policy.id for link in batch] for batch in chains.pre_request] == [["p0", "p1", "p2"], ["p3"], ["p4"]]


# What a link is made of.


def hooks(*stages: Stage) -> dict[str, Any]:
    return {stage: says(None) for stage in stages}


@pytest.mark.parametrize(
    ("offered", "chosen", "running"),
    [
        (("pre_request",), (), ["pre_request"]),
        (STAGES, (), [*STAGES]),
        (STAGES, ("on_chunk", "pre_request"), ["pre_request", "on_chunk"]),
        (("pre_request", "post_response"), ("post_response",), ["post_response"]),
    ],
)
def test_stages(offered: tuple[Stage, ...], chosen: tuple[Stage, ...], running: list[str]) -> None:
    chains = compiled([policy(stages=chosen)], [plugin(**hooks(*offered))])
    found = {
        "pre_request": len(chains.pre_request),
        "pre_call": len(chains.pre_call),
        "pre_response": len(chains.pre_response),
        "on_chunk": len(chains.on_chunk),
        "post_response": len(chains.post_response),
    }
    assert [stage for stage, number in found.items() if number] == running


@pytest.mark.parametrize(
    ("kind", "fields", "on_error"),
    [
        (Plain, {}, "deny"),
        (Lenient, {}, "allow"),
        (Plain, {"on_error": "allow"}, "allow"),
        (Lenient, {"on_error": "deny"}, "deny"),
    ],
)
def test_the_policy_says_what_a_failure_means_or_else_its_plugin(
    kind: type[PolicySettings], fields: dict[str, Any], on_error: str
) -> None:
    chains = compiled([policy(**fields)], [plugin(settings=kind, pre_request=says(None))])
    assert chains.pre_request[0][0].on_error == on_error


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 2.0), (1, 0.001), (1500, 1.5)])
def test_the_policy_says_how_long_it_may_take_or_else_the_plane(milliseconds: int, seconds: float) -> None:
    chains = compiled([policy(timeout_ms=milliseconds)], [plugin(pre_request=says(None))], timeout=2.0)
    assert chains.pre_request[0][0].timeout == seconds


class Whole(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Judges whole answers and live text."""

    buffers_stream = True
    characters: int = 7

    def hold_back(self) -> int:
        return self.characters


def test_what_a_plugin_says_of_streams() -> None:
    made = plugin(settings=Whole, **hooks(*STAGES))
    chains = compiled([policy(settings={"characters": 12})], [made])
    assert chains.buffers_stream
    assert [link.hold_back for link in chains.on_chunk] == [12]
    assert [link.buffers_stream for batch in chains.pre_response for link in batch] == [True]
    assert not any(link.buffers_stream or link.hold_back for link in chains.pre_request[0])
    assert not compiled([policy(stages=("on_chunk",))], [made]).buffers_stream
    assert not compiled([policy()], [plugin(pre_response=says(None))]).buffers_stream


class Awkward(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cannot say how much it must hold back."""

    def hold_back(self) -> int:
        raise RuntimeError("a plugin's own mistake")


@pytest.mark.anyio
async def test_a_plugin_that_fails_while_it_is_compiled_refuses_and_breaks_nothing_else() -> None:
    calls: list[object] = []
    desk = Desk(rule(says(None, calls)), rule(says(None), "on_chunk", settings=Awkward, priority=1))
    ruling = await desk.pre_request()
    assert len(calls) == 1
    assert ruling.stop is not None
    assert desk.decisions == [("p0", "allowed"), ("p1", "failed_closed")]


def test_the_short_name_of_a_plugin_is_its_name() -> None:
    chains = compiled([policy(slug="ratelimit")], [plugin("rate_limiter", pre_request=says(None))])
    assert [link.policy.slug for link in chains.pre_request[0]] == ["ratelimit"]


# Arguments: any subset, by name, of what the hook specification lists.


def arguments(stage: str) -> list[str]:
    return list(inspect.signature(getattr(hookspecs, stage)).parameters)


def subsets() -> list[Any]:
    found = []
    for stage in STAGES:
        names = arguments(stage)
        for size in range(len(names) + 1):
            found += [pytest.param(stage, some, id=f"{stage}-{'-'.join(some)}") for some in combinations(names, size)]
    return found


def written_hook(chosen: Sequence[str], seen: list[dict[str, Any]], *, plain: bool) -> Any:
    """Return a hook that takes exactly these arguments and keeps what it got."""
    space: dict[str, Any] = {"seen": seen}
    source = f"{'' if plain else 'async '}def hook({', '.join(chosen)}):\n    seen.append(dict(locals()))\n"
    exec(source, space)
    return space["hook"]


@pytest.mark.anyio
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize(("stage", "chosen"), subsets())
async def test_a_hook_takes_any_of_the_arguments(stage: str, chosen: Sequence[str], plain: bool) -> None:
    seen: list[dict[str, Any]] = []
    desk = Desk(rule(written_hook(chosen, seen, plain=plain), stage, settings=Whole, mode="observe"))
    await getattr(desk, stage)()
    assert [finding.error_type for finding in desk.findings] == [""]
    assert [list(given) for given in seen] == [list(chosen)]
    kinds = {"ctx": RequestContext, "settings": Whole, "policy": PolicyRef, "services": Services}
    for name, value in seen[0].items():
        assert type(value) is kinds.get(name, type(value))
    if "policy" in chosen:
        assert (seen[0]["policy"].id, seen[0]["policy"].mode) == ("p0", "observe")


@pytest.mark.anyio
async def test_an_argument_with_a_default_that_nobody_gives_keeps_it() -> None:
    seen: list[object] = []

    async def hook(ctx: RequestContext, most: int = 5) -> None:
        seen.append(most)

    desk = Desk(rule(hook))
    await desk.pre_request()
    assert (seen, desk.decisions) == ([5], [("p0", "allowed")])


def test_plugins_are_found_by_slug_and_listed_by_it() -> None:
    plugins = Plugins([plugin("b", pre_request=says(None)), plugin("a", pre_request=says(None))])
    assert [found.slug for found in plugins] == ["a", "b"]
    assert plugins.get("c") is None


def test_nothing_configured_costs_nothing() -> None:
    chains = compile_chains([], Plugins([]), services(), timeout=1)
    assert (chains.pre_request, chains.pre_response, chains.on_chunk, chains.post_response) == ((), (), (), ())
