"""Providers are data: what each is called, where it answers, how it wants its credential, what it can be told."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from trustgate.contract.context import Dialect
from trustgate.contract.policy import Duration, Secret

HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^/?#\s]+([/?#]\S*)?$", description="An http or https address.")]
AuthType = Literal["api_key", "none"]


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The four clocks of one registry; an empty one is the plane's."""

    connect: Duration | None = None
    first_byte: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every registry can be told."""

    base_url: HttpUrl | None = None
    headers: dict[str, Secret] = {}
    timeouts: Timeouts = Timeouts()


class OpenAICompatibleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server of your own that speaks OpenAI; where it is has to be said."""

    base_url: HttpUrl


EchoFailure = Literal[
    "",
    "error_500",
    "rate_limited",
    "refused",
    "silence",
    "garbage",
    "half",
    "broken_stream",
    "missing_done",
    "stall",
]


class EchoOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the built-in provider behaves: how long it thinks, how far apart its chunks are, how it fails."""

    latency: Duration = "0ms"
    chunk_interval: Duration = "0ms"
    failure: EchoFailure = ""
    timeouts: Timeouts = Timeouts()


class Provider(Struct, frozen=True, kw_only=True):
    """One vendor. `paths` maps an operation to its path below the base URL; an operation it lacks is not served."""

    name: str
    display_name: str
    dialect: Dialect
    base_url: str
    paths: Mapping[str, str]
    auth_types: tuple[AuthType, ...] = ("api_key",)
    options_type: type[Options] | type[EchoOptions] = Options

    def options(self, given: Mapping[str, Any]) -> Options | EchoOptions:
        """Return the typed options. Raises ValueError naming the field that is unknown, missing or wrong."""
        return msgspec.convert(given, self.options_type)


OPENAI_PATHS = {"chat_completions": "/chat/completions", "models": "/models"}

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            name="openai",
            display_name="OpenAI",
            dialect="openai",
            base_url="https://api.openai.com/v1",
            paths=OPENAI_PATHS,
        ),
        Provider(
            name="openai_compatible",
            display_name="OpenAI-compatible",
            dialect="openai",
            base_url="",
            paths=OPENAI_PATHS,
            auth_types=("api_key", "none"),
            options_type=OpenAICompatibleOptions,
        ),
        Provider(
            name="echo",
            display_name="Echo (built in)",
            dialect="openai",
            base_url="echo://echo",
            paths={"chat_completions": "/chat/completions"},
            auth_types=("none",),
            options_type=EchoOptions,
        ),
    )
}
