"""What the policy chain costs a request, in CPU: three limiters, and ten policies with nothing to do.

`python -m bench.policies` prints a table. Everything but sockets is the product's own path, the event's JSON line
included: the same life cycle on the same bytes, over an upstream in memory.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from trustgate.config.records import AnyRecord, Auth, Binding, Consumer, Gateway, Policy, Registry
from trustgate.config.snapshot import build
from trustgate.contract.ports import Limiter, Services
from trustgate.contract.upstream import Call, Clocks, Header, Upstream
from trustgate.embedding import RegistryEmbedder
from trustgate.enforcement.plugins import load_plugins
from trustgate.explaining.traces import Traces
from trustgate.forwarding.outbound import HttpOutbound
from trustgate.lifecycle import Lifecycle
from trustgate.parts import Parts
from trustgate.planes.serve import settle_interpreter
from trustgate.providers.credentials import Credentials
from trustgate.providers.estimate import estimate_usage, expected_usage
from trustgate.providers.prices import PriceBook
from trustgate.providers.replay import replay
from trustgate.settings import Limits
from trustgate.state.memory import MemoryLimiter
from trustgate.state.memory_cache import MemoryCache
from trustgate.state.memory_ledger import MemoryLedger
from trustgate.state.memory_vectors import MemoryVectors
from trustgate.telemetry.record import Record, build_event

ROUNDS, REQUESTS = 100, 300
KEY = b"ag_bench"
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }
).encode()
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 1950}]}).encode()
LIMIT = ("rate_limiter", {"limit": 1_000_000_000, "window": "1m"})
THREE_LIMITERS = (
    LIMIT,
    ("rate_limiter", {"limit": 1_000_000_000, "window": "1h", "group_by_header": "x-user"}),
    ("rate_limiter", {"windows": [{"limit": 1_000_000_000, "period": "day"}], "count_by": ["consumer"]}),
)
IDLE = (
    ("model_allowlist", {"allowed_models": ["m"]}),
    ("request_size_limiter", {"allowed_payload_size": 1}),
    ("tool_allowlist", {"deny_tools": ["rm"]}),
    ("per_tool_rate_limiter", {"rules": [{"tool": "rm", "windows": [{"duration": "1m", "max": 1}]}]}),
    ("cors", {"allowed_origins": ["https://app.test"]}),
)
WITHOUT, LIMITED, IDLING = "no policy", "three limiters", "ten idle policies"


class Instant:
    """An upstream that has answered already."""

    status = 200
    headers: Sequence[Header] = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER)))

    async def read(self) -> bytes:
        return ANSWER

    async def chunk(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        return None


class Here:
    """A transport that leads to it."""

    async def send(self, call: Call) -> Upstream:
        return Instant()

    async def aclose(self) -> None:
        return None


class Arrived:
    """A request at the door."""

    method, path, query, client_ip, gone = "POST", "/app/v1/chat/completions", "", "127.0.0.1", False
    headers: Sequence[Header] = (
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer " + KEY),
        (b"x-user", b"ann"),
    )

    async def read(self, limit: int) -> bytes:
        return BODY


def policy_services(limiter: Limiter | None = None) -> Services:
    """Return the services of a process without anything outside it, but for a limiter that is given."""
    return Services(
        limiter=limiter or MemoryLimiter(),
        ledger=MemoryLedger(),
        cache=MemoryCache(),
        vectors={"memory": MemoryVectors()},
        embedder=RegistryEmbedder(Here(), Credentials(), Clocks(), "1"),
        http=HttpOutbound(Here(), Credentials().signing),
        pricing=PriceBook(),
        estimate=estimate_usage,
        expect=expected_usage,
        replay=replay,
    )


def house(
    policies: Sequence[tuple[str, dict[str, object]]],
    *,
    priorities: Sequence[int] = (),
    limiter: Limiter | None = None,
) -> tuple[Lifecycle, list[int]]:
    """Return a life cycle with these policies, one after the other or as `priorities` say, and where the sizes of its
    events go."""
    services = policy_services(limiter)
    parts = Parts(
        plugins=load_plugins(),
        services=services,
        clocks=Clocks(),
        credentials=Credentials(),
        base_domain="llm.test",
        policy_timeout=1.0,
    )
    sizes: list[int] = []
    encoder = msgspec.json.Encoder()

    def emit(record: Record) -> None:
        sizes.append(len(encoder.encode(build_event(record))))

    traces = Traces(most=2000, cache=services.cache)
    lifecycle = Lifecycle(parts, Here(), limits=Limits(), version="1", emit=emit, keep=traces.keep)
    options = {"base_url": "http://up.test/v1"}
    records: list[AnyRecord] = [
        Gateway(id="g", slug="g", name="g"),
        Registry(id="r", gateway_id="g", name="r", provider="openai_compatible", provider_options=options),
        Consumer(
            id="c", gateway_id="g", name="app", slug="app", registries=(Binding(registry_id="r"),), auth_ids=("a",)
        ),
        Auth(id="a", gateway_id="g", name="a", key_hash=sha256(KEY).hexdigest()),
        *(
            Policy(
                id=f"p{at}",
                gateway_id="g",
                name=f"p{at}",
                slug=slug,
                settings=dict(settings),
                is_global=True,
                priority=priorities[at] if priorities else at,
            )
            for at, (slug, settings) in enumerate(policies)
        ),
    ]
    lifecycle.swap(build(1, records))
    return lifecycle, sizes


async def cost(lifecycle: Lifecycle, number: int) -> float:
    """Return the CPU time of one request in microseconds."""
    arrived = Arrived()
    started = time.process_time()
    for _ in range(number):
        exchange = await lifecycle.handle(arrived)
        assert exchange.reply is not None
        assert exchange.reply.status == 200, exchange.record.reason
        lifecycle.finish(exchange)
    return (time.process_time() - started) / number * 1e6


async def measured() -> dict[str, float]:
    """Return the CPU time of a request in microseconds, by what runs.

    The kinds take turns, and each one's best turn counts: what else the machine does only ever adds. The collector is
    set as a server sets it.
    """
    kinds = {WITHOUT: house(())[0], LIMITED: house(THREE_LIMITERS)[0], IDLING: house((*IDLE, *IDLE))[0]}
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for lifecycle in kinds.values():
        await cost(lifecycle, 200)
    settle_interpreter()
    for _ in range(ROUNDS):
        for name, lifecycle in kinds.items():
            found[name].append(await cost(lifecycle, REQUESTS))
    return {name: min(times) for name, times in found.items()}


def main() -> None:
    """Print the table."""
    found = asyncio.run(measured())
    print(f"| {'policies':<18} | µs a request | more than without | wanted |")
    print("|---|---|---|---|")
    for name, wanted in ((WITHOUT, ""), (LIMITED, "≤ 40"), (IDLING, "≤ 30")):
        print(f"| {name:<18} | {found[name]:.1f} | {found[name] - found[WITHOUT]:.1f} | {wanted} |")


if __name__ == "__main__":
    main()
