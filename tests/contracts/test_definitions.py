"""What servers say of their tools, as it was accepted and as it was seen, on both databases."""

import asyncio
from typing import Any

import pytest

from trustgate.storage.database import Database
from trustgate.storage.definitions import LONGEST, MOST, Definitions, Pin, Said
from trustgate.storage.store import Store

from .samples import gateway, registry

pytestmark = pytest.mark.anyio

HERE = ("g1", "r1")


def said(name: str = "look", text: str = "first") -> Said:
    return Said(name, f"digest of {text[:40]}", text)


@pytest.fixture
async def known(store: Store, database: Database) -> Definitions:
    async with store.unit() as unit:
        for number in "12":
            await unit.gateways.insert(gateway(f"g{number}"))
            await unit.registries.insert(registry(f"r{number}", f"g{number}"))
    return Definitions(database)


async def test_the_first_one_is_accepted_and_another_one_is_noted(known: Definitions) -> None:
    await known.pin(*HERE, [said(), said("other")])
    await known.pin(*HERE, [said(text="second")])
    first = Pin("digest of first", "digest of first")
    assert await known.pins(*HERE) == {"look": first, "other": first}
    await known.note(*HERE, [said(text="second")])
    pins = await known.pins(*HERE)
    assert pins["look"] == Pin("digest of first", "digest of second")
    assert (pins["look"].holds, pins["other"].holds) == (False, True)


async def test_of_two_that_see_another_first_one_decides(known: Definitions) -> None:
    await asyncio.gather(*(known.pin(*HERE, [said(text=f"of {number}")]) for number in range(8)))
    (pin,) = (await known.pins(*HERE)).values()
    assert pin.accepted == pin.seen


async def test_what_was_looked_at_is_accepted_and_nothing_else(known: Definitions) -> None:
    await known.pin(*HERE, [said(), said("other")])
    await known.note(*HERE, [said(text="second"), said("other", "second")])
    await known.note(*HERE, [said(text="third")])
    thought = {"other": "digest of second", "look": "digest of second"}
    assert await known.accept(*HERE, thought) == "look"
    assert not any(pin.holds for pin in (await known.pins(*HERE)).values()), "all, or none"
    assert await known.accept(*HERE, thought | {"look": "digest of third"}) == ""
    assert all(pin.holds for pin in (await known.pins(*HERE)).values())
    (one, _) = (await known.page(*HERE)).items
    assert (one.accepted, one.seen, one.accepted_at > 0) == ("third", "third", True)


async def test_they_are_listed_by_name_in_parts(known: Definitions) -> None:
    await known.pin(*HERE, [said(name) for name in "cab"])
    await known.note(*HERE, [said("b", "second")])
    page = await known.page(*HERE, offset=1, limit=2)
    assert ([each.name for each in page.items], page.total) == (["b", "c"], 3)
    page = await known.page(*HERE, changed=True)
    assert ([each.name for each in page.items], page.total) == (["b"], 1)
    (changed,) = page.items
    assert (changed.accepted, changed.seen) == ("first", "second")
    assert changed.first_seen_at <= changed.changed_at


async def test_no_other_gateway_sees_or_changes_them(known: Definitions) -> None:
    await known.pin(*HERE, [said()])
    await known.note("g2", "r1", [said(text="second")])
    assert await known.accept("g2", "r1", {"look": "digest of first"}) == "look"
    assert await known.pins("g2", "r1") == {}
    assert (await known.page("g2", "r1")).total == 0
    assert (await known.pins(*HERE))["look"].holds


async def test_they_go_with_their_registry_and_one_that_is_gone_has_none(known: Definitions, store: Store) -> None:
    await known.pin(*HERE, [said()])
    async with store.unit() as unit:
        await unit.registries.delete("r1")
    assert await known.pins(*HERE) == {}
    await known.pin(*HERE, [said()])
    assert await known.pins(*HERE) == {}


async def test_a_server_cannot_fill_the_database(known: Definitions) -> None:
    await known.pin(*HERE, [said("long", "x" * (LONGEST + 1))])
    for start in range(0, MOST + 500, 500):
        await known.pin(*HERE, [said(f"t{number:05}") for number in range(start, start + 500)])
    page = await known.page(*HERE, limit=1)
    assert page.total == MOST
    assert (page.items[0].name, page.items[0].accepted, page.items[0].accepted_digest != "") == ("long", "", True)


@pytest.mark.parametrize("name", ["ü" * 100, "quote'\"", "a/b:c", "%s", "\n"])
async def test_names_are_any_text(known: Definitions, name: Any) -> None:
    await known.pin(*HERE, [said(name)])
    await known.note(*HERE, [said(name, "second")])
    assert await known.accept(*HERE, {name: "digest of second"}) == ""
    assert list(await known.pins(*HERE)) == [name]
