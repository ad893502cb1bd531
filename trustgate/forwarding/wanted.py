"""What a caller asks for by the name of a model: a model, one of a certain provider, a pool, or whatever there is."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from trustgate.contract.context import AUTO, POOL
from trustgate.contract.errors import Refused

MOST_ALIASES: Final = 8
"""How many aliases may stand for one another before that is taken for a circle."""
_PINNED: Final = re.compile(r"@([A-Za-z0-9_-]+)/(.+)", re.DOTALL)


class Wanted(Struct, frozen=True, kw_only=True):
    """`model` is what the body says from now on; `provider` empty is any of them."""

    model: str
    provider: str = ""

    @property
    def open(self) -> bool:
        """Whether the choice of a model is left to the gateway."""
        return not self.model or self.model.lower() == AUTO

    @property
    def pool(self) -> str:
        """The alias of the pool that is asked for, if one is."""
        return self.model[len(POOL) :] if self.model[: len(POOL)].lower() == POOL else ""


def read_wanted(model: str, aliases: Mapping[str, str]) -> Wanted:
    """Return what a model's name asks for. Raises Refused (400) for what asks for nothing."""
    for _ in range(MOST_ALIASES):
        if model not in aliases:
            break
        model = aliases[model]
    if not model.startswith("@"):
        return Wanted(model=model)
    pinned = _PINNED.fullmatch(model)
    if pinned is None:
        raise invalid_model(model, "write it as @provider/model")
    return Wanted(model=pinned[2], provider=pinned[1].lower())


def invalid_model(model: str, why: str) -> Refused:
    """Return what a caller is told of a name that names nothing."""
    return Refused("invalid_model", f'"{model[:255]}" names no model: {why}.', status=400, param="model", retry=False)
