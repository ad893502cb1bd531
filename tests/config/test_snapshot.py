"""A snapshot after any number of changes is the one that would have been built whole, and shares all the rest."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.config.records import AnyRecord
from trustgate.config.snapshot import Key, Snapshot, build

from .kit import (
    World,
    auth,
    batch,
    between,
    consumer,
    gateway,
    gateway_of,
    gone,
    policy,
    put,
    registry,
    view,
    world,
    worlds,
)

G1 = (gateway("g1"), auth("a1"), auth("a2"), consumer("c1", auth_ids=("a1",)), registry("r1"), policy("p1"))
G2 = (gateway("g2"), auth("b1", "g2"), consumer("d1", "g2", auth_ids=("b1",)), registry("s1", "g2"))


def built(records: World, revision: int = 1) -> Snapshot:
    return build(revision, records.values())


def changed_gateways(before: World, after: World) -> set[str]:
    return {change.gateway_id for change in between(before, after)}


@given(st.lists(worlds(), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=120)
def test_applied_one_after_the_other_is_built_whole(states: Sequence[World], chance: Random) -> None:
    snapshot, before = Snapshot(), world()
    for revision, state in enumerate(states, start=1):
        items = between(before, state)
        chance.shuffle(items)
        items.sort(key=lambda change: change.entity != "gateway")  # the order that the port promises
        snapshot, before = snapshot.apply(batch(revision, *items)), state
        assert view(snapshot) == view(built(state))
        assert snapshot.revision == revision


@given(worlds(), worlds())
@settings(deadline=None, max_examples=80)
def test_an_untouched_tenant_is_the_same_object(before: World, after: World) -> None:
    old = built(before)
    new = old.apply(batch(2, *between(before, after)))
    touched = changed_gateways(before, after)
    for id_ in old.tenants.keys() & new.tenants.keys():
        assert (new.tenants[id_] is old.tenants[id_]) == (id_ not in touched)


@given(worlds(), worlds())
@settings(deadline=None, max_examples=80)
def test_a_snapshot_stays_as_it_is(before: World, after: World) -> None:
    old = built(before)
    old.apply(batch(2, *between(before, after)))
    assert old == built(before)


@given(st.lists(worlds(), min_size=2, max_size=4))
@settings(deadline=None, max_examples=80)
def test_nothing_of_one_tenant_is_found_in_another(states: Sequence[World]) -> None:
    snapshot = built(states[0])
    for before, after in pairwise(states):
        snapshot = snapshot.apply(batch(2, *between(before, after)))
        for id_, tenant in snapshot.tenants.items():
            children: list[AnyRecord] = [tenant.gateway]
            for index in (tenant.registries, tenant.consumers, tenant.auths, tenant.policies):
                children += index.values()
            assert {gateway_of(child) for child in children} == {id_}
            assert set(tenant.by_slug.values()) == tenant.consumers.keys()
        for key in snapshot.keys.values():
            assert key.auth_id in snapshot.tenants[key.gateway_id].auths


def test_the_indexes_that_a_change_does_not_touch_are_shared() -> None:
    old = build(1, G1)
    new = old.apply(batch(2, put(registry("r1", name="renamed"))))
    before, after = old.tenants["g1"], new.tenants["g1"]
    assert after.registries["r1"].name == "renamed"
    assert after.consumers is before.consumers
    assert after.by_slug is before.by_slug
    assert after.consumers_of is before.consumers_of
    assert after.auths is before.auths
    assert after.policies is before.policies
    assert new.keys is old.keys


def test_a_whole_load_forgets_what_was_known() -> None:
    after = build(1, [*G1, *G2]).apply(batch(9, *(put(record) for record in G2), whole=True))
    assert after == build(9, G2)


def test_changes_of_an_unknown_gateway_are_left_alone() -> None:
    old = build(1, G1)
    new = old.apply(batch(2, put(consumer("x1", "g9")), put(auth("x2", "g9")), gone(registry("x3", "g9"))))
    assert new == build(2, G1)
    assert new.tenants["g1"] is old.tenants["g1"]


# Slugs.


@pytest.mark.parametrize("swapped", [False, True])
def test_two_consumers_change_slugs_in_one_batch(swapped: bool) -> None:
    old = build(1, [gateway(), consumer("c1", slug="one"), consumer("c2", slug="two")])
    items = [put(consumer("c1", slug="two")), put(consumer("c2", slug="one"))]
    tenant = old.apply(batch(2, *(reversed(items) if swapped else items))).tenants["g1"]
    assert dict(tenant.by_slug) == {"two": "c1", "one": "c2"}


@pytest.mark.parametrize("swapped", [False, True])
def test_a_slug_moves_to_a_new_consumer_while_its_old_one_goes(swapped: bool) -> None:
    old = build(1, [gateway(), consumer("c1", slug="one")])
    items = [gone(consumer("c1")), put(consumer("c2", slug="one"))]
    tenant = old.apply(batch(2, *(reversed(items) if swapped else items))).tenants["g1"]
    assert dict(tenant.by_slug) == {"one": "c2"}
    found = tenant.consumer("one")
    assert found is not None
    assert found.id == "c2"


def test_a_gateway_that_is_renamed_is_found_by_its_new_names_only() -> None:
    old = build(1, [gateway(slug="old", domain="old.example.com")])
    new = old.apply(batch(2, put(gateway(slug="new", domain="new.example.com"))))
    assert dict(new.slugs) == {"new": "g1"}
    assert dict(new.domains) == {"new.example.com": "g1"}
    assert new.by_slug("old") is None
    found = new.by_slug("new")
    assert found is new.tenants["g1"]


def test_a_gateway_change_keeps_what_is_below_it() -> None:
    new = build(1, G1).apply(batch(2, put(gateway(status="inactive"))))
    assert new == build(2, [gateway(status="inactive"), *G1[1:]])


# Keys.


def test_a_gateway_that_goes_takes_its_keys_along() -> None:
    old = build(1, [*G1, *G2])
    new = old.apply(batch(2, gone(G1[0])))
    assert dict(new.keys) == {"hash of b1": Key(gateway_id="g2", auth_id="b1")}
    assert new.tenants.keys() == {"g2"}
    assert new.tenants["g2"] is old.tenants["g2"]
    assert dict(new.slugs) == {"g2": "g2"}


@pytest.mark.parametrize("first", ["gateway", "children"])
def test_a_gateway_that_goes_with_its_children_told_too(first: str) -> None:
    items = [gone(record) for record in G1]
    if first == "children":
        items.reverse()
    assert build(1, [*G1, *G2]).apply(batch(2, *items)) == build(2, G2)


def test_a_key_goes_with_its_auth_and_a_renewed_one_replaces_it() -> None:
    old = build(1, G1)
    new = old.apply(batch(2, gone(auth("a1")), put(auth("a2", key_hash="another"))))
    assert dict(new.keys) == {"another": Key(gateway_id="g1", auth_id="a2")}


def test_an_auth_without_a_key_is_not_looked_up_by_nothing() -> None:
    assert not build(1, [gateway(), auth("a1", key_hash="")]).keys


def test_a_disabled_key_is_still_known_so_that_it_can_be_refused() -> None:
    assert build(1, [gateway(), auth("a1", enabled=False)]).keys["hash of a1"].auth_id == "a1"


# Which consumers a key is attached to.


def test_a_key_knows_its_consumers() -> None:
    snapshot = build(1, [*G1, consumer("c2", auth_ids=("a1", "a2"))])
    assert {key: set(ids) for key, ids in snapshot.tenants["g1"].consumers_of.items()} == {
        "a1": {"c1", "c2"},
        "a2": {"c2"},
    }
    detached = snapshot.apply(batch(2, put(consumer("c1", auth_ids=()))))
    assert detached.tenants["g1"].consumers_of["a1"] == ("c2",)


def test_a_key_that_no_consumer_has_any_more_leaves_nothing_behind() -> None:
    """Otherwise every key that ever was stays in the index, for as long as the process lives."""
    new = build(1, G1).apply(batch(2, gone(consumer("c1")), gone(auth("a1"))))
    assert not new.tenants["g1"].consumers_of
