"""What the data planes are promised: whole or only what changed, never half a write, never one bad record for all."""

import logging
from typing import Any

import pytest

from trustgate.config.records import ApiKeyAuth, Policy, ProviderAuth
from trustgate.config.source import Change, Changes
from trustgate.storage import changelog, configuration
from trustgate.storage.configuration import StoredConfig
from trustgate.storage.database import CannotOpen, Database, Unreadable
from trustgate.storage.seal import Sealer
from trustgate.storage.store import Store

from .samples import SECRET, auth, consumer, gateway, policy, pool, registry

pytestmark = pytest.mark.anyio

PROVIDER_KEY = "sk-the-provider-key"
SECRETIVE = ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key=PROVIDER_KEY))


@pytest.fixture
def config(database: Database, sealer: Sealer) -> StoredConfig:
    return StoredConfig(database, sealer)


async def fill(store: Store) -> None:
    async with store.unit() as unit:
        await unit.gateways.insert(gateway())
        await unit.registries.insert(registry(auth=SECRETIVE))
        await unit.auths.insert(auth())
        await unit.consumers.insert(consumer(registries=pool("r1"), auth_ids=("a1",)))
        await unit.policies.insert(policy(consumer_ids=("c1",), settings={"token": "t0ken"}))


def seen(changes: Changes) -> dict[str, Any]:
    assert len({(item.entity, item.id) for item in changes.items}) == len(changes.items)
    return {f"{item.entity} {item.id}": item.record for item in changes.items}


async def test_an_empty_database_is_revision_0(store: Store, config: StoredConfig) -> None:
    assert await config.revision() == 0
    assert await config.changes(0) == Changes(revision=0, whole=True, items=[])


async def test_from_0_everything_is_told_gateways_first(store: Store, config: StoredConfig) -> None:
    await fill(store)
    changes = await config.changes(0)
    assert (changes.revision, changes.whole) == (1, True)
    assert seen(changes) == {
        "gateway g1": gateway(),
        "registry r1": registry(auth=SECRETIVE),
        "auth a1": auth(),
        "consumer c1": consumer(registries=pool("r1"), auth_ids=("a1",)),
        "policy p1": policy(consumer_ids=("c1",), settings={"token": "t0ken"}),
    }
    assert changes.items[0].entity == "gateway"
    assert {item.gateway_id for item in changes.items} == {"g1"}


async def test_only_what_changed_is_told_once_and_as_it_is_now(store: Store, config: StoredConfig) -> None:
    await fill(store)
    for name in ("first", "second"):
        async with store.unit() as unit:
            await unit.auths.replace(auth(name=name))
    async with store.unit() as unit:
        await unit.gateways.insert(gateway("g2"))
    changes = await config.changes(1)
    assert (changes.revision, changes.whole) == (4, False)
    assert seen(changes) == {"gateway g2": gateway("g2"), "auth a1": auth(name="second")}
    assert changes.items[0].entity == "gateway"
    assert await config.changes(4) == Changes(revision=4, whole=False, items=[])
    assert await config.revision() == 4


async def test_what_is_gone_is_told_without_a_record(store: Store, config: StoredConfig) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.policies.delete("p1")
        await unit.gateways.insert(gateway("g2"))
    changes = await config.changes(1)
    assert changes.items[1:] == [Change(entity="policy", id="p1", gateway_id="g1", record=None)]


async def test_whoever_loses_a_link_has_changed(store: Store, config: StoredConfig) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.registries.delete("r1")
    assert seen(await config.changes(1)) == {"registry r1": None, "consumer c1": consumer(auth_ids=("a1",))}
    async with store.unit() as unit:
        await unit.auths.delete("a1")
    assert seen(await config.changes(2)) == {"auth a1": None, "consumer c1": consumer()}
    async with store.unit() as unit:
        await unit.consumers.delete("c1")
    expected = policy(settings={"token": "t0ken"})
    assert seen(await config.changes(3)) == {"consumer c1": None, "policy p1": expected}


async def test_a_gateway_that_is_gone_is_told_alone(store: Store, config: StoredConfig) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.gateways.delete("g1")
    assert (await config.changes(1)).items == [Change(entity="gateway", id="g1", gateway_id="g1", record=None)]


async def test_gateways_come_first_also_when_they_are_gone(store: Store, config: StoredConfig) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.gateways.delete("g1")
        await unit.gateways.insert(gateway("g2"))
        await unit.auths.insert(auth("a2", "g2"))
    assert [item.entity for item in (await config.changes(1)).items] == ["gateway", "gateway", "auth"]


async def test_from_before_the_log_everything_is_told(store: Store, config: StoredConfig, database: Database) -> None:
    for i in range(6):
        async with store.unit() as unit:
            await unit.gateways.insert(gateway(f"g{i}"))
    async with database.transaction() as transaction:
        await changelog.prune(transaction, 2)
    assert [(await config.changes(since)).whole for since in range(8)] == [True] * 4 + [False] * 3 + [True]
    assert len((await config.changes(4)).items) == 2
    assert len((await config.changes(3)).items) == 6


async def test_the_log_is_pruned_in_passing(store: Store, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "KEPT_ROWS", 3)
    monkeypatch.setattr(changelog, "PRUNE_EVERY", 4)
    for i in range(9):
        async with store.unit() as unit:
            await unit.gateways.insert(gateway(f"g{i}"))
    rows = await database.fetch("SELECT revision FROM config_changes ORDER BY revision")
    assert [row["revision"] for row in rows] == [6, 7, 8, 9]


async def test_many_changes_are_told_as_a_whole(
    store: Store, config: StoredConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "_MANY", 2)
    await fill(store)
    for count in (2, 3):
        since = await config.revision()
        async with store.unit() as unit:
            for i in range(count):
                await unit.gateways.insert(gateway(f"{count}-{i}"))
        assert (await config.changes(since)).whole is (count > 2)


async def test_no_secret_is_stored_in_clear(store: Store, database: Database) -> None:
    await fill(store)
    for table in ("registries", "policies"):
        stored = str(await database.fetch(f"SELECT * FROM {table}"))
        assert "sealed:v1:" in stored
        assert PROVIDER_KEY not in stored
        assert "t0ken" not in stored


async def test_a_wrong_secret_costs_the_sealed_records_only(
    store: Store, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store)
    other = Sealer("another secret of at least thirty-two bytes")
    changes = await StoredConfig(database, other).changes(0)
    assert seen(changes).keys() == {"gateway g1", "consumer c1", "auth a1", "policy p1"}
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "registry r1" in caplog.text
    assert "SERVER_SECRET_KEY" in caplog.text
    async with Store(database, other).read() as unit:
        with pytest.raises(CannotOpen, match="SERVER_SECRET_KEY"):
            await unit.registries.get("r1")


async def test_a_sealed_value_opens_only_where_it_was_sealed(store: Store, database: Database) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.registries.insert(registry("r2"))
    async with database.transaction() as transaction:
        await transaction.execute(
            "UPDATE registries SET document = (SELECT document FROM registries WHERE id = 'r1') WHERE id = 'r2'"
        )
    async with store.read() as unit:
        assert await unit.registries.get("r1") is not None
        with pytest.raises(CannotOpen):
            await unit.registries.get("r2")


@pytest.mark.parametrize("document", ["not json", "[]", '{"settings": 5}', '{"timeout_ms": "soon"}', "{}x"])
async def test_an_unreadable_record_costs_itself_only(
    store: Store, config: StoredConfig, database: Database, document: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.policies.replace(policy())
        await unit.auths.replace(auth(name="new"))
    async with database.transaction() as transaction:
        await transaction.execute("UPDATE policies SET document = :document", document=document)
    outline = seen(await config.changes(0))["policy p1"]
    assert isinstance(outline, Policy)
    assert (outline.readable, outline.settings, outline.name) == (False, {}, policy().name)
    assert outline.consumer_ids == policy().consumer_ids
    assert seen(await config.changes(1)) == {"auth a1": auth(name="new"), "policy p1": outline}
    assert "skipped policy p1" in caplog.text
    assert document not in caplog.text
    async with store.unit() as unit:
        with pytest.raises(Unreadable, match="policy p1"):
            await unit.policies.get("p1")
        assert await unit.policies.replace(policy(name="mended"))
    assert seen(await config.changes(2)) == {"policy p1": policy(name="mended")}


async def test_a_field_that_was_not_secret_when_it_was_stored_is_read(store: Store, database: Database) -> None:
    await fill(store)
    async with database.transaction() as transaction:
        await transaction.execute("UPDATE policies SET document = :document", document='{"settings": {"limit": 1}}')
    async with store.read() as unit:
        record = await unit.policies.get("p1")
    assert record is not None
    assert record.settings == {"limit": 1}


async def test_a_setting_of_a_newer_program_is_overlooked(store: Store, database: Database) -> None:
    await fill(store)
    async with database.transaction() as transaction:
        await transaction.execute("UPDATE auths SET document = :document", document='{"of_tomorrow": true}')
    async with Store(database, Sealer(SECRET)).read() as unit:
        assert await unit.auths.get("a1") == auth()
