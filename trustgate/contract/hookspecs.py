"""The hooks a plugin may implement. A plugin is a module; the stages it implements are the stages it supports.

Every implementation may take any subset of the arguments, by name:
`ctx` the request, `settings` the policy's parsed settings, `policy` which configured policy this is,
`services` the limiter and its fellows, and per stage `answer`, `chunk` or `usage`.
"""

from typing import Any

import pluggy

from trustgate.contract.context import AnswerView, Chunk, RequestContext
from trustgate.contract.policy import PolicyRef, PolicySettings
from trustgate.contract.ports import Services
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import ChunkVerdict, Verdict

PROJECT = "trustgate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def settings_type() -> type[PolicySettings]:
    """The frozen struct that validates, documents and draws this plugin's settings."""
    raise LookupError("every plugin declares its settings")


@hookspec
async def pre_request(ctx: RequestContext, settings: Any, policy: PolicyRef, services: Services) -> Verdict:
    """Before a target is chosen. May proceed, rewrite the body, answer or deny."""


@hookspec
async def pre_response(
    ctx: RequestContext, answer: AnswerView, settings: Any, policy: PolicyRef, services: Services
) -> Verdict:
    """Before the caller sees a whole answer; on a stream only for a plugin whose settings declare `buffers_stream`."""


@hookspec
async def on_chunk(
    ctx: RequestContext, chunk: Chunk, settings: Any, policy: PolicyRef, services: Services
) -> ChunkVerdict:
    """As text passes on a live stream: keep, rewrite or stop it. Sees what `hold_back` keeps, and no more."""


@hookspec
async def post_response(
    ctx: RequestContext, usage: Usage, settings: Any, policy: PolicyRef, services: Services
) -> None:
    """After the last byte, whatever the end was. Cannot change anything."""
