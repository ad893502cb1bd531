"""What lists promise: the same order on every database, search that takes every character literally, exact totals."""

import pytest

from trustgate.storage.store import Query, Store, Unit

from .samples import auth, consumer, gateway, policy

pytestmark = pytest.mark.anyio

NAMES = ("Alpha", "beta", "100% sure", "under_score", "back\\slash", 'it\'s "quoted"', "ÉCOLE", "Straße", "🦜 :name")


@pytest.fixture
async def named(store: Store) -> Store:
    """A store with one consumer for each name, each made a millisecond after the one before."""
    async with store.unit() as unit:
        await unit.gateways.insert(gateway())
        await unit.gateways.insert(gateway("g2"))
        for i, name in enumerate(NAMES):
            time = f"2026-03-01T12:00:00.{100 + i:03}".rstrip("0") + "Z"
            await unit.consumers.insert(consumer(f"c{i}", name=name, active=i % 2 == 0, created_at=time))
        await unit.consumers.insert(consumer("foreign", "g2", name="Alpha beta"))
    return store


async def names(store: Store, query: Query) -> list[str]:
    async with store.read() as unit:
        page = await unit.consumers.page(query)
        assert page.total >= len(page.items)
        return [record.name for record in page.items]


async def test_the_newest_come_first(named: Store) -> None:
    assert await names(named, Query(gateway_id="g1")) == list(reversed(NAMES))


async def test_equal_times_are_ordered_by_id(store: Store) -> None:
    async with store.unit() as unit:
        for slug in ("b", "c", "a"):
            await unit.gateways.insert(gateway(slug))
    async with store.read() as unit:
        assert [record.id for record in (await unit.gateways.page(Query())).items] == ["a", "b", "c"]


async def test_pages_cover_everything_once(named: Store) -> None:
    async with named.read() as unit:
        pages = [await unit.consumers.page(Query(gateway_id="g1", offset=at, limit=4)) for at in (0, 4, 8, 12)]
    assert [len(page.items) for page in pages] == [4, 4, 1, 0]
    assert {page.total for page in pages} == {len(NAMES)}
    assert [record.name for page in pages for record in page.items] == list(reversed(NAMES))
    async with named.read() as unit:
        assert (await unit.consumers.page(Query(gateway_id="g1", limit=0))).total == len(NAMES)


async def test_totals_are_kept_and_not_counted(named: Store) -> None:
    async with named.unit() as unit:
        assert await unit.consumers.delete("c0", gateway_id="g1")
        assert not await unit.consumers.delete("foreign", gateway_id="g1")
        assert await total(unit, "g1") == len(NAMES) - 1, "also inside the unit that changes it"
    with pytest.raises(ZeroDivisionError):
        async with named.unit() as unit:
            await unit.consumers.insert(consumer("c0", name="again"))
            raise ZeroDivisionError
    async with named.unit() as unit:
        await unit.gateways.insert(gateway("g3"))
        await unit.consumers.insert(consumer("third", "g3"))
    async with named.unit() as unit:
        await unit.gateways.delete("g2")
        await unit.gateways.insert(gateway("g2", slug="anew"))
    async with named.read() as unit:
        assert [await total(unit, name) for name in ("g1", "g2", "g3", "g9")] == [len(NAMES) - 1, 0, 1, 0]
        assert (await unit.gateways.page(Query(limit=0))).total == 3
        assert (await unit.auths.page(Query(gateway_id="g1", limit=0))).total == 0


async def total(unit: Unit, gateway_id: str) -> int:
    return (await unit.consumers.page(Query(gateway_id=gateway_id, limit=0))).total


async def test_sorting_by_name_ignores_case(named: Store) -> None:
    plain = {"Alpha", "beta", "under_score", "Straße"}
    ascending = [name for name in await names(named, Query(gateway_id="g1", sort="name")) if name in plain]
    assert ascending == ["Alpha", "beta", "Straße", "under_score"]
    descending = await names(named, Query(gateway_id="g1", sort="name", descending=True))
    assert [name for name in descending if name in plain] == ascending[::-1]


async def test_sorting_by_time_and_number(store: Store) -> None:
    async with store.unit() as unit:
        await unit.gateways.insert(gateway())
        for i in (10, 9, 100):
            await unit.policies.insert(policy(f"p{i}", priority=i, updated_at=f"2026-03-01T12:00:0{i % 7}Z"))
    async with store.read() as unit:
        by_priority = await unit.policies.page(Query(gateway_id="g1", sort="priority"))
        by_time = await unit.policies.page(Query(gateway_id="g1", sort="updated_at"))
    assert [record.id for record in by_priority.items] == ["p9", "p10", "p100"]
    assert [record.id for record in by_time.items] == ["p100", "p9", "p10"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ALPHA", {"Alpha"}),
        ("%", {"100% sure"}),
        ("_", {"under_score"}),
        ("\\", {"back\\slash"}),
        ("'", {'it\'s "quoted"'}),
        ('"', {'it\'s "quoted"'}),
        ("école", {"ÉCOLE"}),
        ("e\N{COMBINING ACUTE ACCENT}cole", {"ÉCOLE"}),
        ("STRASSE", {"Straße"}),
        ("🦜 :", {"🦜 :name"}),
        ("% s", {"100% sure"}),
        ("c3", {"under_score"}),
        ("C", {*NAMES}),
        ("nothing", set()),
        ("x" * 60_000, set()),
    ],
)
async def test_search_takes_characters_literally(named: Store, search: str, found: set[str]) -> None:
    columns = ("name", "slug")
    assert set(await names(named, Query(gateway_id="g1", search=search, search_in=columns))) == found


async def test_filters(named: Store) -> None:
    assert len(await names(named, Query(gateway_id="g1", where={"active": True}))) == 5
    assert len(await names(named, Query(gateway_id="g1", where={"active": False}))) == 4
    assert set(await names(named, Query(where={"slug": ["c0", "c1", "x"], "active": True}))) == {"Alpha"}
    assert await names(named, Query(gateway_id="g1", where={"slug": []})) == []
    async with named.read() as unit:
        assert await unit.consumers.count(gateway_id="g1", active=True) == 5
        assert await unit.gateways.count(id=["g1", "g2", "g3"]) == 2


async def test_find_takes_the_newest(store: Store) -> None:
    async with store.unit() as unit:
        await unit.gateways.insert(gateway())
        await unit.auths.insert(auth("a1", name="key", created_at="2026-03-01T12:00:00.9Z"))
        await unit.auths.insert(auth("a2", name="key", created_at="2026-03-01T12:00:00.95Z"))
        await unit.auths.insert(auth("a3", name="key", created_at="2026-03-01T12:00:00Z"))
    async with store.read() as unit:
        record = await unit.auths.find(gateway_id="g1", name="key")
        assert record is not None
        assert record.id == "a2"


async def test_unknown_columns_are_refused(named: Store) -> None:
    for query in (
        Query(where={"name; DROP TABLE gateways": "x"}),
        Query(sort="document"),
        Query(search="x", search_in=("document",)),
    ):
        with pytest.raises(KeyError):
            await names(named, query)
