"""The strategies that a consumer's `lb_config.algorithm` can name. A package of your own can offer more of them."""

from collections.abc import Callable, Mapping, Sequence

from trustgate import Candidate, Factory, Services, Strategy, StrategyOptions, hookimpl
from trustgate_plugins.strategies.asking import Semantic, SmartRouting
from trustgate_plugins.strategies.least import LeastConnections, LeastLatency, by_price, by_priority
from trustgate_plugins.strategies.ring import Ring, said_by
from trustgate_plugins.strategies.rotation import Anybody, even, weighted

Chance = Callable[[], float]


def _round_robin(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, chance: Chance) -> Strategy:
    return even(candidates, chance)


def _weighted(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, chance: Chance) -> Strategy:
    return weighted(candidates, chance)


def _random(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, _c: Chance) -> Strategy:
    return Anybody(len(candidates))


def _ip_hash(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, _c: Chance) -> Strategy:
    return Ring(candidates, said_by("ip"))


def _hash(candidates: Sequence[Candidate], options: StrategyOptions, _s: Services, _c: Chance) -> Strategy:
    return Ring(candidates, said_by(options.hash_on or "session"))


def _connections(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, chance: Chance) -> Strategy:
    return LeastConnections(candidates, chance)


def _latency(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, _c: Chance) -> Strategy:
    return LeastLatency(candidates)


def _cost(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, chance: Chance) -> Strategy:
    return by_price(candidates, chance)


def _priority(candidates: Sequence[Candidate], _o: StrategyOptions, _s: Services, chance: Chance) -> Strategy:
    return by_priority(candidates, chance)


@hookimpl
def strategies() -> Mapping[str, Factory]:
    return {
        "round-robin": _round_robin,
        "weighted-round-robin": _weighted,
        "random": _random,
        "ip-hash": _ip_hash,
        "consistent-hash": _hash,
        "least-connections": _connections,
        "least-latency": _latency,
        "least-cost": _cost,
        "priority": _priority,
        "semantic": Semantic,
        "smart-routing": SmartRouting,
    }
