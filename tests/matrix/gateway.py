"""The gateway under test: a program of its own, with a consumer in front of each provider."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.e2e.program import Gateway, Program, running

from .talk import TARGETS, Door, Target
from .upstream import KEY, Providers

MODELS: Final[Mapping[Target, str]] = {
    "openai": "gpt-4.1-mini",
    "openai_responses": "gpt-4.1",
    "anthropic": "claude-sonnet-5-5",
    "gemini": "gemini-2.5-flash",
    "cohere": "command-a-vision-07-2025",
    "bedrock": "anthropic.claude-sonnet-5-5-v1:0",
}
_PROVIDERS: Final[Mapping[Target, tuple[str, Mapping[str, str]]]] = {
    "openai": ("openai", {"api": "completions"}),
    "openai_responses": ("openai", {"api": "responses"}),
    "anthropic": ("anthropic", {}),
    "gemini": ("google", {}),
    "cohere": ("cohere", {}),
    "bedrock": ("bedrock", {"region": "us-east-1"}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A gateway whose consumers are named for their targets; `key` is good for all of them."""

    program: Program
    gateway: Gateway
    key: str
    key_id: str

    def door(self, target: Target, model: str = "", *, consumer: str = "") -> Door:
        """Return the way to a target: what an SDK is told as its base URL, key and model."""
        url = self.program.url("proxy", f"/{consumer or slug_of(target)}")
        return Door(url=url, key=self.key, model=model or MODELS[target])


def slug_of(target: Target) -> str:
    """Return the slug of the consumer in front of a target."""
    return f"to-{target.replace('_', '-')}"


def register(gateway: Gateway, target: Target, base_url: str, name: str) -> str:
    """Make a registry of this target at an address, and a consumer of that name in front of it; return its id."""
    return gateway.consumer(name, _registry(gateway, target, base_url, name))


def _registry(gateway: Gateway, target: Target, base_url: str, name: str) -> str:
    provider, options = _PROVIDERS[target]
    return gateway.registry(name, provider, key=KEY, base_url=base_url, **options)


def _picky(gateway: Gateway, base_url: str) -> str:
    """A consumer that may ask for one model alone."""
    registry = _registry(gateway, "openai", base_url, "picky")
    return gateway.consumer("picky", registry, model_policies=[{"registry_id": registry, "allowed": ["gpt-4.1-mini"]}])


@contextlib.contextmanager
def open_place(providers: Providers, folder: Path) -> Iterator[Place]:
    """Run a gateway in front of the providers."""
    with running("run", folder=folder) as program, program.admin() as admin:
        gateway = admin.gateway()
        consumers = [register(gateway, target, providers.base_url(target), slug_of(target)) for target in TARGETS]
        consumers.append(_picky(gateway, providers.base_url("openai")))
        key = gateway.key(*consumers)
        yield Place(program=program, gateway=gateway, key=key.text, key_id=key.id)
