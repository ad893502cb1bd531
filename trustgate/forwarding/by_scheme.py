"""Which transport carries a call: the origin's scheme says it. The built-in provider has a scheme of its own."""

from collections.abc import Mapping

from trustgate.contract.upstream import Call, Transport, Upstream


class ByScheme:
    """A transport that hands each call to the one for its scheme."""

    def __init__(self, network: Transport, others: Mapping[str, Transport]) -> None:
        self._network = network
        self._others = others

    async def send(self, call: Call) -> Upstream:
        """Send the call and wait for the answer's head. Raises UpstreamFailure."""
        return await self._others.get(call.origin.scheme, self._network).send(call)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._network, *self._others.values()):
            await transport.aclose()
