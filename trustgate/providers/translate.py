"""Which operations can be said as which others, and the pairs that do it.

Within a family every operation can be said as every other that a provider has: inwards to the hub, outwards from it. A
caller and a target of one dialect need no translation. Pairs are imported when a registry needs them.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Final, TypeVar

from trustgate.contract.target import Way
from trustgate.providers import plain
from trustgate.providers.catalog import Quirks
from trustgate.providers.hub import Inward, Outward

Pair = TypeVar("Pair", Inward, Outward)

CHAT: Final[Mapping[str, str]] = {
    "chat_completions": "",
    "completions": "completions",
    "responses": "responses",
    "messages": "anthropic",
    "generate_content": "gemini",
    "cohere_chat": "cohere",
    "converse": "bedrock",
}
EMBEDDINGS: Final[Mapping[str, str]] = {
    "embeddings": "",
    "embed_content": "gemini_embeddings",
    "batch_embed_contents": "gemini_embeddings",
    "cohere_embed": "cohere_embeddings",
}
FAMILIES: Final = (CHAT, EMBEDDINGS)
_NEVER_TARGETS: Final = frozenset(("completions", "embed_content"))
"""Lesser forms of what stands beside them: asked for, but never translated to."""


def ways_of(native: Iterable[Way]) -> Mapping[str, tuple[Way, ...]]:
    """Return, for each operation that can be asked, the ways to say it: its own first, then those it can become."""
    own = tuple(native)
    ways = {way.operation: tuple(each for each in own if each.operation == way.operation) for way in own}
    for family in FAMILIES:
        others = tuple(way for way in own if way.operation in family and way.operation not in _NEVER_TARGETS)
        for asked in family if others else ():
            ways[asked] = (*ways.get(asked, ()), *(way for way in others if way.operation != asked))
    return ways


@lru_cache(maxsize=64)
def inward(operation: str) -> Inward:
    """Return the way from a caller's operation to the hub."""
    name = CHAT.get(operation, "") or EMBEDDINGS.get(operation, "")
    if name:
        return _pair(f"{name}_to_openai", Inward)
    return plain.INWARD if operation in CHAT else plain.EMBEDDINGS_INWARD


@lru_cache(maxsize=256)
def outward(operation: str, quirks: Quirks) -> Outward:
    """Return the way from the hub to a target's operation."""
    name = CHAT.get(operation, "") or EMBEDDINGS.get(operation, "")
    if name:
        return _pair(f"openai_to_{name}", Outward)
    return plain.outward(quirks) if operation in CHAT else plain.EMBEDDINGS_OUTWARD


def _pair(name: str, kind: type[Pair]) -> Pair:
    pair = import_module(f"trustgate.providers.pairs.{name}").PAIR
    assert isinstance(pair, kind), f"{name} is no {kind.__name__}"
    return pair
