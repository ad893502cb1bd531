"""What routing costs: a choice among a thousand candidates, and all of it for a healthy request.

`python -m bench.routing` prints two tables. Each figure is the best of many turns: what else the machine does adds.
"""

import time
from collections.abc import Callable, Sequence
from random import Random

from bench.policies import policy_services
from trustgate.contract.context import AUTO, Operation
from trustgate.contract.cost import PriceRule
from trustgate.contract.strategy import Candidate, Strategy, StrategyOptions
from trustgate.contract.target import Target, Way
from trustgate.contract.upstream import Origin
from trustgate.enforcement.plugins import load_plugins
from trustgate.forwarding.pool import Pool, Routing
from trustgate.planes.serve import settle_interpreter

ROUNDS, TURNS = 60, 300
CHAT = Operation(name="chat_completions", dialect="openai", method="POST", family="chat")
ASKING = ("semantic", "smart-routing")
"""Strategies that ask somebody about a request; what they choose by is not to be had here."""


def targets(number: int) -> Sequence[Target]:
    """Return targets with weights, priorities and prices of their own."""
    way = Way(operation=CHAT.name, dialect="openai", path="/v1/chat/completions")
    return [
        Target(
            registry_id=f"r{at}",
            registry=f"r{at}",
            provider="openai",
            dialect="openai",
            origin=Origin(scheme="https", host="api.example.com", port=443),
            ways={CHAT.name: (way,)},
            headers=(),
            default="m",
            weight=1 + at % 5,
            priority=at % 3,
            prices=(PriceRule(model="*", input=str(1 + at % 7), output="1"),),
        )
        for at in range(number)
    ]


def pool(strategy: str, number: int) -> Pool:
    """Return a consumer's pool of so many targets."""
    chance, outside = Random(5).random, policy_services()
    factory = load_plugins().strategies[strategy]

    def make(candidates: Sequence[Candidate]) -> Strategy:
        return factory(candidates, StrategyOptions(), outside, chance)

    return Pool(targets(number), {}, routing=Routing(make=make, chance=chance, aliases={"best": "m"}))


def best(work: Callable[[], object]) -> float:
    """Return the CPU time of one turn in microseconds."""
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(TURNS):
            work()
        found.append((time.process_time() - started) / TURNS * 1e6)
    return min(found)


def routed(pool: Pool, model: str) -> Callable[[], object]:
    """Return all that routing does for a request that goes well."""

    def work() -> object:
        choice = pool.choose(CHAT, pool.wanted(model), "")
        choice.begin()
        choice.candidate.figures.took(0.1, 1.0)
        choice.left()
        return choice

    return work


def main() -> None:
    """Print the tables."""
    names = sorted(set(load_plugins().strategies) - set(ASKING))
    settle_interpreter()
    print("| strategy | µs a choice among 1 000 | wanted |\n|---|---|---|")
    for name in names:
        made = pool(name, 1000)
        print(f"| {name} | {best(routed(made, AUTO)):.1f} | ≤ 20 |")
    print("\n| healthy request, weighted-round-robin | µs for routing | wanted |\n|---|---|---|")
    for number, model in ((1, "m"), (3, "m"), (3, "best"), (3, "@openai/m")):
        took = best(routed(pool("weighted-round-robin", number), model))
        print(f"| {number} registries, model `{model}` | {took:.1f} | ≤ 15 |")


if __name__ == "__main__":
    main()
