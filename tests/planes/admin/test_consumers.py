"""Consumers over HTTP: slugs that people can read, registries and models that fit together, and what is attached."""

from typing import Any
from urllib.parse import parse_qsl

import pytest

from trustgate.admission.operation import RESERVED

from .api import UNKNOWN, Api
from .conftest import World

pytestmark = pytest.mark.anyio


async def add_registry(api: Api, world: World, name: str) -> str:
    """Make another registry."""
    return str((await api.ok("POST", f"{world.root}/registries", {"name": name, "provider": "echo"}))["id"])


async def test_a_name_is_enough(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/consumers", {"name": "Support Bot"})
    expected = {"slug": "support-bot", "type": "LLM", "routing_mode": "inline", "active": True}
    empty: dict[str, Any] = {"registry_ids": [], "role_ids": [], "auth_ids": []}
    assert {key: made[key] for key in (*expected, *empty)} == expected | empty
    assert await api.ok("GET", f"{world.root}/consumers/{made['id']}") == made


async def test_slugs_are_unique_in_a_gateway(api: Api, world: World) -> None:
    root = f"{world.root}/consumers"
    for name, slug in (("My App", "my-app-2"), ("my app!", "my-app-3"), ("V1", "v1-2"), ("日本", None)):
        made = await api.ok("POST", root, {"name": name})
        assert made["slug"] == slug if slug else made["slug"].startswith("app-")
    assert (await api.ok("POST", root, {"name": "b", "slug": "Chosen"}))["slug"] == "chosen"
    await api.no("POST", root, {"name": "c", "slug": "chosen"}, code="already_exists", says="slug")
    other = await api.ok("POST", "/v1/gateways", {"name": "other"})
    made = await api.ok("POST", f"/v1/gateways/{other['id']}/consumers", {"name": "x", "slug": "chosen"})
    assert made["slug"] == "chosen"


async def test_many_of_one_name_still_get_a_slug(api: Api, world: World) -> None:
    slugs = set()
    for number in range(52):
        slugs.add((await api.ok("POST", f"{world.root}/consumers", {"name": "same" + "!" * number}))["slug"])
    assert len(slugs) == 52


@pytest.mark.parametrize("slug", sorted(RESERVED))
async def test_routes_are_no_slugs(api: Api, world: World, slug: str) -> None:
    await api.no("POST", f"{world.root}/consumers", {"name": "x", "slug": slug}, code="validation_failed", says="slug")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": " "}, "name"),
        ({"slug": "a b"}, "slug"),
        ({"type": "MCP", "aliases": {"a": "b"}}, "a consumer of type MCP has none of strict_translation"),
        ({"type": "A2A"}, "not served"),
        ({"type": "X"}, "type must be LLM"),
        ({"routing_mode": "role_based"}, "not supported by this version"),
        ({"routing_mode": "x"}, "routing_mode must be inline"),
        ({"active": 1}, "active"),
        ({"registries": [{"id": "nonsense"}]}, "registries[].id must be a UUID"),
        ({"registries": [{"id": UNKNOWN}]}, "no registry of this gateway"),
        ({"registries": [{"id": "REGISTRY"}, {"id": "REGISTRY"}]}, "twice"),
        ({"registries": [{"id": "REGISTRY", "weight": 0}]}, "registries[0].weight"),
        ({"registries": [{"id": "REGISTRY", "weight": 101}]}, "weight"),
        ({"registries": [{"weight": 1}]}, "id"),
        ({"registries": "x"}, "registries"),
        ({"registries": [{"id": UNKNOWN}] * 1001}, "registries"),
        ({"model_policies": [{"registry_id": "REGISTRY"}]}, "not attached to this consumer"),
        ({"model_policies": [{"registry_id": "x"}]}, "model_policies[].registry_id must be a UUID"),
        ({"registries": [{"id": "REGISTRY", "model_policies": {"allowed": []}}]}, "must not be empty"),
        ({"registries": [{"id": "REGISTRY", "model_policies": {"allowed": [" "]}}]}, "blank"),
        ({"registries": [{"id": "REGISTRY", "model_policies": {"allowed": ["a", "a"]}}]}, "twice"),
        ({"registries": [{"id": "REGISTRY", "model_policies": {"allowed": ["a"], "default": "b"}}]}, "one of allowed"),
        (
            {
                "registries": [{"id": "REGISTRY", "model_policies": {"allowed": ["a"]}}],
                "model_policies": [{"registry_id": "REGISTRY"}],
            },
            "twice",
        ),
        ({"headers": {"a": "b"}}, "headers is not supported by this version"),
        ({"roles": [UNKNOWN]}, "roles is not supported by this version"),
        ({"toolkit": [{"tool": "*"}]}, "toolkit[0]: missing the required field `registry_id`"),
        ({"fail_mode": "closed"}, "toolkit, fail_mode and tool_search are for consumers of type MCP"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(
    api: Api, world: World, changes: dict[str, Any], says: str
) -> None:
    filled = _filled(changes, world.registry)
    await api.no("POST", f"{world.root}/consumers", {"name": "x", **filled}, code="validation_failed", says=says)
    assert (await api.ok("GET", f"{world.root}/consumers"))["total"] == 1
    before = await api.ok("GET", f"{world.root}/consumers/{world.consumer}")
    if "not attached" not in says:
        await api.no("PUT", f"{world.root}/consumers/{world.consumer}", filled, code="validation_failed")
    assert await api.ok("GET", f"{world.root}/consumers/{world.consumer}") == before


def _filled(value: Any, registry: str) -> Any:
    match value:
        case dict():
            return {key: _filled(each, registry) for key, each in value.items()}
        case list():
            return [_filled(each, registry) for each in value]
    return registry if value == "REGISTRY" else value


async def test_registries_keep_their_order_and_weights(api: Api, world: World) -> None:
    ids = [await add_registry(api, world, name) for name in "cab"]
    choices = [{"id": id_, "weight": weight} for id_, weight in zip(ids, (3, None, 7), strict=True)]
    made = await api.ok("POST", f"{world.root}/consumers", {"name": "x", "registries": choices})
    assert made["registry_ids"] == ids
    weights = {it["registry_id"]: it["weight"] for it in made["registry_weights"]}
    assert weights == dict(zip(ids, (3, 1, 7), strict=True))
    path = f"{world.root}/consumers/{made['id']}"
    turned = await api.ok("PUT", path, {"registries": [{"id": ids[2]}, {"id": ids[0].replace("-", "").upper()}]})
    assert turned["registry_ids"] == [ids[2], ids[0]]
    assert (await api.ok("PUT", path, {"registries": []}))["registry_ids"] == []


async def test_model_policies_follow_their_registries(api: Api, world: World) -> None:
    rules = {"allowed": ["gpt-4o", "gpt-4o-mini"], "default": "gpt-4o"}
    choice = {"id": world.registry, "model_policies": rules}
    made = await api.ok("POST", f"{world.root}/consumers", {"name": "x", "registries": [choice]})
    assert made["model_policies"] == [{"registry_id": world.registry, **rules}]
    path = f"{world.root}/consumers/{made['id']}"
    await api.no("PUT", path, {"registries": []}, code="validation_failed", says="not attached")
    await api.no("PUT", path, {"registries": [choice]}, code="validation_failed", says="top-level")
    other = await add_registry(api, world, "other")
    body = {"registries": [{"id": other}], "model_policies": [{"registry_id": other, "default": "m"}]}
    assert (await api.ok("PUT", path, body))["model_policies"] == [{"registry_id": other, "default": "m"}]
    assert "model_policies" not in await api.ok("PUT", path, {"model_policies": []})


async def test_put_changes_what_it_names(api: Api, world: World) -> None:
    path = f"{world.root}/consumers/{world.consumer}"
    before = await api.ok("GET", path)
    nothing = dict.fromkeys(("name", "type", "slug", "routing_mode", "active", "registries", "model_policies", "roles"))
    assert await api.ok("PUT", path, nothing) == before
    assert await api.ok("PUT", path, before) == before
    assert await api.ok("PUT", path, {"type": "", "routing_mode": "", "slug": "MY-APP", "fail_mode": ""}) == before
    after = await api.ok("PUT", path, {"active": False})
    assert after == before | {"active": False, "updated_at": after["updated_at"]}
    await api.no("PUT", path, {"slug": "other"}, code="validation_failed", says="slug cannot be changed")


async def test_names_are_unique(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/consumers", {"name": "b"})
    await api.no("POST", f"{world.root}/consumers", {"name": "b"}, code="already_exists", says="name")
    await api.no("PUT", f"{world.root}/consumers/{made['id']}", {"name": "my-app"}, code="already_exists")


async def test_attaching_twice_is_attaching_once(api: Api, world: World) -> None:
    path = f"{world.root}/consumers/{world.consumer}"
    for kind, id_ in (("auths", world.auth), ("policies", world.policy), ("registries", world.registry)):
        before = await api.ok("GET", path)
        answer = await api.call("POST", f"{path}/{kind}/{id_}")
        assert (answer.status, answer.text) == (204, "")
        assert await api.ok("GET", path) == before
    assert (await api.ok("GET", f"{world.root}/policies/{world.policy}"))["consumer_ids"] == [world.consumer]


async def test_detaching_twice_is_detaching_once(api: Api, world: World) -> None:
    path = f"{world.root}/consumers/{world.consumer}"
    for kind, id_ in (("auths", world.auth), ("policies", world.policy), ("registries", world.registry)):
        for _ in range(2):
            assert (await api.call("DELETE", f"{path}/{kind}/{id_}")).status == 204
    left = await api.ok("GET", path)
    assert (left["auth_ids"], left["registry_ids"]) == ([], [])
    assert (await api.ok("GET", f"{world.root}/policies/{world.policy}"))["consumer_ids"] == []


async def test_a_weight_stays_until_another_is_given(api: Api, world: World) -> None:
    path = f"{world.root}/consumers/{world.consumer}"
    attach = f"{path}/registries/{world.registry}"
    for body, weight in (({"weight": 7}, 7), ({}, 7), ({"weight": None}, 7), ({"weight": 100}, 100)):
        await api.ok("POST", attach, body)
        assert (await api.ok("GET", path))["registry_weights"][0]["weight"] == weight
    for wrong in (0, 101, "1", 1.5):
        await api.no("POST", attach, {"weight": wrong}, code="validation_failed", says="weight")
    other = await add_registry(api, world, "other")
    await api.ok("POST", f"{path}/registries/{other}")
    assert (await api.ok("GET", path))["registry_ids"] == [world.registry, other]


async def test_a_registry_with_a_model_policy_stays(api: Api, world: World) -> None:
    path = f"{world.root}/consumers/{world.consumer}"
    await api.ok("PUT", path, {"model_policies": [{"registry_id": world.registry, "allowed": ["m"]}]})
    answer = await api.no("DELETE", f"{path}/registries/{world.registry}", code="conflict", says="model_policies")
    assert answer.status == 409
    await api.ok("PUT", path, {"model_policies": []})
    await api.ok("DELETE", f"{path}/registries/{world.registry}")


async def test_delete_takes_the_links_with_it(api: Api, world: World) -> None:
    await api.ok("DELETE", f"{world.root}/consumers/{world.consumer}")
    await api.no("GET", f"{world.root}/consumers/{world.consumer}", code="not_found")
    assert (await api.ok("GET", f"{world.root}/policies/{world.policy}"))["consumer_ids"] == []
    await api.ok("GET", f"{world.root}/auths/{world.auth}")


async def test_lists_are_searched_filtered_and_sorted(api: Api, world: World) -> None:
    root = f"{world.root}/consumers"
    for name, active in (("Zeta", True), ("alpha", False), ("Émile", True)):
        await api.ok("POST", root, {"name": name, "active": active})
    for query, names in (
        ("sort=name", ["alpha", "my-app", "Zeta", "Émile"]),
        ("sort=name&order=DESC", ["Émile", "Zeta", "my-app", "alpha"]),
        ("sort=created_at&order=asc", ["my-app", "Zeta", "alpha", "Émile"]),
        ("", ["Émile", "alpha", "Zeta", "my-app"]),
        ("active=f&sort=&search=", ["alpha"]),
        ("active=True&sort=name", ["my-app", "Zeta", "Émile"]),
        ("type=LLM&name=ZET", ["Zeta"]),
        ("search=éMILE", ["Émile"]),
        ("search=zeta&name=alpha", ["Zeta"]),
        ("type=MCP", []),
        (f"auth_id={world.auth}", ["my-app"]),
        (f"auth_id={world.auth.replace('-', '').upper()}", ["my-app"]),
        (f"auth_id={UNKNOWN}", []),
    ):
        found = await api.ok("GET", f"{root}?{query}")
        assert [it["name"] for it in found["items"]] == names, query
        assert found["total"] == len(names)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page=0", "invalid_pagination"),
        ("page=-1", "invalid_pagination"),
        ("page=x", "invalid_pagination"),
        ("page=9999999999", "invalid_pagination"),
        ("size=0", "invalid_pagination"),
        ("size=1.5", "invalid_pagination"),
        ("size=%EF%BC%91", "invalid_pagination"),
        ("sort=slug", "invalid_sort"),
        ("sort=name&order=up", "invalid_sort"),
        ("order=asc", "invalid_sort"),
        ("active=yes", "invalid_filter"),
        ("type=llm", "invalid_filter"),
        ("auth_id=x", "invalid_filter"),
        ("search=%00", "invalid_filter"),
    ],
)
async def test_a_query_that_cannot_be_read(api: Api, world: World, query: str, code: str) -> None:
    answer = await api.no("GET", f"{world.root}/consumers?{query}", code=code, says=dict(parse_qsl(query)).popitem()[0])
    assert answer.status == 422


async def test_pages(api: Api, world: World) -> None:
    for number in range(6):
        await api.ok("POST", f"{world.root}/consumers", {"name": f"c{number}"})
    root = f"{world.root}/consumers?sort=name"
    seen = [it["name"] for page in (1, 2, 3) for it in (await api.ok("GET", f"{root}&size=3&page={page}"))["items"]]
    assert seen == ["c0", "c1", "c2", "c3", "c4", "c5", "my-app"]
    large = await api.ok("GET", f"{root}&size=1000")
    assert (large["size"], large["total"]) == (200, 7)
    past = await api.ok("GET", f"{root}&page=999999999")
    assert (past["items"], past["total"]) == ([], 7)
