"""Policies over HTTP: what the plugin's settings type takes, where and how it runs, and what stays secret in it."""

from typing import Any

import pytest

from trustgate.planes.admin.plane import AdminServices

from .api import Api
from .conftest import World

pytestmark = pytest.mark.anyio

SETTINGS = {"limit": 10, "window": "1m"}
KEY = "guard-key-long-enough-0001"


def limiter(name: str = "a", **more: Any) -> dict[str, Any]:
    """A body that makes a policy."""
    return {"name": name, "slug": "rate_limiter", "settings": SETTINGS} | more


def guard(name: str = "g", **settings: Any) -> dict[str, Any]:
    """A body that makes a policy with secrets."""
    return {"name": name, "slug": "guard", "settings": {"api_key": KEY, **settings}}


async def stored(services: AdminServices, world: World, policy_id: str) -> Any:
    """The settings as they are really stored."""
    async with services.store.read() as unit:
        policy = await unit.policies.get(policy_id, gateway_id=world.gateway)
    assert policy is not None
    return policy.settings


async def test_what_a_policy_is_without_being_told(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/policies", limiter())
    expected = {
        "consumer_ids": [],
        "slug": "rate_limiter",
        "enabled": True,
        "global": False,
        "priority": 0,
        "parallel": True,
        "settings": SETTINGS,
        "stages": ["pre_request", "pre_call", "post_response"],
        "mode": "enforce",
    }
    assert {key: made[key] for key in expected} == expected
    assert not {"on_error", "timeout", "description"} & made.keys()
    assert await api.ok("GET", f"{world.root}/policies/{made['id']}") == made


@pytest.mark.parametrize(
    ("alias", "slug", "settings"),
    [("ratelimit", "rate_limiter", SETTINGS), ("requestsize", "request_size_limiter", {"allowed_payload_size": 1})],
)
async def test_short_names_are_stored_as_the_full_ones(
    api: Api, world: World, alias: str, slug: str, settings: dict[str, Any]
) -> None:
    made = await api.ok("POST", f"{world.root}/policies", {"name": "a", "slug": alias, "settings": settings})
    assert made["slug"] == slug


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": " "}, "name"),
        ({"slug": "nonsense"}, 'no plugin is called "nonsense": use one of guard, rate_limiter, request_size_limiter'),
        ({"slug": "semanticcache"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"description": "x" * 1001}, "description"),
        ({"enabled": 1}, "enabled"),
        ({"priority": -1}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"priority": 2**40}, "priority"),
        ({"parallel": "x"}, "parallel"),
        ({"settings": {}}, "settings: `limit` and `window`"),
        ({"settings": []}, "settings"),
        ({"settings": SETTINGS | {"foo": 1, "bar": 2}}, "unknown field foo, bar"),
        ({"settings": SETTINGS | {"limit": "10"}}, "settings.limit: Expected `int | null`, got `str`"),
        ({"settings": SETTINGS | {"limit": 0}}, "settings.limit"),
        ({"settings": SETTINGS | {"limit": 2**70}}, "settings.limit"),
        ({"settings": SETTINGS | {"window": "soon"}}, "settings.window"),
        ({"settings": SETTINGS | {"window": "1ms"}}, "window"),
        ({"stages": ["post_request"]}, "post_request does not exist here"),
        ({"stages": ["pre_response"]}, 'rate_limiter has no stage "pre_response": use some of pre_request'),
        ({"stages": ["x"]}, "stages"),
        ({"stages": "pre_request"}, "stages"),
        ({"mode": "shadow"}, 'rate_limiter has no mode "shadow": use one of enforce, throttle, observe'),
        ({"on_error": "shrug"}, "on_error must be deny or allow"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": "0s"}, "timeout"),
        ({"timeout": "25h"}, "timeout"),
        ({"timeout": "9" * 40 + "d"}, "timeout"),
        ({"timeout": 5}, "timeout"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(
    api: Api, world: World, changes: dict[str, Any], says: str
) -> None:
    await api.no("POST", f"{world.root}/policies", limiter("b") | changes, code="validation_failed", says=says)
    path = f"{world.root}/policies/{world.policy}"
    before = await api.ok("GET", path)
    await api.no("PUT", path, changes, code="validation_failed", says=says)
    assert await api.ok("GET", path) == before
    assert (await api.ok("GET", f"{world.root}/policies"))["total"] == 1


async def test_a_plugin_says_which_modes_it_has(api: Api, world: World) -> None:
    body = guard() | {"mode": "throttle"}
    await api.no("POST", f"{world.root}/policies", body, code="validation_failed", says="enforce, observe")


async def test_stages_are_some_of_the_plugins_in_its_order(api: Api, world: World) -> None:
    api.hide(KEY)
    made = await api.ok("POST", f"{world.root}/policies", guard() | {"stages": ["pre_response", "pre_request"]})
    assert made["stages"] == ["pre_request", "pre_response"]
    path = f"{world.root}/policies/{made['id']}"
    assert (await api.ok("PUT", path, {"stages": ["pre_response"]}))["stages"] == ["pre_response"]
    assert (await api.ok("PUT", path, {"name": "other"}))["stages"] == ["pre_response"]
    assert (await api.ok("PUT", path, {"stages": []}))["stages"] == ["pre_request", "pre_response"]


@pytest.mark.parametrize(
    ("given", "shown"), [("500ms", "500ms"), ("1m30s", "90s"), ("1.5s", "1500ms"), ("24h", "86400s")]
)
async def test_a_timeout_is_a_duration(api: Api, world: World, given: str, shown: str) -> None:
    path = f"{world.root}/policies/{world.policy}"
    assert (await api.ok("PUT", path, {"timeout": given, "on_error": "deny"}))["timeout"] == shown
    assert "timeout" not in await api.ok("PUT", path, {"timeout": "", "on_error": ""})


async def test_put_changes_what_it_names(api: Api, world: World) -> None:
    path = f"{world.root}/policies/{world.policy}"
    before = await api.ok("GET", path)
    nothing = dict.fromkeys(
        ("name", "slug", "enabled", "priority", "parallel", "settings", "stages", "mode", "timeout")
    )
    assert await api.ok("PUT", path, nothing) == before
    assert await api.ok("PUT", path, before) == before
    after = await api.ok("PUT", path, {"enabled": False, "parallel": False, "mode": "throttle", "priority": 7})
    changed = {"enabled": False, "parallel": False, "mode": "throttle", "priority": 7}
    assert after == before | changed | {"updated_at": after["updated_at"]}
    replaced = await api.ok("PUT", path, {"settings": {"limit": 1, "window": "2s"}})
    assert replaced["settings"] == {"limit": 1, "window": "2s"}
    await api.no("PUT", path, {"settings": {"limit": 1}}, code="validation_failed", says="window")


async def test_another_plugin_needs_its_own_settings(api: Api, world: World) -> None:
    path = f"{world.root}/policies/{world.policy}"
    await api.no("PUT", path, {"slug": "requestsize"}, code="validation_failed", says="allowed_payload_size")
    after = await api.ok("PUT", path, {"slug": "requestsize", "settings": {"allowed_payload_size": 1}})
    assert (after["slug"], after["settings"]) == ("request_size_limiter", {"allowed_payload_size": 1})


async def test_names_are_unique(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/policies", limiter("b"))
    await api.no("POST", f"{world.root}/policies", limiter("b"), code="already_exists", says="name")
    await api.no("PUT", f"{world.root}/policies/{made['id']}", {"name": "limit"}, code="already_exists")


async def test_secrets_are_masked_at_every_depth(api: Api, world: World) -> None:
    secrets = {name: api.hide(f"a-secret-of-{name}") for name in ("header", "main", "first", "login")}
    api.hide(KEY)
    body = guard(
        headers={"x-a": secrets["header"], "x-b": ""},
        main={"url": "http://main", "token": secrets["main"]},
        others=[{"url": "http://first", "token": secrets["first"]}, {"url": "http://second"}],
        login={"type": "password", "user": "me", "password": secrets["login"]},
        categories=["a"],
    )
    made = await api.ok("POST", f"{world.root}/policies", body)
    assert made["settings"] == {
        "api_key": "***0001",
        "headers": {"x-a": "***ader"},
        "main": {"url": "http://main", "token": "***main"},
        "others": [{"url": "http://first", "token": "***irst"}, {"url": "http://second"}],
        "login": {"type": "password", "user": "me", "password": "***ogin"},
        "categories": ["a"],
    }


async def test_secrets_stay_unless_they_are_sent(api: Api, world: World, services: AdminServices) -> None:
    body = guard(
        main={"url": "http://main", "token": api.hide("a-secret-of-main")},
        others=[{"url": f"http://{n}", "token": api.hide(f"secret-number-{n}")} for n in range(3)],
    )
    made = await api.ok("POST", f"{world.root}/policies", body)
    api.hide(KEY)
    path = f"{world.root}/policies/{made['id']}"
    await api.ok("PUT", path, {"settings": made["settings"]})
    assert await stored(services, world, made["id"]) == body["settings"]
    turned = made["settings"] | {"others": list(reversed(made["settings"]["others"]))}
    await api.ok("PUT", path, {"settings": turned})
    assert (await stored(services, world, made["id"]))["others"] == list(reversed(body["settings"]["others"]))
    await api.ok("PUT", path, {"settings": {"level": "high", "main": {"url": "http://new", "token": ""}}})
    after = await stored(services, world, made["id"])
    assert after == {"api_key": KEY, "level": "high", "main": {"url": "http://new", "token": "a-secret-of-main"}}
    await api.ok("PUT", path, {"enabled": False})
    assert await stored(services, world, made["id"]) == after


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"api_key": "***0001"}, "settings.api_key is a masked secret"),
        ({"headers": {"x": "***"}}, "settings.headers.x is a masked secret"),
        ({"others": [{"url": "a"}, {"url": "b", "token": "***"}]}, "settings.others[1].token is a masked secret"),
        ({"main": {"url": "a", "token": "***"}}, "settings.main.token"),
        ({"login": {"type": "bearer", "bearer": "***"}}, "settings.login.bearer"),
    ],
)
async def test_a_masked_secret_is_no_new_one(api: Api, world: World, settings: dict[str, Any], says: str) -> None:
    await api.no("POST", f"{world.root}/policies", guard(**settings), code="validation_failed", says=says)
    if "api_key" not in settings:
        made = await api.ok("POST", f"{world.root}/policies", guard())
        path = f"{world.root}/policies/{made['id']}"
        await api.no("PUT", path, {"settings": settings}, code="validation_failed", says=says)


async def test_rules_between_fields_hold_for_the_whole_result(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/policies", guard(level="high", threshold=0.9))
    path = f"{world.root}/policies/{made['id']}"
    body = {"settings": {"level": "high", "threshold": 0.1}}
    await api.no("PUT", path, body, code="validation_failed", says="threshold must be at least 0.5")


async def test_a_plugin_that_is_gone_shows_no_text_at_all(api: Api, world: World, services: AdminServices) -> None:
    made = await api.ok("POST", f"{world.root}/policies", guard(main={"url": "http://main", "token": "t"}, size=3))
    async with services.store.unit() as unit:
        policy = await unit.policies.get(made["id"])
        assert policy is not None
        from msgspec.structs import replace  # noqa: PLC0415 - only here

        await unit.policies.replace(replace(policy, slug="uninstalled"))
    api.hide(KEY)
    shown = await api.ok("GET", f"{world.root}/policies/{made['id']}")
    assert shown["settings"] == {"api_key": "***0001", "main": {"url": "***main", "token": "***"}, "size": 3}
    assert shown["stages"] == []
    await api.no(
        "PUT", f"{world.root}/policies/{made['id']}", {"name": "x"}, code="validation_failed", says="uninstalled"
    )
    await api.ok("DELETE", f"{world.root}/policies/{made['id']}")


async def test_global_is_switched_by_its_own_routes(api: Api, world: World) -> None:
    path = f"{world.root}/policies/{world.policy}"
    for method, expected in (("POST", True), ("POST", True), ("DELETE", False), ("DELETE", False)):
        answer = await api.call(method, f"{path}/global")
        assert (answer.status, answer.json["global"]) == (200, expected)
        assert answer.json["consumer_ids"] == [world.consumer]  # links survive
    made = await api.ok("POST", f"{world.root}/policies", limiter("b", **{"global": True, "consumer_ids": ["x"]}))
    assert (made["global"], made["consumer_ids"]) == (False, [])


async def test_a_copy_has_the_next_free_name_and_no_links(api: Api, world: World, services: AdminServices) -> None:
    api.hide(KEY)
    origin = await api.ok("POST", f"{world.root}/policies", guard("Guard") | {"enabled": False, "mode": "observe"})
    path = f"{world.root}/policies/{origin['id']}"
    await api.ok("POST", f"{path}/global")
    answer = await api.call("POST", f"{path}/duplicate")
    assert answer.status == 201
    copy = answer.json
    assert copy == origin | {key: copy[key] for key in ("id", "created_at", "updated_at")} | {"name": "Guard 2"}
    assert await stored(services, world, copy["id"]) == {"api_key": KEY}
    assert (await api.ok("POST", f"{path}/duplicate"))["name"] == "Guard 3"
    assert (await api.ok("POST", f"{world.root}/policies/{copy['id']}/duplicate"))["name"] == "Guard 4"
    long = await api.ok("POST", f"{world.root}/policies", limiter("ä" * 127))
    copied = await api.ok("POST", f"{world.root}/policies/{long['id']}/duplicate")
    assert copied["name"] == "ä" * 126 + " 2"


async def test_lists_are_searched_filtered_and_sorted(api: Api, world: World) -> None:
    root = f"{world.root}/policies"
    await api.ok("POST", root, limiter("Zeta", priority=5, enabled=False))
    size = {"name": "size", "slug": "requestsize", "settings": {"allowed_payload_size": 1}, "mode": "observe"}
    made = await api.ok("POST", root, size)
    await api.ok("POST", f"{root}/{made['id']}/global")
    await api.ok("POST", root, guard("alpha") | {"priority": 9})
    for query, names in (
        ("sort=name", ["alpha", "limit", "size", "Zeta"]),
        ("sort=priority&order=desc&size=2", ["alpha", "Zeta"]),
        ("enabled=false", ["Zeta"]),
        ("global=t", ["size"]),
        ("global=0&sort=name", ["alpha", "limit", "Zeta"]),
        ("mode=observe", ["size"]),
        ("search=RATE_LIM&sort=name", ["limit", "Zeta"]),
        ("type=guard,requestsize&sort=name", ["alpha", "size"]),
        ("type=guard&type=rate_limiter&sort=name", ["alpha", "limit", "Zeta"]),
        ("type=nonsense", []),
        ("category=Guardrails", ["alpha"]),
        ("category=Guardrails,Traffic%20Control&sort=name", ["alpha", "limit", "size", "Zeta"]),
        ("category=Guardrails&type=rate_limiter", []),
        ("category=Nonsense", []),
    ):
        found = await api.ok("GET", f"{root}?{query}")
        assert [it["name"] for it in found["items"]] == names, query
    for query, code in (("mode=x", "invalid_filter"), ("global=x", "invalid_filter"), ("sort=mode", "invalid_sort")):
        await api.no("GET", f"{root}?{query}", code=code)
    await api.no("GET", f"{root}?type={','.join('a' * 101)}", code="invalid_filter")


async def test_delete(api: Api, world: World) -> None:
    await api.ok("DELETE", f"{world.root}/policies/{world.policy}")
    await api.no("GET", f"{world.root}/policies/{world.policy}", code="not_found")
    await api.ok("DELETE", f"{world.root}/consumers/{world.consumer}")
