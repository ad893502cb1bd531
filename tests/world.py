"""The services of one process, as plugins get them, any of them replaced by a test's own."""

from typing import Any

from trustgate import Services
from trustgate.contract.upstream import Clocks
from trustgate.embedding import RegistryEmbedder
from trustgate.forwarding.outbound import HttpOutbound
from trustgate.forwarding.transport import Pool
from trustgate.providers.credentials import Credentials
from trustgate.providers.estimate import estimate_usage, expected_usage
from trustgate.providers.prices import PriceBook
from trustgate.providers.replay import replay
from trustgate.state.memory import MemoryLimiter
from trustgate.state.memory_cache import MemoryCache
from trustgate.state.memory_ledger import MemoryLedger
from trustgate.state.memory_vectors import MemoryVectors


def services(**others: Any) -> Services:
    usual: dict[str, Any] = {
        "limiter": MemoryLimiter(),
        "ledger": MemoryLedger(),
        "cache": MemoryCache(),
        "vectors": {"memory": MemoryVectors()},
        "embedder": RegistryEmbedder(Pool(), Credentials(), Clocks(), "1.0"),
        "http": HttpOutbound(Pool(), Credentials().signing),
        "pricing": PriceBook(),
        "estimate": estimate_usage,
        "expect": expected_usage,
        "replay": replay,
    }
    return Services(**usual | others)
