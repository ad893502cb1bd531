"""A policy is attached only to consumers of a kind that it can serve."""

from types import SimpleNamespace
from typing import ClassVar, Literal

import pytest

import trustgate_plugins.rate_limiter
from trustgate import PolicySettings, hookimpl
from trustgate.enforcement.plugins import Plugins, assemble

from . import guard
from .api import Api
from .conftest import World

pytestmark = pytest.mark.anyio


class ToolsOnly(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serves callers of tools and nobody else."""

    title: ClassVar[str] = "Tools only"
    protocols: ClassVar[tuple[Literal["LLM", "MCP"], ...]] = ("MCP",)


@hookimpl
def settings_type() -> type[PolicySettings]:
    return ToolsOnly


@pytest.fixture
def plugins() -> Plugins:
    tools_only = SimpleNamespace(settings_type=settings_type, pre_request=guard.pre_request)
    return assemble({"tools_only": tools_only, "rate_limiter": trustgate_plugins.rate_limiter})


async def test_a_policy_that_cannot_serve_a_consumer_is_not_attached_to_it(api: Api, world: World) -> None:
    made = await api.ok("POST", f"{world.root}/policies", {"name": "a", "slug": "tools_only"})
    path = f"{world.root}/consumers/{world.consumer}/policies/{made['id']}"
    await api.no("POST", path, code="validation_failed", says="tools_only serves MCP consumers, and this one is LLM")
    assert (await api.ok("GET", f"{world.root}/policies/{made['id']}"))["consumer_ids"] == []


async def test_the_catalogue_says_whom_a_policy_serves(api: Api) -> None:
    groups = (await api.ok("GET", "/v1/policies-catalog"))["groups"]
    serves = {item["slug"]: item["supported_protocols"] for group in groups for item in group["items"]}
    assert serves == {"tools_only": ["MCP"], "rate_limiter": ["LLM", "MCP"]}
