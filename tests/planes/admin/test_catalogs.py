"""Catalogues: drawn from the types that validate, so that a form cannot offer what is refused."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are another package

from trustgate.planes.admin.forms import fields_of
from trustgate.providers.catalog import PROVIDERS

from .api import Api, token
from .conftest import World
from .guard import GuardSettings

pytestmark = pytest.mark.anyio


async def test_providers(api: Api) -> None:
    items = (await api.ok("GET", "/v1/providers-catalog"))["items"]
    assert [it["code"] for it in items] == sorted(PROVIDERS)
    openai = next(it for it in items if it["code"] == "openai")
    assert (openai["display_name"], openai["wire_format"], openai["source"]) == ("OpenAI", "openai", "seed")
    auth = openai["auth_types"][0]
    assert (auth["type"], auth["label"]) == ("api_key", "API key")
    key = auth["fields"][0]
    assert (key["key"], key["label"], key["type"], key["secret"]) == ("api_key", "API key", "string", True)
    options = {it["key"]: it for it in openai["provider_options_schema"]}
    assert (options["base_url"]["type"], options["headers"]["type"]) == ("string", "map")
    assert options["headers"]["value"]["secret"] is True
    own = next(it for it in items if it["code"] == "openai_compatible")
    assert next(it for it in own["provider_options_schema"] if it["key"] == "base_url")["required"] is True


async def test_ways_to_prove_oneself(api: Api) -> None:
    items = {it["code"]: it for it in (await api.ok("GET", "/v1/providers-catalog"))["items"]}
    for code, item in items.items():
        assert list(dict.fromkeys(it["type"] for it in item["auth_types"])) == list(PROVIDERS[code].auth_types)
    ways = {(it["type"], it.get("variant", "")): it for item in items.values() for it in item["auth_types"]}
    required = {name: [field["key"] for field in way["fields"] if field.get("required")] for name, way in ways.items()}
    assert required == {
        ("none", ""): [],
        ("api_key", ""): [],
        ("azure", "api_key"): ["endpoint", "api_key"],
        ("azure", "service_principal"): ["endpoint", "tenant_id", "client_id", "client_secret"],
        ("azure", "managed_identity"): ["endpoint", "use_managed_identity"],
        ("aws", "access_keys"): ["region", "access_key_id", "secret_access_key"],
        ("aws", "role"): ["region", "role", "use_role"],
        ("oauth2", "client_credentials"): ["token_url", "grant_type", "client_id", "client_secret"],
        ("oauth2", "refresh_token"): ["token_url", "grant_type", "refresh_token"],
        ("oauth2", "password"): ["token_url", "grant_type", "username", "password"],
        ("gcp_service_account", ""): ["gcp_service_account"],
    }
    fields = {name: way["fields"] for name, way in ways.items()}
    assert {field["key"] for each in fields.values() for field in each if field.get("secret")} == {
        *("api_key", "header_value", "param_value", "client_secret", "gcp_service_account"),
        *("access_key_id", "secret_access_key", "session_token", "refresh_token", "username", "password"),
    }
    for (_, variant), each in fields.items():
        assert [field["default"] for field in each if field["key"] == "grant_type"] in ([], [variant])


async def test_policies(api: Api) -> None:
    groups = (await api.ok("GET", "/v1/policies-catalog"))["groups"]
    assert [(group["type"], [it["slug"] for it in group["items"]]) for group in groups] == [
        ("Traffic Control", ["rate_limiter", "request_size_limiter"]),
        ("Guardrails", ["guard"]),
    ]
    guard = groups[1]["items"][0]
    assert guard["description"] == "Asks somebody else, wherever they are."
    assert (guard["name"], guard["default_mode"], guard["default_on_error"]) == ("Guard", "enforce", "deny")
    assert guard["supported_stages"] == ["pre_request", "pre_response"]
    assert guard["supported_modes"] == ["enforce", "observe"]
    assert guard["supported_protocols"] == ["LLM"]


def test_fields_of_every_kind() -> None:
    fields: dict[str, Any] = {field.key: field for field in fields_of(GuardSettings)}
    types = {key: field.type for key, field in fields.items()}
    assert types == {
        "api_key": "string",
        "level": "enum",
        "wait": "duration",
        "threshold": "number",
        "categories": "array",
        "headers": "map",
        "main": "object",
        "others": "array",
        "login": "object",
        "note": "string",
        "size": "integer",
        "strict": "boolean",
    }
    assert (fields["api_key"].required, fields["api_key"].secret) == (True, True)
    assert fields["api_key"].description == "The key of the guard."
    assert [(choice.value, choice.label) for choice in fields["level"].enum] == [("high", "High"), ("low", "Low")]
    assert (fields["level"].default, fields["wait"].default, fields["strict"].default) == ("low", "1s", False)
    assert fields["categories"].item.type == "string"
    assert [(it.key, it.secret) for it in fields["others"].item.fields] == [("url", False), ("token", True)]
    assert [it.key for it in fields["main"].fields] == ["url", "token"]


async def test_the_json_schema_judges_like_the_api(api: Api, world: World) -> None:
    groups = (await api.ok("GET", "/v1/policies-catalog"))["groups"]
    schemas = {it["slug"]: it["json_schema"] for group in groups for it in group["items"]}
    for number, (slug, settings, good) in enumerate(
        (
            ("rate_limiter", {"limit": 1, "window": "1m"}, True),
            ("rate_limiter", {"limit": 0, "window": "1m"}, False),
            ("rate_limiter", {"limit": 1, "window": "1m", "foo": 1}, False),
            ("request_size_limiter", {"allowed_payload_size": 1, "size_unit": "bytes"}, True),
            ("request_size_limiter", {"allowed_payload_size": 1, "size_unit": "miles"}, False),
            ("guard", {"api_key": "x", "login": {"type": "bearer", "bearer": "y"}}, True),
            ("guard", {"api_key": "x", "login": {"type": "smoke"}}, False),
        )
    ):
        Draft202012Validator.check_schema(schemas[slug])
        assert Draft202012Validator(schemas[slug]).is_valid(settings) is good, (slug, settings)
        body = {"name": f"n{number}", "slug": slug, "settings": settings}
        assert (await api.call("POST", f"{world.root}/policies", body)).status == (201 if good else 422)


async def test_tenants_may_read_them(api: Api) -> None:
    for path in ("/v1/providers-catalog", "/v1/policies-catalog"):
        await api.ok("GET", path, token=token(tenant_id="mine"))


async def test_public_servers_are_listed_by_the_page(api: Api) -> None:
    whole = await api.ok("GET", "/v1/mcp-servers-catalog")
    assert (whole["page"], whole["size"], whole["total"]) == (1, 200, len(whole["mcp_servers"]))
    order = [(-each["relevance"], each["display_name"], each["code"]) for each in whole["mcp_servers"]]
    assert order == sorted(order)
    second = await api.ok("GET", "/v1/mcp-servers-catalog?page=2&size=3")
    assert second["mcp_servers"] == whole["mcp_servers"][3:6]
    assert second["total"] == whole["total"]
    found = await api.ok("GET", "/v1/mcp-servers-catalog?search=documentation&auth_hint=none&category=Documentation")
    assert found["total"] >= 3
    assert not any(each["requires_auth"] or each["requires_config"] for each in found["mcp_servers"])
    (keyed,) = (await api.ok("GET", "/v1/mcp-servers-catalog?search=firecrawl"))["mcp_servers"]
    assert (keyed["requires_config"], keyed["url_variables"][0]["in"]) == (True, "path")
    await api.no("GET", "/v1/mcp-servers-catalog?auth_hint=magic", code="invalid_filter", says="auth_hint")
