"""What preparing a revision needs besides the configuration: the same for all of them."""

from collections.abc import Callable
from random import random

from msgspec import Struct, field

from trustgate.contract.ports import Services
from trustgate.contract.upstream import Clocks
from trustgate.enforcement.plugins import Plugins
from trustgate.forwarding.health import Health
from trustgate.providers.credentials import Credentials


class Parts(Struct, frozen=True, kw_only=True):
    """What preparing needs besides the configuration."""

    plugins: Plugins
    services: Services
    clocks: Clocks
    credentials: Credentials
    base_domain: str
    policy_timeout: float
    health: Health = field(default_factory=Health)
    chance: Callable[[], float] = random
