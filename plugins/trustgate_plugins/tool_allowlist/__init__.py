"""Which tools a model may be offered. Those that may not are taken out of the request, in the caller's own dialect."""

from trustgate import Deny, OfferedTool, Proceed, RequestContext, Verdict, hookimpl
from trustgate_plugins.tool_allowlist.settings import ToolAllowlistSettings


@hookimpl
def settings_type() -> type[ToolAllowlistSettings]:
    return ToolAllowlistSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: ToolAllowlistSettings) -> Verdict:
    if ctx.operation.family != "chat" or not ctx.body.may_speak_of_tools():
        return None
    offered = ctx.body.prompt().tools
    gone = [tool.name for tool in offered if not settings.allows(tool.name)]
    if not gone:
        return None
    if len(gone) == len(offered) and settings.on_empty_after_filter == "reject":
        return _deny(gone)

    def drop(tool: OfferedTool) -> bool:
        return not settings.allows(tool.name)

    empty = settings.on_empty_after_filter == "pass_through_empty"
    edits = ctx.body.reader().without_tools(ctx.body.json(), drop, keep_empty=empty)
    return Proceed(body=ctx.body.edited(edits), details={"removed": gone})


def _deny(gone: list[str]) -> Deny:
    names = ", ".join(gone)
    return Deny(
        code="no_tools_allowed",
        message=f"The policies of this gateway allow none of the tools that this request offers: {names[:500]}.",
        status=403,
        param="tools",
        details={"removed": gone},
    )
