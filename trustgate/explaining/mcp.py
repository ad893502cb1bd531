"""One request to servers of the Model Context Protocol explained."""

from collections.abc import Sequence

from msgspec import Struct

from trustgate.contract.context import Caller
from trustgate.contract.target import Considered
from trustgate.enforcement.chain import Chains, Link
from trustgate.explaining.report import Explanation, Outcome, consumer_of, limits_of, policies_of
from trustgate.mcp.asking import Asking
from trustgate.telemetry.record import Record


class SeenMcp(Struct, frozen=True, kw_only=True):
    """What is remembered of one request: nothing that it said. `servers` are the registries of its consumer with their
    names, `chosen` is the one that was asked, `name` what that one calls what was asked for."""

    record: Record
    caller: Caller
    chains: Chains
    silent: Sequence[Link]
    servers: tuple[tuple[str, str], ...]
    chosen: str
    name: str


def seen(asking: Asking) -> SeenMcp | None:
    """Return what is to be remembered of a request to MCP servers; nothing of one of nobody who is known."""
    record = asking.account.record
    if record.caller is None:
        return None
    return SeenMcp(
        record=record,
        caller=record.caller,
        chains=asking.house.chains,
        silent=asking.account.trail.silent,
        servers=tuple((server.registry_id, server.name) for server in asking.house.servers.values()),
        chosen=asking.way.server.registry_id if asking.way is not None else "",
        name=asking.way.name if asking.way is not None else "",
    )


def explanation(seen: SeenMcp) -> Explanation:
    """Return what is known of a request to MCP servers. A target's `model` is what it calls what it was asked for."""
    record = seen.record
    decided = any(finding.decision in ("block", "failed_closed") for finding in record.findings)
    outcome: Outcome = "answered"
    if decided or (record.status >= 400 and not record.attempts):
        outcome = "refused"
    elif record.attempts:
        outcome = "forwarded" if record.attempts[-1].outcome == "success" and record.complete else "failed"
    return Explanation(
        hypothetical=False,
        trace_id=record.trace_id,
        revision=record.revision,
        gateway_id=seen.caller.gateway_id,
        consumer=consumer_of(seen.caller),
        operation=record.operation,
        requested_model="",
        model="",
        outcome=outcome,
        status=record.status,
        code=record.reason,
        message="",
        policies=tuple(policies_of(record.findings, seen.silent, seen.chains)),
        limits=tuple(limits_of(record.findings)),
        targets=tuple(_server(seen, registry_id, name) for registry_id, name in seen.servers),
        attempts=record.attempts,
        dropped_params=(),
    )


def _server(seen: SeenMcp, registry_id: str, name: str) -> Considered:
    chosen = registry_id == seen.chosen
    reason = "" if chosen or not seen.chosen else "another server has what was asked for"
    place = 1 if chosen else 0
    return Considered(
        registry_id=registry_id, registry=name, provider="mcp", model=seen.name if chosen else "", place=place,
        reason=reason,
    )  # fmt: skip
