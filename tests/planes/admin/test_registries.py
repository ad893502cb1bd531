"""Registries over HTTP: what a provider takes, what is secret in it, and what stays when it is changed."""

from typing import Any

import pytest

from trustgate.planes.admin.plane import AdminServices

from .api import UNKNOWN, Api
from .conftest import World

pytestmark = pytest.mark.anyio

KEY = "sk-a-long-enough-key-0001"
OTHER = "sk-another-long-key-0002"


def openai(name: str = "a", key: str = KEY, **more: Any) -> dict[str, Any]:
    """A body that makes a registry."""
    return {"name": name, "provider": "openai", "auth": {"type": "api_key", "api_key": {"api_key": key}}} | more


async def stored(services: AdminServices, world: World, registry_id: str) -> Any:
    """What is really stored of a registry."""
    async with services.store.read() as unit:
        return await unit.registries.get(registry_id, gateway_id=world.gateway)


async def test_it_is_read_back_masked(api: Api, world: World) -> None:
    api.hide(KEY)
    header = api.hide("Bearer a-header-secret-0003")
    options = {"base_url": "https://llm.example.com/v1", "headers": {"X-Team": header}, "timeouts": {"total": "90s"}}
    made = await api.ok("POST", f"{world.root}/registries", openai(provider_options=options, description="first"))
    assert made["auth"] == {"type": "api_key", "api_key": {"api_key": "***0001"}}
    assert made["provider_options"] == options | {"headers": {"X-Team": "***0003"}}
    assert (made["type"], made["enabled"], made["description"]) == ("LLM", True, "first")
    assert await api.ok("GET", f"{world.root}/registries/{made['id']}") == made


async def test_short_secrets_show_nothing(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/registries", openai(key=api.hide("8-chars!")))
    assert made["auth"]["api_key"] == {"api_key": "***"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"type": "MCP"}, "provider is not used by type MCP"),
        ({"type": "mcp"}, "provider is not used by type MCP"),
        ({"type": "FTP"}, "type must be LLM"),
        ({"provider": "foo"}, 'unsupported provider "foo": use one of anthropic, azure, bedrock'),
        ({"provider": None}, "provider"),
        ({"enabled": "yes"}, "enabled"),
        ({"provider_options": {"foo": 1, "bar": 2}}, "unknown field foo, bar"),
        ({"provider_options": {"timeouts": {"foo": "1s"}}}, "provider_options.timeouts: unknown field `foo`"),
        ({"provider_options": {"timeouts": {"total": "soon"}}}, "provider_options.timeouts.total"),
        ({"provider_options": {"base_url": "ftp://x"}}, "provider_options.base_url"),
        ({"provider_options": {"base_url": "http://"}}, "provider_options.base_url"),
        ({"provider_options": {"base_url": "http://[::1"}}, "provider_options.base_url"),
        ({"provider_options": {"base_url": "http://a:99999"}}, "provider_options.base_url"),
        ({"provider_options": {"base_url": "https://user:pass@x.com"}}, "credentials"),
        ({"provider_options": {"headers": {"a b": "c"}}}, "header"),
        ({"provider_options": {"headers": {"Host": "c"}}}, "Host"),
        ({"provider_options": {"headers": {"a": "c\r\nx: y"}}}, "visible ASCII"),
        ({"provider_options": []}, "provider_options"),
        ({"auth": None}, "auth is required by provider openai"),
        ({"auth": {"type": "none"}}, 'auth.type "none" is not taken'),
        ({"auth": {"type": "aws"}}, 'auth.type "aws" is not taken by provider openai'),
        ({"auth": {"type": "foo"}}, "auth.type"),
        ({"auth": {}}, "auth: missing the required field `type`"),
        ({"auth": {"type": "api_key"}}, "auth.api_key needs api_key"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": ""}}}, "auth.api_key needs api_key"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": 1}}}, "auth.api_key.api_key"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": "a\nb"}}}, "visible ASCII"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": "ключ"}}}, "visible ASCII"),
        ({"auth": {"type": "api_key", "api_key": {"header_name": "a"}}}, "both halves"),
        ({"auth": {"type": "api_key", "api_key": {"param_value": "a"}}}, "both halves"),
        ({"auth": {"type": "api_key", "api_key": {"header_name": "Host", "header_value": "a"}}}, "Host"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": "a", "param_location": "body"}}}, "param_location"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": "***0001"}}}, "auth.api_key.api_key is a masked secret"),
        ({"provider_options": {"headers": {"a": "***"}}}, "provider_options.headers.a is a masked secret"),
        ({"health_checks": {"threshold": 0}}, "health_checks.threshold"),
        ({"health_checks": {"intervall": 5}}, "health_checks: unknown field intervall"),
        ({"health_checks": {"interval": 0}}, "health_checks.interval"),
        ({"health_checks": {"path": "healthz"}}, "health_checks.path must begin with /"),
        ({"health_checks": {"path": "/a b"}}, "health_checks.path must begin with /"),
        ({"health_checks": {"headers": {"Host": "x"}}}, "health_checks.headers"),
        ({"health_checks": {"headers": {"a": "***"}}}, "health_checks.headers.a is a masked secret"),
        ({"max_concurrency": -1}, "max_concurrency"),
        ({"auth": {"type": "api_key", "api_key": {"keys": {}}}}, "auth.api_key needs api_key"),
        ({"auth": {"type": "api_key", "api_key": {"api_key": "a", "keys": {"b": "b"}}}}, "leave api_key"),
        ({"auth": {"type": "api_key", "api_key": {"keys": {"a": "\n"}}}}, "auth.api_key.keys.a must be visible"),
        ({"auth": {"type": "api_key", "api_key": {"keys": {"a b": "x"}}}}, "letters, digits, dots and dashes"),
        ({"auth": {"type": "api_key", "api_key": {"keys": {"a": "x"}, "key_weights": {"b": 1}}}}, "none of its keys"),
        ({"auth": {"type": "api_key", "api_key": {"keys": {"a": "x"}, "key_weights": {"a": 101}}}}, "1 to 100"),
        ({"mcp_target": {"url": "http://x"}}, "mcp_target is for type MCP"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(
    api: Api, world: World, changes: dict[str, Any], says: str
) -> None:
    await api.no("POST", f"{world.root}/registries", openai("other") | changes, code="validation_failed", says=says)
    assert (await api.ok("GET", f"{world.root}/registries"))["total"] == 1


async def test_unknown_fields_are_ignored_and_empty_later_ones_say_nothing(api: Api, world: World) -> None:
    body = openai(weight=3)
    assert "weight" not in await api.ok("POST", f"{world.root}/registries", body)


async def test_each_provider_takes_its_own(api: Api, world: World) -> None:
    root = f"{world.root}/registries"
    echo = await api.ok("POST", root, {"name": "echo", "provider": "echo", "provider_options": {"latency": "5ms"}})
    assert echo["auth"] == {"type": "none"}
    own = {"name": "own", "provider": "openai_compatible"}
    await api.no("POST", root, own, code="validation_failed", says="base_url")
    options = {"base_url": "http://vllm:8000/v1"}
    made = await api.ok("POST", root, own | {"provider_options": options, "auth": {"type": "none"}})
    assert made["provider_options"] == options
    pair = {"param_name": "key", "param_value": api.hide("a-secret-parameter")}
    auth = {"type": "api_key", "api_key": pair}
    made = await api.ok("POST", root, own | {"name": "q", "provider_options": options, "auth": auth})
    assert made["auth"]["api_key"] == {"param_name": "key", "param_value": "***eter"}


async def test_names_are_unique_in_a_gateway(api: Api, world: World) -> None:
    root = f"{world.root}/registries"
    made = await api.ok("POST", root, openai("a"))
    await api.no("POST", root, openai("a"), code="already_exists", says="registry")
    await api.no("PUT", f"{root}/{made['id']}", {"name": "primary"}, code="already_exists")
    other = await api.ok("POST", "/v1/gateways", {"name": "other"})
    await api.ok("POST", f"/v1/gateways/{other['id']}/registries", openai("a"))


async def test_put_changes_what_it_names(api: Api, world: World) -> None:
    path = f"{world.root}/registries/{world.registry}"
    before = await api.ok("GET", path)
    assert await api.ok("PUT", path, dict.fromkeys(("name", "enabled", "provider", "auth", "description"))) == before
    assert await api.ok("PUT", path, before) == before  # what was read can be written back, masked as it is
    after = await api.ok("PUT", path, {"enabled": False, "description": "off"})
    assert after == before | {"enabled": False, "description": "off", "updated_at": after["updated_at"]}


async def test_secrets_stay_unless_they_are_sent(api: Api, world: World, services: AdminServices) -> None:
    api.hide(KEY), api.hide(OTHER)
    headers = {"X-A": api.hide("the-secret-of-a"), "X-B": api.hide("the-secret-of-b")}
    made = await api.ok("POST", f"{world.root}/registries", openai(provider_options={"headers": headers}))
    path = f"{world.root}/registries/{made['id']}"
    for sent in ("***0001", "***", "", None):
        await api.ok("PUT", path, {"auth": {"type": "api_key", "api_key": {"api_key": sent}}})
        assert (await stored(services, world, made["id"])).auth.api_key.api_key == KEY
    await api.ok("PUT", path, {"auth": {"type": "api_key"}})
    assert (await stored(services, world, made["id"])).auth.api_key.api_key == KEY
    await api.ok("PUT", path, {"provider_options": {"headers": {"X-A": "***of-a", "X-C": "new"}}})
    kept = (await stored(services, world, made["id"])).provider_options
    assert kept == {"headers": {"X-A": headers["X-A"], "X-C": "new"}}
    await api.no("PUT", path, {"provider_options": {"headers": {"X-Z": "***"}}}, code="validation_failed", says="X-Z")
    after = await api.ok("PUT", path, openai(key=OTHER))
    assert after["auth"]["api_key"]["api_key"] == "***0002"
    assert (await stored(services, world, made["id"])).auth.api_key.api_key == OTHER


async def test_a_secret_stays_only_for_the_same_use(api: Api, world: World, services: AdminServices) -> None:
    path = f"{world.root}/registries/{world.registry}"
    masked = {"type": "api_key", "api_key": {"header_name": "x-key", "header_value": "***"}}
    await api.no("PUT", path, {"auth": masked}, code="validation_failed", says="masked")
    pair = {"header_name": "x-key", "header_value": api.hide("a-header-secret")}
    after = await api.ok("PUT", path, {"auth": {"type": "api_key", "api_key": pair}})
    assert after["auth"]["api_key"] == {"header_name": "x-key", "header_value": "***cret"}
    assert (await stored(services, world, world.registry)).auth.api_key.api_key == ""
    same = {"type": "api_key", "api_key": {"header_name": "x-key"}}
    assert (await api.ok("PUT", path, {"auth": same}))["auth"] == after["auth"]
    other = {"type": "api_key", "api_key": {"header_name": "x-other"}}
    await api.no("PUT", path, {"auth": other}, code="validation_failed", says="both halves")


async def test_another_provider_is_checked_as_a_whole(api: Api, world: World) -> None:
    path = f"{world.root}/registries/{world.registry}"
    await api.no("PUT", path, {"provider": "echo"}, code="validation_failed", says="send auth as well")
    await api.no("PUT", path, {"provider": "openai_compatible"}, code="validation_failed", says="base_url")
    await api.no("PUT", path, {"type": "MCP"}, code="validation_failed", says="type cannot be changed")
    after = await api.ok("PUT", path, {"provider": "echo", "auth": {"type": "none"}, "type": "llm"})
    assert (after["provider"], after["auth"]) == ("echo", {"type": "none"})


async def test_delete_detaches_and_forgets_its_models(api: Api, world: World) -> None:
    other = await api.ok("POST", f"{world.root}/registries", openai("other"))
    consumer = f"{world.root}/consumers/{world.consumer}"
    rules = [{"registry_id": it, "allowed": ["m"]} for it in (world.registry, other["id"])]
    both = [{"id": world.registry}, {"id": other["id"]}]
    await api.ok("PUT", consumer, {"registries": both, "model_policies": rules})
    await api.ok("DELETE", f"{world.root}/registries/{world.registry}")
    left = await api.ok("GET", consumer)
    assert left["registry_ids"] == [other["id"]]
    assert [rule["registry_id"] for rule in left["model_policies"]] == [other["id"]]
    await api.no("DELETE", f"{world.root}/registries/{world.registry}", code="not_found")
    await api.ok("PUT", consumer, {"name": "still editable"})


async def test_lists(api: Api, world: World) -> None:
    for name in ("Alpha", "beta", "100%"):
        await api.ok("POST", f"{world.root}/registries", openai(name))
    page = await api.ok("GET", f"{world.root}/registries?size=2&sort=x&order=y")
    assert ([it["name"] for it in page["items"]], page["total"]) == (["100%", "beta"], 4)
    for search, names in (("ALP", ["Alpha"]), ("%", ["100%"]), ("_", []), ("a", ["beta", "Alpha", "primary"])):
        found = await api.call("GET", f"{world.root}/registries?name={search.replace('%', '%25')}")
        assert [it["name"] for it in found.json["items"]] == names


async def test_the_grouped_view(api: Api, world: World) -> None:
    root = f"{world.root}/registries"
    await api.ok("POST", root, {"name": "e2", "provider": "echo"})
    await api.ok("POST", root, {"name": "E1", "provider": "echo"})
    view = await api.ok("GET", f"{root}?view=grouped&type=LLM")
    assert [group["provider"] for group in view["groups"]] == ["echo", "openai"]
    assert [it["name"] for it in view["groups"][0]["instances"]] == ["E1", "e2"]
    assert (view["view"], view["total_groups"], view["total_instances"]) == ("grouped", 2, 3)
    for misuse in (
        "view=grouped",
        "type=LLM",
        "view=flat&type=LLM",
        "view=grouped&type=MCP",
        "view=grouped&type=LLM&page=2",
    ):
        answer = await api.no("GET", f"{root}?{misuse}", code="invalid_query")
        assert answer.status == 400


async def test_the_grouped_view_has_an_end(api: Api, world: World) -> None:
    for number in range(200):
        await api.ok("POST", f"{world.root}/registries", {"name": f"echo {number}", "provider": "echo"})
    await api.no("GET", f"{world.root}/registries?view=grouped&type=LLM", code="result_too_large", says="has 201")


async def test_unknown_ones(api: Api, world: World) -> None:
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        answer = await api.no(method, f"{world.root}/registries/{UNKNOWN}", body, code="not_found")
        assert answer.json == {"error": "not_found"}


async def test_several_keys_are_secrets_by_name(api: Api, world: World) -> None:
    keys = {"one": "sk-one-secret-0001", "two": "sk-two-secret-0002"}
    body = openai("keyed") | {"auth": {"type": "api_key", "api_key": {"keys": keys, "key_weights": {"one": 3}}}}
    made = await api.ok("POST", f"{world.root}/registries", body)
    shown = made["auth"]["api_key"]
    assert shown == {"keys": {"one": "***0001", "two": "***0002"}, "key_weights": {"one": 3}}
    masked = {"auth": {"type": "api_key", "api_key": {"keys": {"two": "***0002", "three": "sk-three-secret-3"}}}}
    after = await api.ok("PUT", f"{world.root}/registries/{made['id']}", masked)
    assert after["auth"]["api_key"] == {"keys": {"two": "***0002", "three": "***et-3"}}


async def test_health_checks_are_read_back_with_their_secrets_masked(api: Api, world: World) -> None:
    checks = {"path": "/healthz", "headers": {"x-probe": "probe-secret-0001"}, "interval": 5}
    made = await api.ok("POST", f"{world.root}/registries", openai("checked") | {"health_checks": checks})
    assert made["health_checks"] == {
        "passive": True,
        "active": False,
        "path": "/healthz",
        "headers": {"x-probe": "***0001"},
        "threshold": 3,
        "healthy_threshold": 1,
        "interval": 5,
        "timeout": 5,
    }
    again = {"health_checks": {"path": "/healthz", "headers": {"x-probe": "***0001"}, "passive": False}}
    after = await api.ok("PUT", f"{world.root}/registries/{made['id']}", again)
    assert (after["health_checks"]["headers"], after["health_checks"]["passive"]) == ({"x-probe": "***0001"}, False)
    elsewhere = {"health_checks": {"path": "/other", "headers": {"x-probe": "***0001"}}}
    says = "health_checks.headers.x-probe is a masked secret"
    await api.no("PUT", f"{world.root}/registries/{made['id']}", elsewhere, code="validation_failed", says=says)
