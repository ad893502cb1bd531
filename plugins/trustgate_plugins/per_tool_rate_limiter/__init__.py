"""How often each tool may run. In a conversation with a model a run is counted once, when its result first comes back;
a call of an MCP server's tool when it is made."""

from hashlib import blake2b
from math import ceil
from time import time
from typing import Any

import msgspec

from trustgate import (
    AnswerView,
    Deny,
    OfferedTool,
    PolicyRef,
    Proceed,
    Prompt,
    RequestContext,
    Services,
    Take,
    ToolCall,
    ToolResult,
    Verdict,
    hookimpl,
)
from trustgate_plugins.per_tool_rate_limiter.settings import PerToolRateLimiterSettings, ToolRule

Counted = tuple[tuple[Take, ...], str]
"""What one run took, and under which key it is remembered."""


@hookimpl
def settings_type() -> type[PerToolRateLimiterSettings]:
    return PerToolRateLimiterSettings


@hookimpl
async def pre_request(
    ctx: RequestContext, settings: PerToolRateLimiterSettings, policy: PolicyRef, services: Services
) -> Verdict:
    if ctx.operation.family == "mcp":
        return await _call(ctx, settings, policy, services)
    if ctx.operation.family != "chat" or not ctx.body.may_speak_of_tools():
        return None
    prompt = ctx.body.prompt()
    counter = _counter(ctx, policy)
    counted = [await _count(result, prompt, settings, counter, services) for result in _latest(prompt)]
    kept = [each for each in counted if each is not None]
    gone: set[str] = set()
    for tool in prompt.tools:
        rule = settings.rule_of(tool.name)
        wait = 0.0 if rule is None else await _wait(services, counter, tool.name, rule)
        if rule is None or not wait:
            continue
        behavior = settings.behavior_of(rule)
        if behavior == "reject_response":
            if policy.mode != "observe":  # what is refused is sent again, and its results are counted then
                await _give_back(services, kept)
            return _deny(tool.name, rule, wait, policy)
        if behavior == "strip_tool_from_request" or ctx.body.stream:
            gone.add(tool.name)
    if not gone:
        return Proceed(kept=kept) if kept else None

    def drop(tool: OfferedTool) -> bool:
        return tool.name in gone

    edits = ctx.body.reader().without_tools(ctx.body.json(), drop)
    return Proceed(body=ctx.body.edited(edits), kept=kept or None, details={"removed": sorted(gone)})


async def _call(
    ctx: RequestContext, settings: PerToolRateLimiterSettings, policy: PolicyRef, services: Services
) -> Verdict:
    for call in ctx.body.prompt().calls if ctx.operation.name == "tools/call" else ():
        rule = settings.rule_of_call(call.name)
        if rule is None:
            continue
        takes = _takes(_counter(ctx, policy), call.name + _value(call, rule), rule)
        allowances = await services.limiter.take_all(takes)
        wait = max((max(each.retry_after, 0.001) for each in allowances if not each.allowed), default=0.0)
        return _deny(call.name, rule, wait, policy) if wait else Proceed(kept=[(takes, "")])
    return None


@hookimpl
async def pre_response(
    ctx: RequestContext,
    answer: AnswerView,
    settings: PerToolRateLimiterSettings,
    policy: PolicyRef,
    services: Services,
) -> Verdict:
    if ctx.operation.family != "chat" or answer.lens is None or answer.streamed:
        return None
    counter, over = _counter(ctx, policy), set[str]()
    for name in {call.name for call in answer.parts().calls}:
        rule = settings.rule_of(name)
        if rule is None or settings.behavior_of(rule) != "inject_error_result":
            continue
        if await _wait(services, counter, name, rule):
            over.add(name)
    if not over:
        return None

    def drop(call: ToolCall) -> bool:
        return call.name in over

    return Proceed(body=answer.without_calls(drop, _note), details={"removed": sorted(over)})


@hookimpl
async def refund(services: Services, kept: list[Counted]) -> None:
    await _give_back(services, kept)


async def _give_back(services: Services, counted: list[Counted]) -> None:
    for takes, key in counted:
        await services.limiter.refund_all(takes)
        if key:
            await services.cache.delete(key)


def _counter(ctx: RequestContext, policy: PolicyRef) -> str:
    caller = ctx.caller
    who = f"global:{caller.gateway_id}" if policy.is_global else f"consumer:{caller.consumer_id}"
    return f"{caller.gateway_id}:per_tool_rate_limiter:{policy.id}:{who}"


def _takes(counter: str, tool: str, rule: ToolRule) -> tuple[Take, ...]:
    # hashed, because a caller chooses it
    name = blake2b(tool.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return tuple(
        Take(key=f"{counter}:{name}:{window.duration}", limit=window.max, window=window.seconds)
        for window in rule.windows
    )


def _value(call: ToolCall, rule: ToolRule) -> str:
    """Return what a call is counted by besides its tool. One without the argument is counted with others like it."""
    if not rule.per_argument:
        return ""
    found: Any = msgspec.json.decode(call.arguments)
    for name in rule.per_argument.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return "\0" + msgspec.json.encode(found, order="sorted").decode()


def _latest(prompt: Prompt) -> list[ToolResult]:
    """The results behind the last calls: those before them were counted when they came."""
    last = max((call.message for call in prompt.calls), default=-1)
    return [result for result in prompt.results if result.message > last]


async def _count(
    result: ToolResult, prompt: Prompt, settings: PerToolRateLimiterSettings, counter: str, services: Services
) -> Counted | None:
    rule = settings.rule_of(result.name) if result.name else None
    if rule is None:
        return None
    key = f"{counter}:run:{_run(result, prompt)}"
    if not await services.cache.add(key, b"1", ttl=max(window.seconds for window in rule.windows)):
        return None
    takes = _takes(counter, result.name, rule)
    allowances = await services.limiter.take_all(takes)
    return (takes, key) if all(allowance.allowed for allowance in allowances) else None


def _run(result: ToolResult, prompt: Prompt) -> str:
    """Tells one run from another: by the id of its call, and where that is only a name, by where and what it is."""
    told = [result.call_id]
    if result.call_id in ("", result.name):
        told += [str(result.message), *(piece.text for piece in prompt.pieces if piece.message <= result.message)]
    return blake2b("\0".join(told).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


async def _wait(services: Services, counter: str, tool: str, rule: ToolRule) -> float:
    """Return for how many seconds a tool may not run; 0 when it may."""
    allowances = await services.limiter.look(_takes(counter, tool, rule))
    return max((max(each.retry_after, 0.001) for each in allowances if not each.allowed), default=0.0)


def _note(call: ToolCall) -> str:
    return f'The tool "{call.name}" ({call.id}) is rate limited and was not executed.'


def _deny(tool: str, rule: ToolRule, wait: float, policy: PolicyRef) -> Deny:
    scope = "global" if policy.is_global else "consumer"
    name = f"x-ratelimit-{scope}".encode()
    tightest = min(rule.windows, key=lambda window: window.max)
    return Deny(
        code="tool_rate_limit_exceeded",
        message=f'The tool "{tool[:255]}" has run as often as it may. Try again in {ceil(wait)} s, or without it.',
        status=429,
        param="tools",
        retry_after=wait,
        headers=(
            (name + b"-limit", b"%d" % tightest.max),
            (name + b"-remaining", b"0"),
            (name + b"-reset", b"%d" % ceil(time() + wait)),
            (b"x-ratelimit-tool", tool[:255].encode("latin-1", "replace").translate(None, _CONTROLS)),
        ),
        details={"tool": tool[:255], "scope": scope, "retry_after": round(wait, 3)},
    )


_CONTROLS = bytes((*range(32), 127))
