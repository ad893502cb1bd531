"""Browsers: they ask whether their page may ask, and show it an answer only with the headers that allow that."""

from collections.abc import Mapping

from trustgate.contract.errors import Refused
from trustgate.enforcement.run import Runner
from trustgate.policed import origin_of
from trustgate.relay.reply import Whole
from trustgate.underway import Arrival, Exchange


def preflight(runner: Runner, exchange: Exchange, arrival: Arrival, headers: Mapping[bytes, bytes]) -> Whole | None:
    """Answer a browser that asks whether it may ask; None where nobody has said anything about browsers.

    Raises Refused where this page may not.
    """
    origin = origin_of(headers, preflight=True)
    if origin is None:
        return None
    exchange.record.operation = "preflight"
    links = exchange.ready.browser_links(headers, arrival.path)
    allowed = runner.browser(links, origin) if links else None
    if allowed is not None:
        return Whole(status=204, headers=allowed, body=b"")
    if links:
        raise Refused(
            "origin_not_allowed", "Pages of this origin may not ask here.", status=403, param="origin", retry=False
        )
    return None


def allow_browser(runner: Runner, exchange: Exchange, arrival: Arrival, headers: Mapping[bytes, bytes]) -> None:
    """Let a page read the answer, a refusal too: without these headers its browser would show it nothing."""
    origin = origin_of(headers, preflight=False)
    caller, ready = exchange.caller, exchange.ready
    links = caller.chains.browser if caller else ready.browser_links(headers, arrival.path)
    if origin is not None and links and exchange.record.operation != "preflight":
        exchange.extra += runner.browser(links, origin) or ()
