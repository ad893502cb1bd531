"""What the store promises: records come back as they went in, tenants never meet, and nothing refers to nothing."""

from typing import Any

import pytest

from trustgate.config.records import ApiKeyAuth, Entitlements, ModelPolicy, ProviderAuth, SessionConfig
from trustgate.storage.database import Dangling, Taken
from trustgate.storage.store import Query, Store, Unit

from .samples import auth, consumer, gateway, policy, pool, registry

pytestmark = pytest.mark.anyio


async def fill(store: Store) -> None:
    """Write two gateways; the first has something of everything, the second a little."""
    async with store.unit() as unit:
        await unit.gateways.insert(gateway("g1"))
        await unit.gateways.insert(gateway("g2"))
        for name in ("r1", "r2", "r3"):
            await unit.registries.insert(registry(name))
        await unit.registries.insert(registry("other", "g2"))
        await unit.auths.insert(auth("a1", key_hash="1" * 64))
        await unit.auths.insert(auth("a2"))
        await unit.consumers.insert(consumer("c1", registries=pool("r2", "r1"), auth_ids=("a2", "a1")))
        await unit.consumers.insert(consumer("c2", registries=pool("r1")))
        await unit.policies.insert(policy("p1", consumer_ids=("c2", "c1")))


async def test_every_field_comes_back(store: Store) -> None:
    written: dict[str, Any] = {
        "gateways": gateway(
            domain="llm.example.org",
            tenant_id="t1",
            status="inactive",
            metadata={"team": "ä", "quote": "'\"\\"},
            session_config=SessionConfig(enabled=False, header_name="X-S", body_param_name="user"),
            entitlements=Entitlements(tier="enterprise", burst_per_min=1, quota_per_month=0, max_instances=2),
        ),
        "registries": registry(
            enabled=False,
            description="100% of :it",
            provider_options={"base_url": "http://x", "timeouts": {"idle": "2s"}, "list": [1, None, 2.5]},
            auth=ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="sk-1", header_value="v")),
        ),
        "auths": auth(key_hash="f" * 64, key_prefix="ag_12345", key_suffix="wxyz", enabled=False),
        "consumers": consumer(
            active=False,
            registries=pool("r1"),
            auth_ids=("a1",),
            model_policies=(ModelPolicy(registry_id="r1", allowed=("m",), default="m"), ModelPolicy(registry_id="r2")),
        ),
        "policies": policy(
            description="d",
            enabled=False,
            is_global=True,
            priority=2**40,
            parallel=False,
            settings={"limit": 3, "token": "t0ken"},
            stages=("pre_request", "on_chunk"),
            mode="observe",
            on_error="allow",
            timeout_ms=250,
            consumer_ids=("c1",),
        ),
    }
    async with store.unit() as unit:
        for name, record in written.items():
            await getattr(unit, name).insert(record)
    async with store.read() as unit:
        for name, record in written.items():
            assert await getattr(unit, name).get(record.id) == record


async def test_a_unit_is_one_revision_and_a_unit_that_wrote_nothing_is_none(store: Store) -> None:
    async with store.unit() as unit:
        assert await unit.gateways.get("g1") is None
    assert unit.revision is None
    for expected in (1, 2):
        async with store.unit() as unit:
            await unit.gateways.insert(gateway(f"g{expected}-1"))
            await unit.gateways.insert(gateway(f"g{expected}-2"))
        assert unit.revision == expected


async def test_an_exception_in_a_unit_undoes_all_of_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.unit() as unit:
            await unit.gateways.insert(gateway())
            raise ZeroDivisionError
    async with store.unit() as unit:
        assert await unit.gateways.get("g1") is None
        await unit.gateways.insert(gateway())
    assert unit.revision == 1


async def test_links_keep_their_order_and_weights(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        record = await unit.consumers.get("c1")
        assert record is not None
        assert record.registries == pool("r2", "r1")
        assert record.auth_ids == ("a2", "a1")
        changed = consumer("c1", registries=pool("r3", "r1", "r2"), auth_ids=())
        assert await unit.consumers.replace(changed)
        assert await unit.consumers.get("c1") == changed
    async with store.read() as unit:
        assert await unit.consumers.get("c1") == changed


async def test_a_page_has_the_links_of_each_record(store: Store) -> None:
    await fill(store)
    async with store.read() as unit:
        page = await unit.consumers.page(Query(gateway_id="g1", sort="name"))
        assert [record.registries for record in page.items] == [pool("r2", "r1"), pool("r1")]
        assert [record.auth_ids for record in page.items] == [("a2", "a1"), ()]
        attached = await unit.consumers.page(Query(gateway_id="g1", where={"auth_ids": "a1"}))
        assert [record.id for record in attached.items] == ["c1"]


@pytest.mark.parametrize(
    ("name", "second", "columns"),
    [
        ("gateways", gateway("new", slug="g1"), ("slug",)),
        ("gateways", gateway("new", domain="d.example"), ("domain",)),
        ("registries", registry("new", name="r1"), ("gateway_id", "name")),
        ("consumers", consumer("new", name="c1"), ("gateway_id", "name")),
        ("consumers", consumer("new", slug="c1"), ("gateway_id", "slug")),
        ("policies", policy("new", name="p1"), ("gateway_id", "name")),
        ("auths", auth("new", "g2", key_hash="1" * 64), ("key_hash",)),
    ],
)
async def test_what_is_taken(store: Store, name: str, second: Any, columns: tuple[str, ...]) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.gateways.replace(gateway("g1", domain="d.example"))
    with pytest.raises(Taken) as taken:
        async with store.unit() as unit:
            await getattr(unit, name).insert(second)
    assert taken.value.columns == columns


async def test_what_is_not_taken(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.registries.insert(registry("new-r", "g2", name="r1"))
        await unit.consumers.insert(consumer("new-c", "g2", name="c1", slug="c1"))
        await unit.policies.insert(policy("new-p", "g2", name="p1"))
        await unit.auths.insert(auth("new-a", name="a1"))  # names of auths are not unique, nor are empty hashes
        await unit.gateways.insert(gateway("g3"))  # nor empty domains


async def test_nothing_refers_to_what_is_not_in_its_gateway(store: Store) -> None:
    await fill(store)
    for record in (
        consumer("new", "nowhere"),
        consumer("new", registries=pool("nobody")),
        consumer("new", registries=pool("other")),
        consumer("new", "g2", auth_ids=("a1",)),
    ):
        with pytest.raises(Dangling):
            async with store.unit() as unit:
                await unit.consumers.insert(record)
    with pytest.raises(Dangling):
        async with store.unit() as unit:
            await unit.policies.replace(policy("p1", consumer_ids=("nobody",)))
    async with store.read() as unit:
        assert await unit.consumers.count() == 2


async def test_another_gateways_records_do_not_exist(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        assert await unit.consumers.get("c1", gateway_id="g2") is None
        assert await unit.consumers.find(gateway_id="g2", name="c1") is None
        assert await unit.consumers.count(gateway_id="g2") == 0
        assert (await unit.consumers.page(Query(gateway_id="g2", where={"id": ["c1", "c2"]}))).items == []
        assert await unit.consumers.replace(consumer("c1", "g2")) is False
        assert await unit.consumers.delete("c1", gateway_id="g2") is False
        assert await unit.registries.delete("r1", gateway_id="g2") is False
    assert unit.revision is None
    async with store.read() as unit:
        assert await unit.consumers.get("c1", gateway_id="g1") is not None


async def test_gone_is_gone(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        assert await unit.auths.delete("a1") is True
        assert await unit.auths.delete("a1") is False
        assert await unit.auths.replace(auth("a1")) is False


async def test_deleting_detaches(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        await unit.registries.delete("r2")
        await unit.auths.delete("a1", gateway_id="g1")
        await unit.consumers.delete("c2")
    async with store.read() as unit:
        record, scope = await unit.consumers.get("c1"), await unit.policies.get("p1")
        assert record is not None
        assert scope is not None
        assert [each.registry_id for each in record.registries] == ["r1"]
        assert record.auth_ids == ("a2",)
        assert scope.consumer_ids == ("c1",)


async def test_a_gateway_takes_everything_with_it(store: Store) -> None:
    await fill(store)
    async with store.unit() as unit:
        assert await unit.gateways.delete("g1")
    async with store.read() as unit:
        assert [await repository.count() for repository in _all(unit)] == [1, 1, 0, 0, 0]


async def test_a_nul_cannot_be_stored_and_is_never_found(store: Store) -> None:
    with pytest.raises(ValueError, match="name must not contain a NUL"):
        async with store.unit() as unit:
            await unit.gateways.insert(gateway(name="a\0b"))
    async with store.read() as unit:
        assert await unit.gateways.find(slug="a\0b") is None
        assert (await unit.gateways.page(Query(search="\0"))).total == 0


def _all(unit: Unit) -> list[Any]:
    return [unit.gateways, unit.registries, unit.consumers, unit.auths, unit.policies]
