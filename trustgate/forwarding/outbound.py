"""HTTP to the services that policies ask: bounded in bytes and in time, and not asked while they keep failing."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from trustgate.contract.ports import HttpAnswer, ServiceUnavailable, Signing
from trustgate.contract.upstream import (
    Call,
    CannotAuthorise,
    Clocks,
    Credential,
    Header,
    Origin,
    Transport,
    UpstreamFailure,
)
from trustgate.forwarding.circuits import Circuits
from trustgate.forwarding.health import retry_after
from trustgate.forwarding.transport import DEFAULT_PORTS

Sign = Callable[[Signing], Credential]
TOO_MANY: Final = 429


class HttpOutbound:
    """Asks over a transport that others use too. `sign` makes what proves calls to AWS; `now` is monotonic seconds."""

    def __init__(self, transport: Transport, sign: Sign, *, now: Callable[[], float] = monotonic) -> None:
        self._transport = transport
        self._sign = sign
        self._circuits: Circuits[Origin] = Circuits(now)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        within: float,
        signing: Signing | None = None,
        most: int = 1024 * 1024,
    ) -> HttpAnswer:
        """Return a whole answer. Raises ServiceUnavailable where there is none in time, or nobody asks for now."""
        origin, target = _place(url)
        circuit = self._circuits.of(origin)
        if not circuit.enter():
            raise ServiceUnavailable(f"{_name(origin)} failed and is not asked for another {circuit.closed_for:.1f} s")
        clocks = Clocks(connect=within, first_byte=within, idle=within, total=within)
        call = Call(method=method, origin=origin, target=target, headers=headers, body=body, clocks=clocks)
        began = monotonic()
        try:
            async with asyncio.timeout(within):
                answer = await self._ask(call, signing, most)
        except (UpstreamFailure, CannotAuthorise, TimeoutError, ValueError) as error:
            circuit.failed()
            raise ServiceUnavailable(f"{_name(origin)} gave no answer: {_words(error, within)}") from None
        except asyncio.CancelledError:
            # who waits in vain for as long as it may is cut off by the policy's own clock, and that is a failure too
            (circuit.failed if monotonic() - began > within / 2 else circuit.left)()
            raise
        if answer.status >= 500 or answer.status == TOO_MANY:
            circuit.failed(retry_after(answer.headers))
        else:
            circuit.succeeded()
        return answer

    async def _ask(self, call: Call, signing: Signing | None, most: int) -> HttpAnswer:
        if signing is not None:
            call = await self._sign(signing).authorise(call)
        upstream = await self._transport.send(call)
        try:
            parts, size = [], 0
            while part := await upstream.chunk():
                size += len(part)
                if size > most:
                    raise UpstreamFailure("malformed_answer", f"it is longer than {most} bytes")
                parts.append(part)
        finally:
            await upstream.aclose()
        return HttpAnswer(status=upstream.status, headers=upstream.headers, body=b"".join(parts))


@lru_cache(maxsize=1024)
def _place(url: str) -> tuple[Origin, bytes]:
    """Return where a URL leads. Raises ServiceUnavailable for one that leads nowhere."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        host = ""
    if not host or not url.isascii():
        raise ServiceUnavailable("its address is not an http or https URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(scheme=parts.scheme, host=host, port=port), target.encode()


def _name(origin: Origin) -> str:
    return f"the service at {origin.host}:{origin.port}"


def _words(error: Exception, within: float) -> str:
    if isinstance(error, UpstreamFailure):
        return f"{error.kind} ({error.detail})"
    return str(error) if isinstance(error, CannotAuthorise) else f"nothing within {within:g} s"
