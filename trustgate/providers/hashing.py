"""An embedder that needs nobody: words and pairs of words, hashed into a vector of unit length.

Feature hashing (Weinberger et al., 2009, https://arxiv.org/abs/0902.2206): each feature adds to one place, with a sign
of its own, so that two features that meet there do not look alike. It knows words and their order, and no meanings.
"""

from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import sqrt
from typing import Final

from trustgate.contract.words import EMPTY_WORDS, words_of

DIMENSIONS: Final = 256
MAX_WORDS: Final = 4096
"""Words of a text that are looked at; the rest of a longer one adds nothing."""
TELLING: Final = 20
"""How much more a word that says something weighs than one that does not, and a pair of such words."""


def embed(text: str) -> tuple[float, ...]:
    """Return the vector of a text; that of a text without a word points nowhere in particular."""
    words = words_of(text)[:MAX_WORDS]
    telling = [word for word in words if word not in EMPTY_WORDS]
    weights = Counter({word: 1 for word in words if word in EMPTY_WORDS})
    for feature in (*telling, *(f"{one} {other}" for one, other in pairwise(telling))):
        weights[feature] += TELLING
    vector = [0.0] * DIMENSIONS
    for feature, weight in weights.items():
        place, sign = _place(feature)
        vector[place] += sign * sqrt(weight)
    length = sqrt(sum(value * value for value in vector))
    if not length:
        return (1.0, *vector[1:])
    return tuple(value / length for value in vector)


@lru_cache(maxsize=16_384)
def _place(feature: str) -> tuple[int, float]:
    number = int.from_bytes(blake2b(feature.encode(), digest_size=4).digest())
    return number % DIMENSIONS, 1.0 if number & 0x8000_0000 else -1.0
