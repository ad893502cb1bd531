"""A whole proxy in memory: configuration, policies, upstreams that do as they are told, and callers at its door."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import ModuleType
from typing import Any, ClassVar

from msgspec import Struct

from tests.world import services
from trustgate import PolicySettings, hookimpl
from trustgate.config.records import AnyRecord, Auth, Binding, Consumer, Gateway, Policy, Registry
from trustgate.config.snapshot import Snapshot, build
from trustgate.contract.event import Event
from trustgate.contract.upstream import Call, Clocks, Header, Upstream, UpstreamFailure, pieces, read_out
from trustgate.enforcement.plugins import assemble
from trustgate.explaining.report import Explanation
from trustgate.explaining.run import Explainer, Question
from trustgate.explaining.traces import Traces
from trustgate.forwarding.health import Health
from trustgate.lifecycle import Lifecycle
from trustgate.parts import Parts
from trustgate.planes.probes import Probes, probe_app
from trustgate.planes.proxy.app import ProxyApp
from trustgate.providers.credentials import Credentials
from trustgate.settings import Limits
from trustgate.telemetry.record import Record, build_event
from trustgate_plugins import strategies

SOON = 5.0
"""Seconds after which a test that hangs has failed."""
KEY = b"ag_key"
ONCE = Limits(provider_max_retries=0)
"""Each target is asked once."""
Hook = Callable[..., Any]
Message = dict[str, Any]

# What is asked and answered.

ASKED: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hello!"}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
JSON: Sequence[Header] = ((b"content-type", b"application/json"),)
EVENTS: Sequence[Header] = ((b"content-type", b"text/event-stream; charset=utf-8"),)
CHUNK = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m-1-2026"}
DONE = b"data: [DONE]\n\n"


def completion(text: str = "Hi there", **fields: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usual = {"id": "x", "object": "chat.completion", "created": 1, "model": "m-1-2026"}
    return json.dumps(usual | {"choices": choices, "usage": USAGE} | fields).encode()


def event(fields: object) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


def says(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    return event(CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def stream(*texts: str) -> list[bytes]:
    return [*map(says, texts), says(None, "stop"), event(CHUNK | {"choices": [], "usage": USAGE}), DONE]


def text_of(body: bytes) -> str:
    """Return what a streamed answer says."""
    said = ""
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                said += choice["delta"].get("content") or ""
    return said


# Upstreams.

Piece = bytes | UpstreamFailure | asyncio.Event


class Scripted:
    """An upstream: bytes leave, a failure is raised, and an event is waited for."""

    def __init__(self, *pieces: Piece, status: int = 200, headers: Sequence[Header] = JSON) -> None:
        self.status = status
        self.headers = headers
        self.closed = False
        self.waiting = asyncio.Event()
        self._pieces = list(pieces)

    async def chunk(self) -> bytes:
        while self._pieces:
            match self._pieces.pop(0):
                case bytes() as piece:
                    return piece
                case UpstreamFailure() as failure:
                    raise failure
                case gate:
                    self.waiting.set()
                    await gate.wait()
        return b""

    async def read(self) -> bytes:
        return await read_out(self)

    async def aclose(self) -> None:
        self.closed = True


def whole(body: bytes | None = None, *headers: Header, status: int = 200) -> Scripted:
    return Scripted(completion() if body is None else body, status=status, headers=(*JSON, *headers))


def live(*pieces: Piece, headers: Sequence[Header] = EVENTS) -> Scripted:
    return Scripted(*pieces, headers=headers)


Answer = Upstream | Callable[[], Upstream] | Exception | asyncio.Event
"""An upstream, what makes one, what is raised, or what is waited for before the usual answer."""


class Line:
    """A transport whose calls are answered one after the other; the last answer is the answer to all that follow."""

    def __init__(self, *answers: Answer) -> None:
        self.calls: list[Call] = []
        self.asked = asyncio.Event()
        self.answers = list(answers)

    async def send(self, call: Call) -> Upstream:
        self.calls.append(call)
        self.asked.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return whole()
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    async def aclose(self) -> None:
        pass

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(b"".join(pieces(call.body))) for call in self.calls]


# Policies.


class Plain(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""

    title: ClassVar[str] = "Plain"


class Buffering(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Needs whole answers."""

    buffers_stream = True


class Holding(Plain, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Holds back ten characters."""

    def hold_back(self) -> int:
        return 10


class Rule(Struct, frozen=True):
    """One policy to be: its plugin's hooks and settings type, and the fields of its record."""

    hooks: Mapping[str, Hook]
    settings: type[PolicySettings]
    fields: Mapping[str, Any]

    def module(self) -> ModuleType:
        made = ModuleType("made")
        made.__dict__["settings_type"] = hookimpl(lambda: self.settings)
        made.__dict__.update({name: hookimpl(hook) for name, hook in self.hooks.items()})
        return made


def rule(settings: type[PolicySettings] = Plain, *, fields: Mapping[str, Any] | None = None, **hooks: Hook) -> Rule:
    return Rule(hooks, settings, fields or {})


# Configuration.


def registry(id_: str = "r1", **fields: Any) -> Registry:
    given = {"id": id_, "gateway_id": "g1", "name": id_, "provider": "openai_compatible"}
    return Registry(**given | {"provider_options": {"base_url": f"http://{id_}.test/v1"}} | fields)


def consumer(*registries: str, **fields: Any) -> Consumer:
    pool = tuple(Binding(registry_id=id_) for id_ in registries or ("r1",))
    given = {"id": "c1", "gateway_id": "g1", "name": "My app", "slug": "my-app", "registries": pool}
    return Consumer(**given | {"auth_ids": ("a1",)} | fields)


def gateway(**fields: Any) -> Gateway:
    return Gateway(**{"id": "g1", "slug": "demo", "name": "Demo"} | fields)


def configured(*others: AnyRecord) -> list[AnyRecord]:
    """Return what is usual, with these records in the place of the usual ones of the same kind."""
    usual: list[AnyRecord] = [
        gateway(),
        registry(),
        consumer(),
        Auth(id="a1", gateway_id="g1", name="key", key_hash=sha256(KEY).hexdigest()),
    ]
    kinds = {type(record) for record in others}
    chosen = [record for record in usual if type(record) not in kinds] + list(others)
    return sorted(chosen, key=lambda record: not isinstance(record, Gateway))  # a gateway comes before what is below it


# The proxy.


class House:
    """A proxy over scripted upstreams. `records` are closed requests, in the order in which their events left.

    `others` are services in the place of the usual ones. Without `limits` nobody is asked twice.
    """

    def __init__(
        self,
        line: Line,
        *rules: Rule,
        records: Sequence[AnyRecord] | None = None,
        limits: Limits | None = None,
        clocks: Clocks | None = None,
        health: Health | None = None,
        **others: Any,
    ) -> None:
        self.line = line
        self.records: list[Record] = []
        self.services = services(**others)
        self._rules = rules
        self._stored = configured() if records is None else records
        parts = Parts(
            plugins=assemble(
                {f"guard_{at}": rule.module() for at, rule in enumerate(rules)} | {"strategies": strategies}
            ),
            services=self.services,
            clocks=clocks or Clocks(),
            credentials=Credentials(),
            base_domain="llm.test",
            policy_timeout=2.0,
            chance=lambda: 0.0,
            health=health or Health(),
        )
        self.traces = Traces(most=1000, cache=self.services.cache)
        self.lifecycle = Lifecycle(
            parts,
            line,
            limits=limits or ONCE,
            version="1.0",
            emit=self.records.append,
            keep=self.traces.keep,
        )
        self.explainer = Explainer(parts, limits=limits or ONCE, version="1.0", newest=self._newest, traces=self.traces)
        self.app = ProxyApp(
            self.lifecycle, probe_app(Probes(about={"version": "1.0"}, dependencies=_none, metrics=_nothing))
        )
        self.swap(1)

    def swap(self, revision: int, records: Sequence[AnyRecord] | None = None, *, policies: bool = True) -> None:
        """Serve another revision: these records, and the policies where they are wanted."""
        stored = list(self._stored if records is None else records)
        self.snapshot = build(revision, [*stored, *self._policies()] if policies else stored)
        self.lifecycle.swap(self.snapshot)

    async def _newest(self) -> Snapshot:
        return self.snapshot

    def _policies(self) -> list[Policy]:
        return [
            Policy(
                **{
                    "id": f"p{at}",
                    "gateway_id": "g1",
                    "name": f"policy {at}",
                    "slug": f"guard_{at}",
                    "consumer_ids": ("c1",),
                    **rule.fields,
                }
            )
            for at, rule in enumerate(self._rules)
        ]

    async def ask(self, body: object = ASKED, **fields: Any) -> "Told":
        """Ask once and return what came back, after every policy has heard of it."""
        before = len(self.records)
        told = await self.caller(body, **fields).call()
        await self.settled()
        if len(self.records) == before + 1:
            await self._check_explained(self.records[-1])
        return told

    async def _check_explained(self, record: Record) -> None:
        """Whatever a policy refuses is explained so, with the code that the caller was told."""
        said = record.findings[record.overruled :]
        refused = next((each for each in said if each.decision in ("block", "failed_closed")), None)
        if refused is None or record.caller is None:
            return
        explained = await self.traces.find(record.caller.gateway_id, record.trace_id)
        assert explained is not None
        assert explained.outcome == "refused"
        assert explained.code == record.reason == (refused.code or record.reason)
        by = [each for each in explained.policies if each.decision in ("block", "failed_closed")]
        assert (refused.policy_id, refused.code, refused.stage) in [(each.id, each.code, each.stage) for each in by]

    async def dry(self, body: object = ASKED, **fields: Any) -> Explanation:
        """Explain a request that nobody makes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = {"consumer": "my-app", "body": raw} | fields
        return await self.explainer.explain("g1", Question(**asked))

    def caller(self, body: object = ASKED, **fields: Any) -> "Caller":
        return Caller(self.app, body, **fields)

    async def settled(self) -> None:
        async with asyncio.timeout(SOON):
            await self.lifecycle.settled()

    @property
    def events(self) -> list[Event]:
        return [build_event(record) for record in self.records]

    @property
    def event(self) -> Event:
        """The event of the only request."""
        (found,) = self.events
        assert self.lifecycle.in_flight == 0
        return found


async def _nothing() -> str:
    return ""


async def _none() -> Mapping[str, str]:
    return {}


class Told:
    """What a caller was told, as far as it came."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.ended = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error of an answer, or the one that a stream ended with."""
        return json.loads(self.body.rpartition(b"data: ")[2])["error"]

    def header(self, name: bytes) -> str:
        """Return a header that is there exactly once, or the empty string."""
        found = [value.decode("latin-1") for known, value in self.headers if known == name]
        assert len(found) < 2, f"{name!r} came {len(found)} times: {found}"
        return found[0] if found else ""


class Caller:
    """One request at the door. Its body comes in `parts`; an event among them is waited for."""

    def __init__(
        self,
        app: ProxyApp,
        body: object = ASKED,
        *,
        path: str = "/my-app/v1/chat/completions",
        method: str = "POST",
        headers: Mapping[bytes, bytes] | None = None,
        parts: Sequence[bytes | asyncio.Event] | None = None,
        key: bytes = KEY,
        query: bytes = b"",
        within: float = SOON,
    ) -> None:
        self._within = within
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {b"host": b"localhost", b"content-type": b"application/json", b"authorization": b"Bearer " + key}
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [(name, value) for name, value in (given | dict(headers or {})).items() if value],
            "client": ("192.0.2.7", 4711),
        }
        self.told = Told()
        self.left = asyncio.Event()
        self.news = asyncio.Event()
        self._app = app
        self.parts: list[bytes | asyncio.Event] = [raw] if parts is None else list(parts)
        self._number = len(self.parts)
        self._queue: asyncio.Queue[Message] = asyncio.Queue()

    async def call(self) -> Told:
        """Ask, and return what was told. Whoever leaves while it waits is noticed within a second."""
        async with asyncio.timeout(self._within):
            feeding = asyncio.create_task(self._feed())
            try:
                await self._app(self.scope, self._queue.get, self._send)  # type: ignore[arg-type]
            finally:
                feeding.cancel()
        return self.told

    async def receive(self) -> Message:
        """Say that there is nobody any more."""
        return {"type": "http.disconnect"}

    async def _feed(self) -> None:
        for at, part in enumerate(self.parts, start=1):
            if isinstance(part, asyncio.Event):
                await part.wait()
            else:
                await self._queue.put({"type": "http.request", "body": part, "more_body": at < self._number})
        await self.left.wait()
        await self._queue.put({"type": "http.disconnect"})

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.told.status = message["status"]
            self.told.headers = list(message["headers"])
        else:
            self.told.pieces += [message["body"]] if message["body"] else []
            self.told.ended = not message.get("more_body", False)
        self.news.set()

    async def until(self, part: bytes) -> None:
        """Wait until these bytes have been told."""
        async with asyncio.timeout(SOON):
            while part not in self.told.body:
                self.news.clear()
                await self.news.wait()
