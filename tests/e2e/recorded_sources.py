"""Where recordings come from, and which registry stands for each source: a consumer, the gateway, the upstream."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .place import PROVIDER_KEY, Place
from .program import Gateway
from .recorded_pairs import Recording, recordings
from .upstream import Upstream

CHAT = ("/chat/completions",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """One API of one host. `root` says that the provider's paths have their version in themselves."""

    name: str
    recorded: str
    apis: tuple[str, ...] = ("chat",)
    ends: tuple[str, ...] = CHAT
    provider: str = "openai_compatible"
    dialect: str = "openai"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    root: bool = False

    @cached_property
    def recordings(self) -> tuple[Recording, ...]:
        """Return what was recorded."""
        return recordings(self.recorded, *self.apis, ends=self.ends)

    @property
    def good(self) -> tuple[Recording, ...]:
        """Return the answers."""
        return tuple(each for each in self.recordings if each.status == 200)

    @property
    def refusals(self) -> tuple[Recording, ...]:
        """Return the errors."""
        return tuple(each for each in self.recordings if each.status >= 400)

    def open(self, gateway: Gateway, upstream: Upstream) -> str:
        """Make registry and consumer, and return the consumer's id."""
        url = upstream.url.removesuffix("/v1") if self.root else upstream.url
        registry = self._registry(gateway, url)
        return gateway.consumer(self.name, registry)

    def _registry(self, gateway: Gateway, url: str) -> str:
        if self.provider != "azure":
            return gateway.registry(self.name, self.provider, key=PROVIDER_KEY, base_url=url, **self.options)
        azure = {"endpoint": url.removesuffix("/v1"), "api_key": PROVIDER_KEY}
        auth = {"type": "azure", "azure": azure}
        body = {"name": self.name, "provider": "azure", "provider_options": dict(self.options), "auth": auth}
        return str(gateway.admin.done("POST", gateway.path("/registries"), body)["id"])


def _named(*names: str) -> tuple[Source, ...]:
    return tuple(Source(name=f"{name}-chat", recorded=name, provider=name) for name in names)


def _like_openai(*names: str) -> tuple[Source, ...]:
    return tuple(Source(name=f"{name}-chat", recorded=name) for name in names)


SOURCES: tuple[Source, ...] = (
    Source(name="openai-chat", recorded="openai", provider="openai", options={"api": "completions"}),
    Source(name="azure-chat", recorded="azure", provider="azure"),
    *_named("mistral", "groq", "deepseek", "cerebras", "openrouter", "together", "ollama"),
    *_like_openai(
        "bedrock-mantle", "crusoecloud", "heroku", "huggingface", "local-compat", "snowflakecomputing", "zai"
    ),
    Source(name="writer-chat", recorded="writer", ends=("/v1/chat",)),
    *(
        Source(
            name=f"{recorded}-responses",
            recorded=recorded,
            apis=("responses",),
            ends=("/responses",),
            provider=provider,
            dialect="responses",
            options={"api": "responses"},
        )
        for recorded, provider in (
            ("openai", "openai"),
            ("azure", "azure"),
            ("bedrock-mantle", "openai_compatible"),
            ("deepseek", "openai_compatible"),
        )
    ),
    Source(
        name="anthropic-messages",
        recorded="anthropic",
        apis=("messages",),
        ends=("/messages",),
        provider="anthropic",
        dialect="anthropic",
        root=True,
    ),
    Source(
        name="bedrock-converse",
        recorded="bedrock",
        apis=("converse", "converse-stream"),
        ends=("/converse", "/converse-stream"),
        provider="bedrock",
        dialect="bedrock",
        options={"region": "us-east-1"},
        root=True,
    ),
    *(
        Source(
            name=f"{recorded}-generate",
            recorded=recorded,
            apis=("generateContent", "streamGenerateContent"),
            ends=(":generateContent", ":streamGenerateContent"),
            provider="google",
            dialect="gemini",
            root=True,
        )
        for recorded in ("gemini", "vertex")
    ),
    Source(
        name="cohere-chat",
        recorded="cohere",
        ends=("/v2/chat",),
        provider="cohere",
        dialect="cohere",
        root=True,
    ),
)


def _embedding(recorded: str, provider: str, api: str = "embeddings", dialect: str = "openai") -> Source:
    return Source(
        name=f"{recorded}-embeddings",
        recorded=recorded,
        apis=(api,),
        ends=(f"/{api}", f":{api}"),
        provider=provider,
        dialect=dialect,
        root=dialect != "openai",
    )


EMBEDDINGS: tuple[Source, ...] = (
    _embedding("openai", "openai"),
    _embedding("mistral", "mistral"),
    _embedding("local-compat", "openai_compatible"),
    _embedding("voyage", "openai_compatible"),
    _embedding("cohere", "cohere", "embed", "cohere"),
    _embedding("gemini", "google", "batchEmbedContents", "gemini"),
)
COMPLETIONS: tuple[Source, ...] = tuple(
    Source(
        name=f"{recorded}-completions",
        recorded=recorded,
        apis=("completions",),
        ends=("/completions",),
        provider=provider,
    )
    for recorded, provider in (("openai", "openai"), ("together", "together"), ("writer", "openai_compatible"))
)
RERANK: tuple[Source, ...] = (
    Source(name="cohere-rerank", recorded="cohere", apis=("rerank",), ends=("/rerank",), provider="cohere", root=True),
)


def open_sources(place: Place, upstream: Upstream) -> Place:
    """Make a consumer for each source in a gateway of their own; return the place with the key that is good for all."""
    gateway = place.admin.gateway()
    consumers = {
        source.name: source.open(gateway, upstream) for source in (*SOURCES, *EMBEDDINGS, *COMPLETIONS, *RERANK)
    }
    return dataclasses.replace(place, gateway=gateway, consumers=consumers, key=gateway.key(*consumers.values()))
