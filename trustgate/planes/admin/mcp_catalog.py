"""Public MCP servers to choose from, a page at a time."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from trustgate.mcp.catalog.entries import AuthHeader, Entry, Hint, OAuthNeed, UrlVariable, chosen
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.paging import PageQuery
from trustgate.planes.admin.plane import AdminServices


class McpServerItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One public server, and what it wants to know. `relevance` orders the list."""

    code: str
    display_name: str
    vendor: str
    category: str
    description: str
    url: Annotated[str, Meta(description="May hold `{variables}` of `url_variables`.")]
    transport: Literal["streamable-http", "sse"]
    auth_hint: Hint
    requires_auth: bool
    requires_config: bool
    relevance: int
    url_variables: tuple[UrlVariable, ...] = ()
    auth_headers: tuple[AuthHeader, ...] = ()
    oauth: OAuthNeed | None = None
    source: Annotated[str, Meta(pattern="^curated$")]


class McpServersCatalog(Struct, frozen=True, kw_only=True):
    """One page of servers, those that more people look for first."""

    mcp_servers: list[McpServerItem]
    page: int
    size: int
    total: int


class McpServersQuery(PageQuery, frozen=True, kw_only=True):
    """Which servers."""

    size: Annotated[int, Meta(ge=1, description="More than 200 is taken as 200.")] = 200
    search: Annotated[str, Meta(description="Words that are in its name, vendor, category or description.")] = ""
    category: Annotated[str, Meta(description="A category, in any case.")] = ""
    auth_hint: Annotated[Literal["", "none", "static", "oauth"], Meta(description="How it wants to know who asks.")] = (
        ""
    )


async def _servers(_: AdminServices, ask: Ask[Nothing, McpServersQuery]) -> McpServersCatalog:
    query = ask.query
    found = chosen(query.search, category=query.category, auth_hint=query.auth_hint)
    start = (query.page - 1) * query.limit
    items = [_item(entry) for entry in found[start : start + query.limit]]
    return McpServersCatalog(mcp_servers=items, page=query.page, size=query.limit, total=len(found))


def _item(entry: Entry) -> McpServerItem:
    return McpServerItem(
        code=entry.code,
        display_name=entry.display_name,
        vendor=entry.vendor,
        category=entry.category,
        description=entry.description,
        url=entry.url,
        transport=entry.transport,
        auth_hint=entry.auth_hint,
        requires_auth=entry.requires_auth,
        requires_config=entry.requires_config,
        relevance=entry.relevance,
        url_variables=entry.url_variables,
        auth_headers=entry.auth_headers,
        oauth=entry.oauth,
        source="curated",
    )


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "GET", "/v1/mcp-servers-catalog", _servers, name="mcpServersCatalog", summary="List MCP servers", tag="Catalogs"
    ),
)
