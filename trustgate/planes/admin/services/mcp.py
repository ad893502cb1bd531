"""MCP targets and toolkits as they are written. What a server cannot be reached with is refused here."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import structs

from trustgate.config.mcp import McpAuth, McpTarget, OpenApi, Program, ToolkitEntry
from trustgate.contract.addresses import check_url
from trustgate.mcp.reach.description import BadDocument, base_of, tools_of
from trustgate.mcp.reach.programs import Allowed
from trustgate.planes.admin.services.auth_forms import kept
from trustgate.planes.admin.services.fields import checked_header, checked_id, checked_secret, unique
from trustgate.planes.admin.services.problems import invalid

_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_EXPOSED: Final = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "static": ("header", "value"),
    "passthrough": ("expected_audience",),
    "client_credentials": ("client_id", "client_secret", "token_url"),
}
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "client_credentials": ("token_endpoint_auth_method", "scopes", "resource"),
}


def checked_target(form: McpTarget | None, stored: McpTarget | None, programs: Allowed) -> McpTarget:
    """Return a target with the stored secrets kept where they are for the same server. Raises Refused."""
    if form is None:
        if stored is None:
            raise invalid('mcp_target is required for type MCP: give at least {"url": "https://…/mcp"}')
        return stored
    old = msgspec.to_builtins(stored) if stored is not None and _same_server(form, stored) else {}
    target = msgspec.convert(kept(McpTarget, msgspec.to_builtins(form), old, "mcp_target"), McpTarget)
    _check_reach(target, programs)
    if target.prefix and not _PREFIX.fullmatch(target.prefix):
        raise invalid("mcp_target.prefix must be 1 to 32 letters, digits, underscores and hyphens")
    for name, value in target.headers.items():
        checked_header("mcp_target.headers", name)
        if name.lower() == "authorization" and target.auth.mode != "none":
            raise invalid(f"mcp_target.headers has Authorization, which auth.mode {target.auth.mode} may write itself")
        checked_secret(f"mcp_target.headers.{name}", value)
    _check_auth(target.auth)
    return target


def _check_reach(target: McpTarget, programs: Allowed) -> None:
    if (target.program is not None) != (target.transport == "stdio"):
        raise invalid("mcp_target.program and transport stdio go together: give both, or neither")
    if target.openapi is not None and target.transport != "openapi":
        raise invalid("mcp_target.openapi is for transport openapi: say so, or leave it out")
    if target.program is not None:
        _check_program(target, target.program, programs)
    elif target.url or target.openapi is None or not target.openapi.document:
        _check_url("mcp_target.url", target.url)
    if target.transport == "openapi":
        _check_api(target.openapi or OpenApi(), target)


def _check_program(target: McpTarget, program: Program, programs: Allowed) -> None:
    if not program.command or not all(program.command) or any("\0" in word for word in program.command):
        raise invalid("mcp_target.program.command is a program and its arguments, none of them empty")
    if why := programs.why_not(program):
        raise invalid(f"mcp_target.program: {why}")
    if target.url or target.headers or target.auth != McpAuth():
        raise invalid("mcp_target.url, headers and auth are not used by transport stdio: put secrets into program.env")
    for name, value in program.env.items():
        if not _VARIABLE.fullmatch(name):
            raise invalid(f"mcp_target.program.env has {name[:100]!r}, which is no name of a variable")
        checked_secret(f"mcp_target.program.env.{name}", value)


def _check_api(api: OpenApi, target: McpTarget) -> None:
    if api.base_url:
        _check_url("mcp_target.openapi.base_url", api.base_url)
    if api.document:
        try:
            tools_of(api.document, api)
            base_of(api.document, api, target.url)
        except BadDocument as error:
            raise invalid(f"mcp_target.openapi: {error}") from None


def _check_url(field: str, url: str) -> None:
    try:
        check_url(field, url)
    except ValueError as error:
        raise invalid(str(error)) from None


def checked_toolkit(entries: Sequence[ToolkitEntry], attached: Sequence[str]) -> tuple[ToolkitEntry, ...]:
    """Return a toolkit whose registries are attached and whose names are clear. Raises Refused."""
    found = []
    for entry in entries:
        named = [kind for kind in ("tool", "prompt", "resource") if getattr(entry, kind)]
        if len(named) != 1:
            raise invalid("toolkit[] names exactly one of tool, prompt and resource")
        registry_id = checked_id("toolkit[].registry_id", entry.registry_id)
        if registry_id not in attached:
            raise invalid(f"toolkit[] names registry {registry_id}, which is not attached to this consumer")
        if entry.expose_as and (entry.kind == "resource" or "*" in entry.value):
            raise invalid("toolkit[].expose_as is for one tool or prompt: a resource and a wildcard keep their names")
        if entry.expose_as and not _EXPOSED.fullmatch(entry.expose_as):
            raise invalid("toolkit[].expose_as must be 1 to 128 letters, digits, and any of _ . / -")
        if "*" in entry.value.rstrip("*") or (entry.kind != "resource" and "*" in entry.value and entry.value != "*"):
            raise invalid("toolkit[] takes * alone, and at the end of a resource")
        found.append(structs.replace(entry, registry_id=registry_id))
    unique("toolkit", [f"{entry.registry_id} {entry.kind} {entry.value}" for entry in found])
    _check_aliases(found)
    return tuple(found)


def _check_aliases(entries: Sequence[ToolkitEntry]) -> None:
    aliases = Counter((entry.kind, entry.expose_as) for entry in entries if entry.expose_as)
    plain = {(entry.kind, entry.value) for entry in entries if not entry.expose_as}
    for (kind, alias), times in aliases.items():
        if times > 1 or (kind, alias) in plain:
            raise invalid(f"toolkit[].expose_as {alias} names two {kind}s: give each a name of its own")


def _same_server(form: McpTarget, stored: McpTarget) -> bool:
    commands = [target.program.command if target.program else () for target in (form, stored)]
    return (
        (form.url, form.auth.mode, form.auth.token_url) == (stored.url, stored.auth.mode, stored.auth.token_url)
        and commands[0] == commands[1]
        and (form.openapi or OpenApi()).base_url == (stored.openapi or OpenApi()).base_url
    )


def _check_auth(auth: McpAuth) -> None:
    given: dict[str, Any] = structs.asdict(auth)
    usual = structs.asdict(McpAuth())
    needed = _NEEDED[auth.mode]
    for name in needed:
        if not given[name]:
            raise invalid(f"mcp_target.auth.{name} is required for mode {auth.mode}")
    for name, value in given.items():
        if name != "mode" and value != usual[name] and name not in (*needed, *_OPTIONAL.get(auth.mode, ())):
            raise invalid(f"mcp_target.auth.{name} is not used by mode {auth.mode}: leave it out")
    if auth.header:
        checked_header("mcp_target.auth.header", auth.header)
    for name in ("value", "client_secret"):
        checked_secret(f"mcp_target.auth.{name}", given[name])
    if auth.token_url:
        _check_url("mcp_target.auth.token_url", auth.token_url)
