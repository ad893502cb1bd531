"""What registries and consumers of type MCP have besides: a server to reach, and what of it may be used."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from trustgate.contract.policy import Secret

Mode = Literal["none", "static", "passthrough", "client_credentials"]
Reach = Literal["streamable-http", "sse", "stdio", "openapi"]
"""How a server is reached: over HTTP as the newer revisions say, as 2024-11-05 does, as a program of this machine; or a
plain HTTP API whose description says what it can do."""
Pinning = Literal["off", "observe", "enforce"]


class McpAuth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the gateway proves itself to a server.

    `static` sends `value` in `header`. `passthrough` hands on the bearer token that the caller sent beside its key, if
    its audience is `expected_audience`. `client_credentials` fetches a token that all callers share
    (https://www.rfc-editor.org/rfc/rfc6749#section-4.4), for `resource` (RFC 8707) where one is named.
    """

    mode: Mode = "none"
    header: str = ""
    value: Secret = ""
    expected_audience: str = ""
    client_id: str = ""
    client_secret: Secret = ""
    token_url: str = ""
    token_endpoint_auth_method: Literal["basic", "post"] = "basic"  # noqa: S105 - how, and not what
    scopes: tuple[str, ...] = ()
    resource: str = ""


class Program(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A server that is a program: its command and arguments, and what its environment has besides PATH, HOME and LANG.

    It runs where the MCP plane does, if MCP_ALLOW_STDIO and MCP_STDIO_COMMANDS let it.
    """

    command: tuple[str, ...]
    env: dict[str, Secret] = {}


class OpenApi(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An HTTP API as a server whose tools are its operations.

    Its description (OpenAPI 3, JSON or YAML) is `document`, or is fetched from the target's `url`. `base_url` is where
    it is; without one it is where the description says, which must be where that came from. `tags`, `paths` (which may
    end in `*`) and `operations` (their ids) say which operations are tools: those that any of them names, or all.
    """

    document: dict[str, Any] = {}
    base_url: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


class McpTarget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One server of the Model Context Protocol, or what is made to look like one.

    `url` is needed but by `stdio`, which needs `program`, and by `openapi` with a document. `pinning` is what becomes
    of a tool whose definition is not the one that was seen first: it is noted, or (`enforce`) kept from agents until an
    admin accepts it.

    `prefix` is put before its names, and an underscore between, always; without one only names that two servers have
    in common get the registry's. `timeout_ms` is how long one answer may take, `discovery_timeout_ms` how long it may
    take to say what it has, `max_result_bytes` how long an answer may be.
    """

    url: str = ""
    code: str = ""
    transport: Reach = "streamable-http"
    program: Program | None = None
    openapi: OpenApi | None = None
    pinning: Pinning = "observe"
    headers: dict[str, Secret] = {}
    auth: McpAuth = McpAuth()
    prefix: str = ""
    timeout_ms: Annotated[int, Meta(ge=100, le=3_600_000)] = 300_000
    discovery_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    max_result_bytes: Annotated[int, Meta(ge=1024, le=256 * 1024 * 1024)] = 8 * 1024 * 1024


class ToolkitEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a consumer may use of a server: one tool, prompt or resource by name, or `*` for all of that kind.

    A resource may end in `*`, for all that begin so. `expose_as` is another name for a tool or a prompt.
    """

    registry_id: str
    tool: str = ""
    prompt: str = ""
    resource: str = ""
    expose_as: str = ""

    @property
    def kind(self) -> Literal["tool", "prompt", "resource"]:
        """Which of the three it is about."""
        return "tool" if self.tool else "prompt" if self.prompt else "resource"

    @property
    def value(self) -> str:
        """The name, pattern or `*`."""
        return self.tool or self.prompt or self.resource
