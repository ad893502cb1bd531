"""How a request would go: the life cycle runs it, with ports that change nothing, up to its provider."""

from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from trustgate.admission.consumer import Admitted, caller_of
from trustgate.admission.operation import Asked
from trustgate.choosing import Chooser
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import RequestContext
from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.upstream import Call, Header, Upstream, UpstreamFailure
from trustgate.explaining.ports import looking
from trustgate.explaining.report import NOT_ASKED, Explanation, explanation, seen
from trustgate.explaining.traces import Traces
from trustgate.forwarding.attempts import Forwarded
from trustgate.forwarding.choice import Choice
from trustgate.forwarding.exchange import Ask
from trustgate.lifecycle import Lifecycle
from trustgate.parts import Parts
from trustgate.ready import CallerReady
from trustgate.settings import Limits
from trustgate.underway import Arrival, Exchange


class Hypothetical:
    """A request that nobody makes: as it would arrive, and who would be its caller."""

    def __init__(
        self, admitted: Admitted, *, method: str, path: str, query: str, headers: Sequence[Header], body: bytes
    ) -> None:
        self.admitted = admitted
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.client_ip = "127.0.0.1"
        self.gone = False
        self._body = body

    async def read(self, limit: int) -> bytes:
        """Return the body. Raises Refused for one that is too large."""
        if len(self._body) > limit:
            raise Refused(
                "request_too_large", f"The body is larger than the {limit} bytes that are accepted.", status=413
            )
        return self._body


class DryRun(Lifecycle):
    """The life cycle of requests that nobody makes."""

    def __init__(self, parts: Parts, limits: Limits, version: str, *, ask_services: bool) -> None:
        quick = replace(limits, throttle_wait=0.0)
        dry = replace(parts, services=looking(parts.services, ask_services=ask_services))
        super().__init__(
            dry,
            Nowhere(),
            limits=quick,
            version=version,
            emit=lambda _: None,
            forwarder=NotSending(),
            choosing=NotWaiting,
        )
        self._snapshot: Snapshot | None = None

    async def explain(self, snapshot: Snapshot, asked: Hypothetical) -> Explanation:
        """Return how a request would go under this snapshot. Raises Refused where it is none."""
        if snapshot is not self._snapshot:
            self.swap(snapshot)
            self._snapshot = snapshot
        exchange = await self.handle(asked)
        exchange.leave()
        self.in_flight -= 1
        record = exchange.record
        record.findings, record.attempts = tuple(exchange.trail.findings), tuple(exchange.attempts)
        known = seen(exchange)
        if known is None:
            raise exchange.refused or Refused(
                "invalid_request", "This is no request that can be explained.", status=400
            )
        return explanation(known, message=exchange.refused.message if exchange.refused else "", hypothetical=True)

    def admit(self, exchange: Exchange, arrival: Arrival, asked: Asked, headers: Mapping[bytes, bytes]) -> CallerReady:
        """Return the caller that is supposed, whoever holds which key."""
        assert isinstance(arrival, Hypothetical), "nobody else is served here"
        return exchange.ready.suppose(arrival.admitted)


class NotWaiting(Chooser):
    """Chooses, and waits for nobody."""

    async def wait(self, exchange: Exchange, caller: CallerReady, ctx: RequestContext, choice: Choice) -> None:
        """Raise Refused: the request ends here."""
        _end()


class NotSending:
    """Says what would be said to the first candidate, and sends nothing."""

    async def forward(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Raise Refused: the request ends here, or cannot be said at all."""
        ask.speak(choice.first)
        _end()

    async def find(self, ask: Ask, choice: Choice, attempts: MutableSequence[Attempt]) -> Forwarded:
        """Raise Refused."""
        return await self.forward(ask, choice, attempts)


class Nowhere:
    """A transport that leads nowhere."""

    async def send(self, call: Call) -> Upstream:
        """Raise UpstreamFailure."""
        raise UpstreamFailure("connect_failed", "nobody is asked for an explanation")

    async def aclose(self) -> None:
        """Nothing is open."""


def _end() -> NoReturn:
    raise Refused(NOT_ASKED, "Nobody is asked for an explanation.", status=200)


class Question(Struct, frozen=True, kw_only=True):
    """A request to be explained: `consumer` is a slug or an id, `auth_id` one of its credentials (empty: its first).

    With `ask_services` the services that policies ask (guards) are asked; a provider never is.
    """

    consumer: str
    auth_id: str = ""
    method: str = "POST"
    path: str = "/v1/chat/completions"
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    ask_services: bool = False


class Explainer:
    """Explains requests: hypothetical ones under the `newest` configuration, real ones as long as they are known."""

    def __init__(
        self, parts: Parts, *, limits: Limits, version: str, newest: Callable[[], Awaitable[Snapshot]], traces: Traces
    ) -> None:
        self._runs = {asks: DryRun(parts, limits, version, ask_services=asks) for asks in (False, True)}
        self._newest = newest
        self._traces = traces

    async def explain(self, gateway_id: str, question: Question) -> Explanation:
        """Return how a request would go. Raises Refused where there is no such caller, or it is no request."""
        snapshot = await self._newest()
        tenant = snapshot.tenants.get(gateway_id)
        named = question.consumer
        consumer = None if tenant is None else tenant.consumer(named) or tenant.consumers.get(named)
        if tenant is None or consumer is None:
            raise Refused("consumer_not_found", f"There is no consumer {named[:100]} in this gateway.", status=404)
        auth = tenant.auths.get(question.auth_id or next(iter(consumer.auth_ids), ""))
        if question.auth_id and (auth is None or auth.id not in consumer.auth_ids):
            raise Refused("forbidden", "This consumer has no such credential.", status=403)
        asked = Hypothetical(
            Admitted(tenant=tenant, consumer=consumer, caller=caller_of(tenant, consumer, auth)),
            method=question.method,
            path=question.path,
            query=question.query,
            headers=_headers(question.headers),
            body=question.body,
        )
        return await self._runs[question.ask_services].explain(snapshot, asked)

    async def find(self, gateway_id: str, trace_id: str) -> Explanation | None:
        """Return what explains a real request of that gateway, if it is still known. Raises StateUnavailable."""
        return await self._traces.find(gateway_id, trace_id)


def _headers(given: Mapping[str, str]) -> Sequence[Header]:
    usual = {"host": "localhost", "content-type": "application/json"}
    named = usual | {name.lower(): value for name, value in given.items()}
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in named.items()]
