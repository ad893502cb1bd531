"""Why a request went as it did, and how one would go."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from trustgate.contract.errors import Refused
from trustgate.contract.ports import StateUnavailable
from trustgate.explaining.report import Explanation
from trustgate.explaining.run import Question
from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices
from trustgate.planes.admin.services import gateways
from trustgate.planes.admin.services.problems import invalid, not_found

_METHODS: Final = ("POST", "GET", "DELETE")
Text = Annotated[str, Meta(max_length=2048)]


class ExplainRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that nobody makes. No provider is asked, and nothing is counted."""

    consumer: Annotated[str, Meta(min_length=1, max_length=255, description="The consumer's slug or id.")]
    body: Annotated[Any, Meta(description="What would be sent, as JSON.")] = msgspec.UNSET
    path: Annotated[Text, Meta(description="Where to, without the consumer: `/v1/messages` and the like.")] = (
        "/v1/chat/completions"
    )
    method: Annotated[str, Meta(description="POST, GET or DELETE.")] = "POST"
    query: Annotated[Text, Meta(description="What would stand behind the question mark.")] = ""
    headers: Annotated[dict[str, Text], Meta(max_length=100, description="Headers that policies look at.")] = {}
    auth_id: Annotated[str, Meta(description="Which of the consumer's credentials; without it the first.")] = ""
    ask_services: Annotated[
        bool, Meta(description="Ask the services that guards ask. Without it those guards are not evaluated.")
    ] = False


async def _explain(services: AdminServices, ask: Ask[ExplainRequest, Nothing]) -> Explanation:
    await _visible(services, ask)
    asked = ask.body
    if asked.method not in _METHODS:
        raise invalid(f"method: {asked.method[:20]} is none of {', '.join(_METHODS)}")
    if not asked.path.startswith("/"):
        raise invalid("path: it has to begin with a slash")
    question = Question(
        consumer=asked.consumer,
        auth_id=asked.auth_id,
        method=asked.method,
        path=asked.path,
        query=asked.query,
        headers=asked.headers,
        body=b"" if asked.body is msgspec.UNSET else msgspec.json.encode(asked.body),
        ask_services=asked.ask_services,
    )
    try:
        return await services.explainer.explain(ask.gateway, question)
    except Refused as refused:  # in the proxy's words: it is no request of anybody
        raise invalid(f"{refused.code}: {refused.message}") from refused


async def _explain_real(services: AdminServices, ask: Ask[Nothing, Nothing]) -> Explanation:
    await _visible(services, ask)
    try:
        found = await services.explainer.find(ask.gateway, ask.ids["trace_id"].replace("-", ""))
    except StateUnavailable as error:
        raise Refused("unavailable", f"Explanations cannot be read: {error}", status=503) from error
    if found is None:
        raise not_found()
    return found


async def _visible(services: AdminServices, ask: Ask[Any, Any]) -> None:
    async with services.store.read() as unit:
        await gateways.visible(services.work(unit, ask.who), ask.gateway)


_TAG: Final = "Explain"

OPERATIONS: Final[tuple[Operation, ...]] = (
    serving(
        "POST",
        "/v1/gateways/{gateway_id}/explain",
        _explain,
        name="explainRequest",
        summary="Say how a request would go, without asking a provider",
        tag=_TAG,
    ),
    serving(
        "GET",
        "/v1/gateways/{gateway_id}/requests/{trace_id}/explain",
        _explain_real,
        name="explainRealRequest",
        summary="Say why one of the last TRACE_STORE_SIZE requests went as it did",
        refuses=("unavailable",),
        tag=_TAG,
    ),
)
