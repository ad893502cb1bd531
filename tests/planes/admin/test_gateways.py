"""Gateways over HTTP: made from a name, bound by what their tenant bought, gone with all they hold."""

import pytest

from .api import Api, token
from .conftest import World, make_world

pytestmark = pytest.mark.anyio

BOUGHT = {"tier": "standard", "burst_per_min": 60, "quota_per_month": 0, "max_instances": 2}


async def test_a_name_and_a_slug_are_enough(api: Api) -> None:
    made = await api.ok("POST", "/v1/gateways", {"name": "My Gateway", "slug": " Demo "})
    assert made["slug"] == "demo"
    assert made["name"] == "My Gateway"
    assert made["status"] == "active"
    assert made["hosts"] == {"proxy": "demo.llm.localhost"}
    assert made["session_config"]["enabled"] is True
    assert "entitlements" not in made
    assert await api.ok("GET", f"/v1/gateways/{made['id']}") == made


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        ({"name": "My Gateway"}, "my-gateway"),
        ({"name": "Crème brûlée & Söhne!"}, "creme-brulee-sohne"),
        ({"name": "x" * 100}, "x" * 60),
        ({"name": "a", "slug": ""}, "a"),
        ({"name": "a", "slug": None}, "a"),
    ],
)
async def test_a_slug_is_made_from_the_name(api: Api, body: dict[str, str], slug: str) -> None:
    assert (await api.ok("POST", "/v1/gateways", body))["slug"] == slug


async def test_a_slug_that_is_taken_gets_a_number(api: Api) -> None:
    slugs = [(await api.ok("POST", "/v1/gateways", {"name": "My Gateway"}))["slug"] for _ in range(11)]
    assert slugs[:3] == ["my-gateway", "my-gateway-2", "my-gateway-3"]
    assert slugs[10].startswith("gw-")


@pytest.mark.parametrize("body", [{}, {"name": "日本"}])
async def test_without_anything_to_make_it_from_it_is_random(api: Api, body: dict[str, str]) -> None:
    made = await api.ok("POST", "/v1/gateways", body)
    assert made["slug"].startswith("gw-")
    assert len(made["slug"]) == 15
    assert made["name"] == body.get("name", made["slug"])


async def test_a_slug_is_given_out_once(api: Api) -> None:
    await api.ok("POST", "/v1/gateways", {"slug": "demo"})
    answer = await api.no("POST", "/v1/gateways", {"slug": "demo"}, code="already_exists", says="slug is already taken")
    assert answer.status == 409
    other = await api.ok("POST", "/v1/gateways", {"slug": "other"})
    await api.no("PUT", f"/v1/gateways/{other['id']}", {"slug": "demo"}, code="already_exists")
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 2


async def test_a_domain_is_given_out_once_and_an_empty_one_takes_it_away(api: Api) -> None:
    first = await api.ok("POST", "/v1/gateways", {"slug": "a", "domain": "LLM.Example.com"})
    assert first["domain"] == "llm.example.com"
    assert first["hosts"]["proxy"] == "llm.example.com"
    await api.no(
        "POST", "/v1/gateways", {"slug": "b", "domain": "llm.example.com"}, code="already_exists", says="domain"
    )
    cleared = await api.ok("PUT", f"/v1/gateways/{first['id']}", {"domain": ""})
    assert "domain" not in cleared
    await api.ok("POST", "/v1/gateways", {"slug": "b", "domain": "llm.example.com"})
    await api.ok("POST", "/v1/gateways", {"slug": "c"})  # two without one do not collide


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "ä" * 128),
        ("name", 7),
        ("slug", "-a"),
        ("slug", "a-"),
        ("slug", "a_b"),
        ("slug", "x" * 64),
        ("domain", "localhost"),
        ("domain", "http://example.com"),
        ("domain", "example.com:80"),
        ("domain", "*.example.com"),
        ("domain", ".example.com"),
        ("domain", "example.com."),
        ("domain", "10.0.0.1"),
        ("domain", "a.b/c"),
        ("domain", "llm.localhost"),
        ("domain", "victim.llm.localhost"),
        ("tenant_id", "x" * 256),
        ("metadata", {"a": 1}),
        ("metadata", []),
        ("session_config", {"header_name": "a b"}),
        ("session_config", {"header_name": "Content-Length"}),
        ("session_config", {"enabled": "yes"}),
        ("entitlements", {"tier": "free"}),
        ("entitlements", {**BOUGHT, "tier": "gold"}),
        ("entitlements", {**BOUGHT, "burst_per_min": 0}),
        ("entitlements", {**BOUGHT, "quota_per_month": -1}),
        ("entitlements", {**BOUGHT, "max_instances": 2**63}),
        ("telemetry", {"exporters": [{"name": "udp"}]}),
        ("client_tls", {"a": 1}),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(api: Api, field: str, value: object) -> None:
    answer = await api.no("POST", "/v1/gateways", {field: value}, code="validation_failed", says=field)
    assert answer.status == 422
    assert "validation failed" in answer.message
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 0


async def test_put_changes_what_it_names(api: Api, world: World) -> None:
    before = await api.ok("PUT", world.root, {"metadata": {"team": "a"}, "name": "A", "entitlements": BOUGHT})
    for body in ({}, {"name": None, "slug": None, "domain": None, "metadata": None, "session_config": None}):
        assert await api.ok("PUT", world.root, body) == before
    after = await api.ok("PUT", world.root, {"status": "inactive"})
    assert after == before | {"status": "inactive", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert (await api.ok("PUT", world.root, {"status": ""}))["status"] == "active"
    replaced = await api.ok("PUT", world.root, {"metadata": {"b": "c", "tenant_id": "evil"}})
    assert replaced["metadata"] == {"b": "c"}
    session = await api.ok("PUT", world.root, {"session_config": {"enabled": False, "body_param_name": "sid"}})
    assert session["session_config"] == {"enabled": False, "header_name": "X-Session-Id", "body_param_name": "sid"}


async def test_put_refuses_what_cannot_change(api: Api, world: World) -> None:
    await api.no("PUT", world.root, {"slug": ""}, code="validation_failed", says="slug")
    await api.no("PUT", world.root, {"status": "asleep"}, code="validation_failed", says="status")
    await api.no("PUT", world.root, {"tenant_id": "other"}, code="validation_failed", says="tenant_id")


async def test_an_unchanged_put_makes_no_revision(api: Api, world: World) -> None:
    first = await api.call("PUT", world.root, {"name": "A"})
    again = await api.call("PUT", world.root, {"name": "A"})
    assert first.headers["x-ag-revision"] == again.headers["x-ag-revision"]


async def test_delete_takes_everything_with_it(api: Api, world: World) -> None:
    answer = await api.call("DELETE", world.root)
    assert (answer.status, answer.text) == (204, "")
    for path in ("", "/registries", f"/registries/{world.registry}", f"/consumers/{world.consumer}", "/policies"):
        await api.no("GET", world.root + path, code="not_found")
    again = await make_world(api, "demo")
    assert again.gateway != world.gateway


async def test_the_list_is_paged_newest_first_and_filtered(api: Api) -> None:
    for number in range(5):
        await api.ok("POST", "/v1/gateways", {"slug": f"gw-{number}"})
    page = await api.ok("GET", "/v1/gateways?page=2&size=2&sort=nonsense")
    assert [item["slug"] for item in page["items"]] == ["gw-2", "gw-1"]
    assert {key: page[key] for key in ("page", "size", "total")} == {"page": 2, "size": 2, "total": 5}
    found = await api.ok("GET", "/v1/gateways?slug=GW-4")
    assert [item["slug"] for item in found["items"]] == ["gw-4"]


async def test_a_tenant_sees_its_own(api: Api) -> None:
    mine, theirs = token(tenant_id="mine"), token(tenant_id="theirs")
    made = await api.ok("POST", "/v1/gateways", {"name": "A", "metadata": {"team_id": "x"}}, token=mine)
    assert made["tenant_id"] == "mine"
    assert made["metadata"] == {"tenant_id": "mine"}
    await api.ok("POST", "/v1/gateways", {"name": "B"}, token=theirs)
    await api.ok("POST", "/v1/gateways", {"name": "C"})
    assert [it["name"] for it in (await api.ok("GET", "/v1/gateways", token=mine))["items"]] == ["A"]
    assert (await api.ok("GET", "/v1/gateways"))["total"] == 3
    assert (await api.ok("GET", "/v1/gateways?slug=b", token=mine))["total"] == 0


async def test_a_tenant_cannot_be_another_or_buy_for_itself(api: Api) -> None:
    mine = token(tenant_id="mine")
    await api.no(
        "POST", "/v1/gateways", {"tenant_id": "theirs"}, code="validation_failed", says="tenant_id", token=mine
    )
    await api.no(
        "POST", "/v1/gateways", {"entitlements": BOUGHT}, code="validation_failed", says="platform", token=mine
    )
    made = await api.ok("POST", "/v1/gateways", {"tenant_id": "mine"}, token=mine)
    path = f"/v1/gateways/{made['id']}"
    await api.no("PUT", path, {"entitlements": BOUGHT}, code="validation_failed", says="platform", token=mine)


async def test_a_tenants_next_gateway_is_bound_by_what_it_bought(api: Api) -> None:
    mine = token(tenant_id="mine")
    first = await api.ok("POST", "/v1/gateways", {"tenant_id": "mine", "entitlements": BOUGHT | {"tier": " Standard "}})
    assert first["entitlements"] == BOUGHT
    second = await api.ok("POST", "/v1/gateways", {"name": "B"}, token=mine)
    assert second["entitlements"] == BOUGHT
    answer = await api.no("POST", "/v1/gateways", {"name": "C"}, code="conflict", says="instance limit", token=mine)
    assert answer.status == 409
    await api.ok("POST", "/v1/gateways", {"tenant_id": "other", "entitlements": BOUGHT})


async def test_what_was_bought_cannot_shrink_below_what_is_there(api: Api) -> None:
    paths = []
    for _ in range(2):
        made = await api.ok("POST", "/v1/gateways", {"tenant_id": "mine", "entitlements": BOUGHT})
        paths.append(f"/v1/gateways/{made['id']}")
    await api.no("PUT", paths[0], {"entitlements": BOUGHT | {"max_instances": 1}}, code="conflict")
    unlimited = await api.ok("PUT", paths[0], {"entitlements": BOUGHT | {"max_instances": 0, "tier": ""}})
    assert unlimited["entitlements"]["tier"] == "free"
