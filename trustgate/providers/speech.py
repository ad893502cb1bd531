"""Saying a request to a target in its own language, and hearing the answer in the caller's.

One dialect and nothing to change means the very bytes, both ways. Otherwise the body is parsed once, without its large
payloads, taken inwards to the hub and outwards from it, and written once.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from time import time
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct

from trustgate.contract.chance import random_digits
from trustgate.contract.context import Body, Operation
from trustgate.contract.errors import Refused
from trustgate.contract.lens import Lens
from trustgate.contract.speech import Hearing, Spoken, Verbatim, Watch
from trustgate.contract.target import Target, Way
from trustgate.contract.upstream import Header, Payload, Upstream
from trustgate.providers.catalog import PROVIDERS, Quirks
from trustgate.providers.dialects import asks_for_usage, lens_of, with_model, with_usage
from trustgate.providers.hearing import Translated, mending
from trustgate.providers.hub import CannotSay, Inward, Json, Losses, Moment, Outward
from trustgate.providers.payload import lift
from trustgate.providers.repairs import REPAIRS, Repair
from trustgate.providers.translate import CHAT, inward, outward

IN_BODY: Final = frozenset(
    ("chat_completions", "completions", "responses", "messages", "cohere_chat", "cohere_embed", "embeddings", "rerank")
)
"""Operations whose bodies name the model."""
STREAMS_IN_BODY: Final = frozenset(("chat_completions", "completions", "responses", "messages", "cohere_chat"))


class Asking(Struct, frozen=True, kw_only=True):
    """A request as it is to be said. `item`, `rest` and `query` are those of the path; `strict` makes every loss a
    refusal."""

    operation: Operation
    method: str
    body: Body
    item: str = ""
    rest: str = ""
    query: str = ""
    strict: bool = False


def speak(asking: Asking, target: Target) -> Spoken:
    """Return the call for a target. Raises Refused (400) for what cannot be said to it."""
    if asking.operation.family == "passthrough":
        return _passed_through(asking, target)
    body = asking.body
    model = body.model if body.names_model else target.default or body.model
    way = target.way(asking.operation.name, model)
    assert way is not None, "a pool offers only targets that have a way"
    if way.plain and way.operation == asking.operation.name and model == body.model and not body.stream:
        # by far the most requests: nothing to decide, nothing to change
        return Spoken(
            method=asking.operation.method,
            target=way.path.encode(),
            model=model,
            body=body.raw,
            hearing=as_it_is(way.operation),
        )
    to = _To(way, model, REPAIRS.get(target.provider), PROVIDERS[target.provider].quirks)
    return _verbatim(asking, to) if way.operation == asking.operation.name else _translated(asking, to)


class _To(NamedTuple):
    """Whom a request is said to, and which of its models it is for."""

    way: Way
    model: str
    repair: Repair | None
    quirks: Quirks

    @property
    def mends(self) -> Repair | None:
        """Repairs are for chat alone."""
        return self.repair if self.way.operation == "chat_completions" else None


def _passed_through(asking: Asking, target: Target) -> Spoken:
    """https://api.vendor/{what stands behind the registry in the path}: nothing is looked into but what it used."""
    if any(segment in (".", "..") for segment in asking.rest.split("/")):
        raise Refused("invalid_request", "The path goes up or stays: name what you want.", status=400, retry=False)
    query = "&".join(part for part in (target.query, asking.query) if part)
    address = quote(target.base + asking.rest, safe=SAFE) + (f"?{query}" if query else "")
    lens = lens_of(asking.operation.name)
    return Spoken(
        method=asking.method,
        target=address.encode(),
        body=asking.body.raw,
        hearing=Verbatim(lens, unbounded=True),
    )


SAFE: Final = "/:@!$&'()*+,;=%~-._?"
"""What may stand in a path and query as it is; a percent sign is there because something was quoted before."""


def _address(asking: Asking, to: _To) -> bytes:
    template = to.way.stream_path if asking.body.stream and to.way.stream_path else to.way.path
    if "{" not in template:
        return template.encode()
    path = template.replace("{model}", quote(to.model, safe="")).replace("{item}", quote(asking.item, safe=""))
    if asking.operation.family == "stored" and asking.query:
        path += f"?{asking.query}"
    return path.encode()


# The very bytes.


def _verbatim(asking: Asking, to: _To) -> Spoken:
    operation, repair = to.way.operation, to.mends
    body, trims = _body(asking, to, repair)
    return Spoken(
        method=asking.operation.method,
        target=_address(asking, to),
        model=to.model,
        body=body,
        hearing=_mended(operation, repair, trims=trims) if repair or trims else as_it_is(operation),
    )


@lru_cache(maxsize=64)
def as_it_is(operation: str) -> Hearing:
    """Return the hearing of answers that are the caller's as they come."""
    return Verbatim(lens_of(operation), unbounded=operation not in CHAT)


def _mended(operation: str, repair: Repair | None, *, trims: bool) -> Hearing:
    lens = lens_of(operation)
    mend = mending(lens.framing, repair, trims=trims)
    return Verbatim(lens, mend=mend) if repair is None else Mended(lens=lens, mend=mend, repair=repair)


def _body(asking: Asking, to: _To, repair: Repair | None) -> tuple[Payload, bool]:
    """Return the body, and whether usage was asked for that the caller has not asked for."""
    raw, way = asking.body.raw, to.way
    renamed = to.model != asking.body.model and way.operation in IN_BODY
    asks = asking.body.stream and way.operation == "chat_completions" and to.quirks.asks_usage
    wanted = asks and not (b"include_usage" in raw and asks_for_usage(raw))
    shape = _shapes(way, repair)
    if not (renamed or shape or wanted):
        return raw, False
    lifted = lift(raw, random_digits(32))
    small = with_model(lifted.raw, to.model) if renamed else bytes(lifted.raw)
    if wanted:
        small = with_usage(small)
    if shape is not None:
        return lifted.lower(shape(_parsed(small))), wanted
    return lifted.fill(small), wanted


def _shapes(way: Way, repair: Repair | None) -> Callable[[Json], Json] | None:
    steps = [step for step in (repair.request if repair else None, way.shape) if step is not None]
    return partial(_through, steps) if steps else None


def _through(steps: Sequence[Callable[[Json], Json]], body: Json) -> Json:
    for step in steps:
        body = step(body)
    return body


def _parsed(raw: bytes | bytearray) -> Json:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("invalid_json", f"The body is not valid JSON: {error}.", status=400, retry=False) from error
    if not isinstance(found, dict):
        raise Refused("invalid_request", "The body is not a JSON object.", status=400, retry=False)
    return found


class Mended(Struct, frozen=True, kw_only=True):
    """A hearing of a provider whose answers need small edits before a strict client takes them."""

    lens: Lens
    mend: Callable[[bytes], bytes] | None
    repair: Repair
    unbounded: bool = False

    @property
    def caller(self) -> Lens:
        """The dialect is the same."""
        return self.lens

    def whole(self, raw: bytes) -> bytes:
        """Return the answer, put right where it deviates."""
        return self.repair.answer(raw)

    def fault(self, status: int, raw: bytes, headers: Sequence[Header]) -> Refused | None:
        """Leave the error as it is."""
        return None

    def live(self, upstream: Upstream, watch: Watch, render: Callable[[Refused], bytes]) -> Upstream | None:
        """Leave the stream as it is: its events are mended one by one."""
        return None


# In other words.


def _translated(asking: Asking, to: _To) -> Spoken:
    mark, way = random_digits(32), to.way
    lifted, losses = lift(asking.body.raw, mark), Losses()
    said = _parsed(lifted.raw)
    into, out = inward(asking.operation.name), outward(way.operation, to.quirks)
    hub, body = _said_otherwise(to, said, into, out, losses)
    if asking.strict and losses.paths:
        raise _strict(losses.paths, way.dialect)
    _complete(body, asking, to)
    shape = _shapes(way, to.mends)
    return Spoken(
        method="POST",
        target=_address(asking, to),
        model=to.model,
        body=lifted.lower(shape(body) if shape else body),
        losses=losses.paths,
        translated=True,
        hearing=Translated(
            operation=asking.operation.name,
            spoken=way.operation,
            into=into,
            out=out,
            said=said,
            hub=hub,
            moment=Moment(id=mark, created=int(time()), model=to.model),
            repair=to.mends,
        ),
    )


def _said_otherwise(to: _To, said: Json, into: Inward, out: Outward, losses: Losses) -> tuple[Json, Json]:
    """Return the request as the hub has it, and as the target's dialect has it."""
    try:
        told = into.request(said, losses)
        hub = {name: value for name, value in told.items() if name not in ("stream", "stream_options")}
        hub["model"] = to.model
        return hub, dict(out.request(hub, losses))
    except CannotSay as cannot:
        raise Refused(
            "cannot_translate", cannot.message, status=400, param=cannot.param or None, retry=False
        ) from cannot


def _complete(body: Json, asking: Asking, to: _To) -> None:
    """Say what stands in some dialects' bodies and in the addresses of others."""
    operation = to.way.operation
    if operation in IN_BODY:
        body["model"] = to.model
    if operation in STREAMS_IN_BODY and asking.body.stream:
        body["stream"] = True
        if operation == "chat_completions" and to.quirks.asks_usage:
            body["stream_options"] = {"include_usage": True}


def _strict(paths: Sequence[str], dialect: str) -> Refused:
    return Refused(
        "parameter_not_supported",
        f"The provider's dialect ({dialect}) cannot carry {', '.join(paths)}, and strict_translation is on.",
        status=400,
        param=paths[0],
        retry=False,
    )
