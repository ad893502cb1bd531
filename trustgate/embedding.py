"""Vectors of texts, by whichever registry of a gateway makes embeddings, or by the embedder that needs nobody."""

import asyncio
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, Final

import msgspec
from msgspec import Struct

from trustgate.admission.operation import ask
from trustgate.config.snapshot import Snapshot
from trustgate.contract.context import Body
from trustgate.contract.errors import Refused
from trustgate.contract.event import Attempt
from trustgate.contract.ports import Embedded, ServiceUnavailable
from trustgate.contract.target import Target
from trustgate.contract.upstream import Clocks, Header, Transport, UpstreamFailure
from trustgate.forwarding.choice import in_order
from trustgate.forwarding.circuits import Circuits
from trustgate.forwarding.exchange import Ask, Forwarder
from trustgate.forwarding.headers import lookup
from trustgate.providers import hashing
from trustgate.providers.credentials import Credentials
from trustgate.providers.speech import Asking, speak
from trustgate.providers.targets import CannotTarget, compile_target
from trustgate.relay.buffered import read_bounded
from trustgate.telemetry.trace import start_trace

HASHING: Final = "hashing"
MAX_ANSWER: Final = 16 * 1024 * 1024
_HEADERS: Final[Sequence[Header]] = ((b"content-type", b"application/json"),)
_OPERATION: Final = ask("POST", "/v1/embeddings").operation


class _Vector(Struct):
    embedding: tuple[float, ...]
    index: int = 0


class _Used(Struct):
    prompt_tokens: int = 0


class _Vectors(Struct):
    data: list[_Vector]
    usage: _Used | None = None


class RegistryEmbedder:
    """Asks registries for embeddings. It has to be told every snapshot, to know them."""

    def __init__(self, transport: Transport, credentials: Credentials, clocks: Clocks, version: str) -> None:
        self._forwarder = Forwarder(transport, version)
        self._credentials = credentials
        self._clocks = clocks
        self._snapshot = Snapshot()
        self._circuits: Circuits[str] = Circuits()

    def swap(self, snapshot: Snapshot) -> None:
        """Know the registries of this snapshot from now on."""
        self._snapshot = snapshot

    async def embed(
        self, gateway_id: str, registry: str, model: str, texts: Sequence[str], *, within: float
    ) -> Embedded:
        """Return the vectors of these texts. Raises ServiceUnavailable."""
        if registry == HASHING:
            return Embedded(vectors=tuple(map(hashing.embed, texts)))
        target = self._target(gateway_id, registry, model)
        circuit = self._circuits.of(target.registry_id)
        if not circuit.enter():
            raise ServiceUnavailable(f"the registry {registry} failed and is not asked for {circuit.closed_for:.1f} s")
        tell: Callable[[], None] = circuit.left  # unless something is learnt of it
        try:
            async with asyncio.timeout(within):
                raw = await self._ask(target, model, texts)
            found = _read(raw, registry, len(texts))
            tell = circuit.succeeded
        except TimeoutError:
            tell = circuit.failed
            raise ServiceUnavailable(f"the registry {registry} made no embeddings within {within:g} s") from None
        except ServiceUnavailable:
            tell = circuit.failed
            raise
        finally:
            tell()
        return found

    def _target(self, gateway_id: str, registry: str, model: str) -> Target:
        tenant = self._snapshot.tenants.get(gateway_id)
        for known in tenant.registries.values() if tenant is not None else ():
            if registry in (known.id, known.name) and known.enabled:
                try:
                    target = compile_target(known, None, 1, self._clocks, self._credentials)
                except CannotTarget as error:
                    raise ServiceUnavailable(f"the registry {registry} cannot be asked: {error}") from None
                if target.way(_OPERATION.name, model) is None:
                    raise ServiceUnavailable(f"the registry {registry} makes no embeddings with the model {model}")
                return target
        raise ServiceUnavailable(f"this gateway has no registry {registry} that is switched on")

    async def _ask(self, target: Target, model: str, texts: Sequence[str]) -> bytes:
        raw = msgspec.json.encode({"model": model, "input": list(texts), "encoding_format": "float"})
        asking = Asking(operation=_OPERATION, method="POST", body=Body(raw, model=model))
        attempts: list[Attempt] = []
        said = Ask(
            speak=lambda target: speak(asking, target),
            headers=_HEADERS,
            agent=None,
            traceparent=start_trace(b"").traceparent(),
        )
        try:
            forwarded = await self._forwarder.forward(said, in_order((target,), model), attempts)
            upstream = forwarded.upstream
            try:
                answer = await read_bounded(upstream, lookup(upstream.headers), MAX_ANSWER)
            finally:
                await upstream.aclose()
            if upstream.status >= 300:
                raise ServiceUnavailable(f"the registry {target.registry} said {upstream.status} to embeddings")
            return forwarded.spoken.hearing.whole(answer)
        except (UpstreamFailure, Refused) as error:
            raise ServiceUnavailable(f"the registry {target.registry} gave no embeddings: {_why(error)}") from None


def _why(error: UpstreamFailure | Refused) -> str:
    return error.code if isinstance(error, Refused) else error.kind


def _read(raw: bytes, registry: str, number: int) -> Embedded:
    try:
        found = msgspec.json.decode(raw, type=_Vectors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ServiceUnavailable(f"the registry {registry} gave something that is no embeddings") from None
    vectors: list[Any] = [each.embedding for each in sorted(found.data, key=lambda each: each.index)]
    if len(vectors) != number or not all(map(any, vectors)):
        raise ServiceUnavailable(f"the registry {registry} gave {len(vectors)} embeddings for {number} texts")
    return Embedded(vectors=tuple(map(_unit, vectors)), tokens=found.usage.prompt_tokens if found.usage else 0)


def _unit(vector: Sequence[float]) -> tuple[float, ...]:
    length = sqrt(sum(value * value for value in vector))
    return tuple(value / length for value in vector)
