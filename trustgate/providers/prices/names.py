"""How providers and models are called here, and how the price list calls them. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

SHIPPED: Final[Mapping[str, str]] = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "bedrock": "aws",
    "google": "google",
    "vertex": "google",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "openrouter": "openrouter",
    "together": "together",
    "fireworks": "fireworks",
    "perplexity": "perplexity",
}
"""Our providers → those of genai-prices. Whoever serves models on machines of their own has prices of their own."""
BY_EXACT_NAME: Final[Mapping[str, str]] = {"openai_compatible": "openai"}
"""Servers whose models have shipped prices only under the very name of a model of that provider."""
TIERS: Final = frozenset(("default", "flex", "priority", "fast", "batch"))
"""The service tiers that have prices of their own; under any other the standard ones count."""

LONGEST: Final = 256
_PATHS: Final = frozenset(("bedrock", "google", "vertex"))
_GEO: Final = re.compile(r"^(?:us-gov|us|eu|apac|jp|au|ca|global)\.")
_DATE: Final = re.compile(r"[-@]\d{4}-?\d{2}-?\d{2}$")


@lru_cache(maxsize=4096)
def names_of(provider: str, model: str) -> tuple[str, ...]:
    """Return the names to look a model up by, the surest first; none for a name that no model has.

    As it is; without the path or ARN before it; without a date at its end (`-2024-08-06`, `-20241022`,
    `@20241022`); for Bedrock without the region group at its beginning (`us.`, `eu.`, …).
    """
    if not model or len(model) > LONGEST:
        return ()
    last = model.rpartition("/")[2] if provider in _PATHS else model
    found = [model, last, _DATE.sub("", last)]
    if provider == "bedrock":
        found += [_GEO.sub("", name) for name in found[1:]]
    return tuple(dict.fromkeys(name for name in found if name))
