"""A plugin with everything that a settings type can have: secrets at every depth, maps, lists, unions, durations."""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field

from trustgate.contract.hookspecs import hookimpl
from trustgate.contract.policy import Duration, Group, Modes, PolicySettings, Secret


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to ask."""

    url: str
    token: Secret = ""


class Password(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="password"):
    """By name."""

    user: str
    password: Secret


class Bearer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="bearer"):
    """By token."""

    bearer: Secret


class GuardSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks somebody else,
    wherever they are."""

    title: ClassVar[str] = "Guard"
    group: ClassVar[Group] = "Guardrails"
    modes: ClassVar[Modes] = ("enforce", "observe")

    api_key: Annotated[Secret, Meta(description="The key of the guard.")]
    level: Literal["low", "high"] = "low"
    wait: Duration = "1s"
    threshold: float = 0.5
    categories: tuple[str, ...] = ()
    headers: dict[str, Secret] = field(default_factory=dict)
    main: Endpoint | None = None
    others: list[Endpoint] = field(default_factory=list)
    login: Password | Bearer | None = None
    note: str | None = None
    size: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        if self.level == "high" and self.threshold < 0.5:
            raise ValueError("threshold must be at least 0.5 at level high")


@hookimpl
def settings_type() -> type[PolicySettings]:
    """Say what can be set."""
    return GuardSettings


@hookimpl
async def pre_request() -> None:
    """Let everything pass."""


@hookimpl
async def pre_response() -> None:
    """Let everything pass."""


PLUGIN = SimpleNamespace(settings_type=settings_type, pre_request=pre_request, pre_response=pre_response)
