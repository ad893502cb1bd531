"""Auths over HTTP: a key is shown once, and only what cannot be turned back into it is kept."""

import base64
from hashlib import sha256

import pytest

from trustgate.planes.admin.plane import AdminServices

from .api import Api
from .conftest import World

pytestmark = pytest.mark.anyio


async def test_a_key_is_shown_once(api: Api, world: World, services: AdminServices) -> None:
    made = await api.ok("POST", f"{world.root}/auths", {"name": "k", "type": "api_key"})
    key = made.pop("api_key")
    assert len(key) == 46
    assert key.startswith("ag_")
    assert len(base64.urlsafe_b64decode(key[3:] + "=")) == 32
    assert (made["key_prefix"], made["key_suffix"]) == (key[:8], key[-4:])
    assert (made["type"], made["enabled"], made["config"]) == ("api_key", True, {})
    assert await api.ok("GET", f"{world.root}/auths/{made['id']}") == made  # Api itself looks for the key everywhere
    async with services.store.read() as unit:
        stored = await unit.auths.get(made["id"], gateway_id=world.gateway)
    assert stored is not None
    assert stored.key_hash == sha256(key.encode()).hexdigest()


async def test_names_may_repeat_but_keys_do_not(api: Api, world: World) -> None:
    made = [await api.ok("POST", f"{world.root}/auths", {"name": "same", "type": "api_key"}) for _ in range(3)]
    assert len({each["api_key"] for each in made}) == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"type": "api_key"}, "name"),
        ({"name": "", "type": "api_key"}, "name"),
        ({"name": "x" * 256, "type": "api_key"}, "name"),
        ({"name": "a"}, "type"),
        ({"name": "a", "type": None}, "type"),
        ({"name": "a", "type": "oauth2"}, "type oauth2 is not supported by this version"),
        ({"name": "a", "type": "oidc"}, "not supported"),
        ({"name": "a", "type": "mtls"}, "not supported"),
        ({"name": "a", "type": "API_KEY"}, "type must be api_key"),
        ({"name": "a", "type": "api_key", "enabled": "no"}, "enabled"),
        ({"name": "a", "type": "api_key", "config": 1}, "config"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(
    api: Api, world: World, body: dict[str, object], says: str
) -> None:
    await api.no("POST", f"{world.root}/auths", body, code="validation_failed", says=says)
    assert (await api.ok("GET", f"{world.root}/auths"))["total"] == 1


async def test_a_config_is_not_read_on_create_and_refused_on_put(api: Api, world: World) -> None:
    config = {"oauth2": {"issuer": "x"}}
    made = await api.ok("POST", f"{world.root}/auths", {"name": "a", "type": "api_key", "config": config})
    assert made["config"] == {}
    path = f"{world.root}/auths/{made['id']}"
    await api.no("PUT", path, {"config": config}, code="validation_failed", says="config")
    await api.ok("PUT", path, {"config": {}})


async def test_put_changes_what_it_names_and_never_the_key(api: Api, world: World) -> None:
    path = f"{world.root}/auths/{world.auth}"
    before = await api.ok("GET", path)
    assert await api.ok("PUT", path, dict.fromkeys(("name", "type", "enabled", "config"))) == before
    assert await api.ok("PUT", path, before) == before
    after = await api.ok("PUT", path, {"enabled": False, "name": "old", "key_prefix": "ag_other"})
    assert after == before | {"enabled": False, "name": "old", "updated_at": after["updated_at"]}
    await api.no("PUT", path, {"type": "oidc"}, code="validation_failed", says="not supported")


async def test_delete_detaches(api: Api, world: World) -> None:
    await api.ok("DELETE", f"{world.root}/auths/{world.auth}")
    assert (await api.ok("GET", f"{world.root}/consumers/{world.consumer}"))["auth_ids"] == []
    await api.no("DELETE", f"{world.root}/auths/{world.auth}", code="not_found")


async def test_lists(api: Api, world: World) -> None:
    for name, enabled in (("b", True), ("A", False)):
        await api.ok("POST", f"{world.root}/auths", {"name": name, "type": "api_key", "enabled": enabled})
    for query, names in (
        ("sort=name", ["A", "b", "key"]),
        ("enabled=0", ["A"]),
        ("search=KE", ["key"]),
        ("type=oidc", []),
        ("type=api_key&sort=updated_at&order=desc", ["A", "b", "key"]),
    ):
        assert [it["name"] for it in (await api.ok("GET", f"{world.root}/auths?{query}"))["items"]] == names, query
    await api.no("GET", f"{world.root}/auths?type=jwt", code="invalid_filter")
    await api.no("GET", f"{world.root}/auths?sort=enabled", code="invalid_sort")
