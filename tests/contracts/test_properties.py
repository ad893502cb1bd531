"""Whatever is written in whatever order: changes add up to the whole, and tenants never see each other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustgate.config.source import Changes
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.database import Dangling, Taken
from trustgate.storage.factory import open_database
from trustgate.storage.migrate import migrate
from trustgate.storage.seal import Sealer
from trustgate.storage.settings import PostgresSettings, SqliteSettings
from trustgate.storage.store import Query, Store, Unit

from .samples import SECRET, auth, consumer, gateway, policy, pool, registry

Place = SqliteSettings | PostgresSettings
Known = dict[tuple[str, str], Any]
Step = tuple[str, str, int, int, tuple[int, ...]]

few = settings(
    max_examples=25,
    deadline=None,
    # The database is shared between examples on purpose: each begins by emptying it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
steps = st.tuples(
    st.sampled_from(["put", "put", "put", "delete"]),
    st.sampled_from(["gateways", "registries", "consumers", "auths", "policies"]),
    st.integers(0, 2),
    st.integers(0, 1),
    st.lists(st.sampled_from([0, 0, 0, 1, 2]), unique=True, max_size=3).map(tuple),
)
units = st.lists(st.lists(steps, min_size=1, max_size=4), min_size=1, max_size=12)


@few
@given(units=units, polls=st.sets(st.integers(0, 11)))
def test_changes_add_up_to_the_whole(place: Place, units: list[list[Step]], polls: set[int]) -> None:
    async def add_up(store: Store, config: StoredConfig) -> None:
        known, revision = apply({}, await config.changes(0))
        names = Names()
        for number, unit_steps in enumerate(units):
            with suppress(Taken, Dangling):  # a unit that failed must leave no trace, which is the point
                async with store.unit() as unit:
                    for step in unit_steps:
                        await take(unit, step, names)
            if number in polls:
                known, revision = apply(known, await config.changes(revision))
        known, _ = apply(known, await config.changes(revision))
        whole, _ = apply({}, await config.changes(0))
        assert known == whole

    run(place, add_up)


@few
@given(
    units=units,
    search=st.sampled_from(["", "0", "g", "-"]),
    sort=st.sampled_from(["", "name", "updated_at"]),
    where=st.sampled_from([{}, {"id": ["consumers-0-0", "consumers-1-0"]}, {"name": "consumers-0-0"}]),
)
def test_tenants_never_meet(
    place: Place, units: list[list[Step]], search: str, sort: str, where: dict[str, Any]
) -> None:
    async def stay_apart(store: Store, config: StoredConfig) -> None:
        names = Names()
        for unit_steps in units:
            with suppress(Taken, Dangling):
                async with store.unit() as unit:
                    for step in unit_steps:
                        await take(unit, step, names)
        changes = await config.changes(0)
        async with store.unit() as unit:
            for asked in (names.gateway(0), names.gateway(1)):
                for table in ("registries", "consumers", "auths", "policies"):
                    query = Query(gateway_id=asked, search=search, sort=sort, where=where)
                    page = await getattr(unit, table).page(query)
                    assert {record.gateway_id for record in page.items} <= {asked}
                    assert page.total == len(page.items)
                    everything = await getattr(unit, table).page(Query(gateway_id=asked))
                    kept = await getattr(unit, table).page(Query(gateway_id=asked, limit=0))
                    assert kept.total == len(everything.items)
                for item in changes.items:
                    if item.entity != "gateway" and item.gateway_id != asked:
                        await assert_hidden(unit, item.record, asked)
            assert not unit.touched

    run(place, stay_apart)


async def assert_hidden(unit: Unit, record: Any, asked: str) -> None:
    repository = getattr(unit, record.id.split("-")[0])
    assert await repository.get(record.id, gateway_id=asked) is None
    assert await repository.find(id=record.id, gateway_id=asked) is None
    assert await repository.count(id=record.id, gateway_id=asked) == 0
    assert not await repository.delete(record.id, gateway_id=asked)


class Names:
    """Ids of records. A gateway's id is never used again once it is gone, as real ones are not."""

    def __init__(self) -> None:
        self._lives = {0: 0, 1: 0}

    def gateway(self, number: int) -> str:
        return f"gateways-{number}-{self._lives[number]}"

    def bury(self, number: int) -> None:
        self._lives[number] += 1

    def child(self, table: str, number: int, gateway_number: int) -> str:
        return f"{table}-{number}-{self.gateway(gateway_number)}"


async def take(unit: Unit, step: Step, names: Names) -> None:
    """Put or delete one record; its links are what the step says, there or not."""
    verb, table, number, home, links = step
    repository = getattr(unit, table)
    gateway_id = names.gateway(home)
    if verb == "delete":
        record_id = gateway_id if table == "gateways" else names.child(table, number, home)
        if await repository.delete(record_id) and table == "gateways":
            names.bury(home)
        return
    record = make(table, number, gateway_id, lambda other: tuple(names.child(other, i, home) for i in links))
    if not await repository.replace(record):
        await repository.insert(record)


def make(table: str, number: int, gateway_id: str, linked: Callable[[str], tuple[str, ...]]) -> Any:
    record_id = f"{table}-{number}-{gateway_id}"
    match table:
        case "gateways":
            return gateway(gateway_id)
        case "registries":
            return registry(record_id, gateway_id, provider_options={"links": len(linked("x"))})
        case "consumers":
            return consumer(record_id, gateway_id, registries=pool(*linked("registries")), auth_ids=linked("auths"))
        case "auths":
            return auth(record_id, gateway_id, key_prefix=str(linked("x")))
        case _:
            return policy(record_id, gateway_id, consumer_ids=linked("consumers"))


def apply(known: Known, changes: Changes) -> tuple[Known, int]:
    """Return what a data plane knows after these changes."""
    known = {} if changes.whole else dict(known)
    for item in changes.items:
        if item.record is not None:
            known[item.entity, item.id] = item.record
            continue
        known.pop((item.entity, item.id), None)
        if item.entity == "gateway":
            known = {key: record for key, record in known.items() if getattr(record, "gateway_id", "") != item.id}
    return known, changes.revision


def run(place: Place, check: Callable[[Store, StoredConfig], Awaitable[None]]) -> None:
    async def empty_then_check() -> None:
        database, sealer = open_database(place), Sealer(SECRET)
        await database.open()
        try:
            await migrate(database)
            store = Store(database, sealer)
            async with store.unit() as unit:
                for record in (await unit.gateways.page(Query(limit=100))).items:
                    await unit.gateways.delete(record.id)
            async with store.unit() as unit:
                for home in range(2):  # something to link to, or else most units would fail
                    await take(unit, ("put", "gateways", 0, home, ()), Names())
                    await take(unit, ("put", "registries", 0, home, ()), Names())
                    await take(unit, ("put", "auths", 0, home, ()), Names())
                    await take(unit, ("put", "consumers", 0, home, (0,)), Names())
            await check(store, StoredConfig(database, sealer))
        finally:
            await database.aclose()

    asyncio.run(empty_then_check())
