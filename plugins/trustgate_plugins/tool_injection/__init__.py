"""Tools that every request offers. The model may call them; the answer to such a call is the application's to give."""

from trustgate import Deny, OfferedTool, Proceed, RequestContext, Verdict, hookimpl
from trustgate_plugins.tool_injection.settings import ToolInjectionSettings


@hookimpl
def settings_type() -> type[ToolInjectionSettings]:
    return ToolInjectionSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: ToolInjectionSettings) -> Verdict:
    if ctx.operation.family != "chat" or ctx.operation.name == "completions":
        return None
    body, lens = ctx.body, ctx.body.reader()
    offered = {tool.name for tool in body.prompt().tools}
    twice = offered & settings.names
    if twice and settings.on_conflict == "reject":
        return _deny(min(twice))
    added = settings.functions
    if twice and settings.on_conflict == "client_wins":
        added = tuple(function for function in added if function.name not in twice)
    if not added:
        return None

    def replaced(tool: OfferedTool) -> bool:
        return tool.name in twice

    if twice and settings.on_conflict == "gateway_wins":
        body = body.changed(lens.without_tools(body.json(), replaced))
    body = body.changed(lens.with_tools(body.json(), added))
    return Proceed(body=body.raw, details={"injected": [function.name for function in added]})


def _deny(name: str) -> Deny:
    return Deny(
        code="tool_name_reserved",
        message=f'The tool "{name}" is offered by this gateway: give yours another name.',
        status=400,
        param="tools",
        retry=False,
        details={"tool": name},
    )
