"""In which words `/readyz` tells how something is that a plane needs."""

from collections.abc import Mapping
from typing import Final

OK: Final = "ok"
DEGRADED: Final = "degraded: "
"""How the state of something begins that is away and that the plane can serve without."""


def serves(states: Mapping[str, str]) -> bool:
    """Say whether requests should come, by the states of what is needed for them."""
    return all(state == OK or state.startswith(DEGRADED) for state in states.values())
