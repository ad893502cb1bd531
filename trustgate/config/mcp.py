"""What registries and consumers of type MCP have besides: a server to reach, and what of it may be used."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from trustgate.contract.policy import Secret

Mode = Literal["none", "static", "passthrough", "client_credentials"]


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


class McpTarget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One server of the Model Context Protocol.

    `prefix` is put before its names, and an underscore between, always; without one only names that two servers have
    in common get the registry's. `timeout_ms` is how long one answer may take, `discovery_timeout_ms` how long it may
    take to say what it has, `max_result_bytes` how long an answer may be.
    """

    url: str
    code: str = ""
    transport: Literal["streamable-http"] = "streamable-http"
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
