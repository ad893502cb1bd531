"""The hooks a plugin may implement. A plugin is a module; the stages it implements are the stages it supports.

Every implementation may take any subset of the arguments, by name:
`ctx` the request, `settings` the policy's parsed settings, `policy` which configured policy this is,
`services` the limiter and its fellows, `kept` what this policy's last hook for this request kept (None at first), and
per stage `target`, `answer`, `chunk`, `outcome` and `usage`, or `origin`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from trustgate.contract.context import AnswerView, Chosen, Chunk, Origin, Outcome, RequestContext
from trustgate.contract.policy import PolicyRef, PolicySettings
from trustgate.contract.ports import Services
from trustgate.contract.strategy import Factory
from trustgate.contract.upstream import Header
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
def strategies() -> Mapping[str, Factory]:
    """Ways to choose a target, by the names that a consumer's `lb_config.algorithm` has for them."""
    raise LookupError("only plugins that offer some have this")


@hookspec
async def pre_request(ctx: RequestContext, settings: Any, policy: PolicyRef, services: Services) -> Verdict:
    """Before a target is chosen. May proceed, rewrite the body, answer or deny."""


@hookspec
async def pre_call(
    ctx: RequestContext, target: Chosen, settings: Any, policy: PolicyRef, services: Services, kept: Any
) -> Verdict:
    """After a target was chosen and before it is called, anew for each. May rewrite, change the model or deny."""


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
    ctx: RequestContext,
    outcome: Outcome,
    usage: Usage,
    answer: AnswerView | None,
    settings: Any,
    policy: PolicyRef,
    services: Services,
    kept: Any,
) -> None:
    """After the last byte, whatever the end was. Cannot change anything. `answer` is there for a complete good one.

    `usage` is that of `outcome`, or nothing used where it is not known.
    """


@hookspec
async def refund(ctx: RequestContext, settings: Any, policy: PolicyRef, services: Services, kept: Any) -> None:
    """A request that this policy let pass was refused before anybody was asked: give back what it took."""


@hookspec
def browser(origin: Origin, settings: Any, policy: PolicyRef) -> Sequence[Header] | None:
    """Say with which headers a page of that origin may ask, or None for not at all. Runs before a key is looked at."""
