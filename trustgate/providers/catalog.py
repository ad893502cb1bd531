"""Providers are data: what each is called, where it answers what, how it wants its credential, what it can be told.

A provider that speaks OpenAI is an entry here and nothing else.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from trustgate.contract.context import Dialect
from trustgate.contract.policy import Duration, Secret
from trustgate.contract.target import Way

HttpUrl = Annotated[str, Meta(pattern=r"^https?://[^/?#\s]+([/?#]\S*)?$", description="An http or https address.")]
AuthType = Literal["api_key", "none", "azure", "aws", "gcp_service_account", "oauth2"]


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


Api = Annotated[
    Literal["", "completions", "responses"],
    Meta(description="Ask only for chat completions, or only for responses, whatever the caller speaks."),
]


class OpenAIOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OpenAI's own service speaks both of its chat dialects; `api` confines it to one."""

    api: Api = ""


class OpenAICompatibleOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server of your own that speaks OpenAI; where it is has to be said. `api` responses if it speaks those too."""

    base_url: HttpUrl
    api: Api = "completions"


class AzureOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Azure OpenAI. A deployment's name is the model; where it answers is the endpoint in `auth`, or `base_url`."""

    api: Api = ""


Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{2,40}$")]


class BedrockOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Amazon Bedrock. `region` is needed with an api_key; with `aws` auth it is that of the auth."""

    region: Region | None = None
    sts_url: HttpUrl | None = None


class VertexOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Google Vertex AI. Without a project it is the service account's."""

    project: Annotated[str, Meta(pattern=r"^[A-Za-z0-9:._-]{1,100}$")] | None = None
    location: Region
    version: Annotated[str, Meta(pattern=r"^v[a-z0-9]{1,12}$")] = "v1"


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


class Quirks(Struct, frozen=True, kw_only=True):
    """In what a provider that speaks OpenAI differs from OpenAI.

    `asks_usage`: streams have usage only when `stream_options.include_usage` asks for it. `max_tokens`: the limit of an
    answer is called so, and not `max_completion_tokens`. `developer`: knows that role. `carries`: the hub's further
    fields (hub.py) that it takes.
    """

    asks_usage: bool = True
    max_tokens: bool = True
    developer: bool = False
    carries: frozenset[str] = frozenset()


class Provider(Struct, frozen=True, kw_only=True):
    """One vendor. `ways` are the operations it has itself, of each family the preferred one first.

    `key_header` carries an api_key, behind `key_prefix`. `defaults` are headers that it needs and a caller may set.
    Addresses may have `{region}`, `{location}` and the like in them, which come from options and auth.
    """

    name: str
    display_name: str
    dialect: Dialect
    base_url: str
    ways: tuple[Way, ...]
    auth_types: tuple[AuthType, ...] = ("api_key", "oauth2")
    options_type: type[Options] | type[EchoOptions] = Options
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    defaults: Mapping[str, str] = {}
    quirks: Quirks = Quirks()
    service: str = ""

    def options(self, given: Mapping[str, Any]) -> Options | EchoOptions:
        """Return the typed options. Raises ValueError naming the field that is unknown, missing or wrong."""
        return msgspec.convert(given, self.options_type)


def openai_ways(*operations: str, prefix: str = "", suffix: str = "") -> tuple[Way, ...]:
    """Return the ways of a server that speaks OpenAI, under their usual paths."""
    return tuple(
        Way(operation=name, dialect=_OPENAI_DIALECTS.get(name, "openai"), path=prefix + OPENAI_PATHS[name] + suffix)
        for name in operations
    )


OPENAI_PATHS: Mapping[str, str] = {
    "chat_completions": "/chat/completions",
    "responses": "/responses",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
    "images_generations": "/images/generations",
    "images_edits": "/images/edits",
    "images_variations": "/images/variations",
    "audio_speech": "/audio/speech",
    "audio_transcriptions": "/audio/transcriptions",
    "audio_translations": "/audio/translations",
    "rerank": "/rerank",
    "models": "/models",
    "responses_input_tokens": "/responses/input_tokens",
    "response": "/responses/{item}",
    "response_delete": "/responses/{item}",
    "response_cancel": "/responses/{item}/cancel",
    "response_input_items": "/responses/{item}/input_items",
}
RESPONSES = (
    *("responses", "responses_input_tokens", "response", "response_delete", "response_cancel"),
    "response_input_items",
)
_OPENAI_DIALECTS: Mapping[str, Dialect] = {**dict.fromkeys(RESPONSES, "openai_responses"), "rerank": "cohere"}
IMAGES = ("images_generations", "images_edits", "images_variations")
AUDIO = ("audio_speech", "audio_transcriptions", "audio_translations")
EVERYTHING = (*("chat_completions", *RESPONSES, "completions", "embeddings", "moderations", *IMAGES, *AUDIO, "models"),)
AZURE_VERSION = "2024-10-21"


def _speaks_openai(name: str, display_name: str, base_url: str, *operations: str, **fields: Any) -> Provider:
    return Provider(
        name=name,
        display_name=display_name,
        dialect="openai",
        base_url=base_url,
        ways=openai_ways("chat_completions", *operations),
        **fields,
    )


def _azure_ways() -> tuple[Way, ...]:
    deployed = ("chat_completions", "completions", "embeddings", *IMAGES, *AUDIO)
    return (
        *openai_ways(*deployed, prefix="/openai/deployments/{model}", suffix="?api-version={version}"),
        *openai_ways(*RESPONSES, prefix="/openai/v1"),
    )


def _gemini_ways(models: str, *, only: tuple[str, ...] = ()) -> tuple[Way, ...]:
    one = f"{models}/{{model}}"
    return (
        Way(
            operation="generate_content",
            dialect="gemini",
            path=f"{one}:generateContent",
            stream_path=f"{one}:streamGenerateContent?alt=sse",
            only=only,
        ),
        Way(operation="count_tokens", dialect="gemini", path=f"{one}:countTokens", only=only),
    )


def _for_vertex(body: dict[str, Any]) -> dict[str, Any]:
    """https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude"""
    shaped = {name: value for name, value in body.items() if name != "model"}
    return {"anthropic_version": "vertex-2023-10-16", **shaped}


_VERTEX = "/{version}/projects/{project}/locations/{location}/publishers"
_VERTEX_CLAUDE = Way(
    operation="messages",
    dialect="anthropic",
    path=_VERTEX + "/anthropic/models/{model}:rawPredict",
    stream_path=_VERTEX + "/anthropic/models/{model}:streamRawPredict",
    only=("claude",),
    shape=_for_vertex,
)

_ALL: tuple[Provider, ...] = (
    Provider(
        name="openai",
        display_name="OpenAI",
        dialect="openai",
        base_url="https://api.openai.com/v1",
        ways=openai_ways(*EVERYTHING),
        options_type=OpenAIOptions,
        quirks=Quirks(max_tokens=False, developer=True),
    ),
    Provider(
        name="azure",
        display_name="Azure OpenAI",
        dialect="openai",
        base_url="{endpoint}",
        ways=_azure_ways(),
        auth_types=("azure",),
        options_type=AzureOptions,
        key_header="api-key",
        key_prefix="",
        quirks=Quirks(max_tokens=False, developer=True),
    ),
    Provider(
        name="anthropic",
        display_name="Anthropic",
        dialect="anthropic",
        base_url="https://api.anthropic.com",
        ways=(
            Way(operation="messages", dialect="anthropic", path="/v1/messages"),
            Way(operation="messages_count_tokens", dialect="anthropic", path="/v1/messages/count_tokens"),
            Way(operation="models", dialect="anthropic", path="/v1/models?limit=1000"),
        ),
        key_header="x-api-key",
        key_prefix="",
        defaults={"anthropic-version": "2023-06-01"},
    ),
    Provider(
        name="bedrock",
        display_name="Amazon Bedrock",
        dialect="bedrock",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        ways=(
            Way(
                operation="converse",
                dialect="bedrock",
                path="/model/{model}/converse",
                stream_path="/model/{model}/converse-stream",
            ),
        ),
        auth_types=("aws", "api_key"),
        options_type=BedrockOptions,
        service="bedrock",
    ),
    Provider(
        name="google",
        display_name="Google Gemini",
        dialect="gemini",
        base_url="https://generativelanguage.googleapis.com",
        ways=(
            *_gemini_ways("/v1beta/models"),
            Way(operation="batch_embed_contents", dialect="gemini", path="/v1beta/models/{model}:batchEmbedContents"),
            Way(operation="embed_content", dialect="gemini", path="/v1beta/models/{model}:embedContent"),
            Way(operation="models", dialect="gemini", path="/v1beta/models?pageSize=1000"),
        ),
        key_header="x-goog-api-key",
        key_prefix="",
    ),
    Provider(
        name="vertex",
        display_name="Google Vertex AI",
        dialect="gemini",
        base_url="https://{host}",
        ways=(_VERTEX_CLAUDE, *_gemini_ways(_VERTEX + "/google/models")),
        auth_types=("gcp_service_account", "api_key", "oauth2"),
        options_type=VertexOptions,
    ),
    Provider(
        name="cohere",
        display_name="Cohere",
        dialect="cohere",
        base_url="https://api.cohere.com",
        ways=(
            Way(operation="cohere_chat", dialect="cohere", path="/v2/chat"),
            Way(operation="cohere_embed", dialect="cohere", path="/v2/embed"),
            Way(operation="rerank", dialect="cohere", path="/v2/rerank"),
            Way(operation="models", dialect="cohere", path="/v1/models?page_size=1000"),
        ),
    ),
    _speaks_openai(
        *("mistral", "Mistral", "https://api.mistral.ai/v1", "embeddings", "moderations", "models"),
        "audio_transcriptions",
        quirks=Quirks(asks_usage=False),
    ),
    _speaks_openai("groq", "Groq", "https://api.groq.com/openai/v1", *AUDIO, "models"),
    _speaks_openai(
        *("deepseek", "DeepSeek", "https://api.deepseek.com", "models"),
        quirks=Quirks(carries=frozenset(("reasoning_content",))),
    ),
    _speaks_openai("xai", "xAI", "https://api.x.ai/v1", *RESPONSES, "images_generations", "models"),
    _speaks_openai("cerebras", "Cerebras", "https://api.cerebras.ai/v1", "completions", "models"),
    _speaks_openai(
        *("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "completions", "embeddings", "models"),
        quirks=Quirks(carries=frozenset(("cache_control", "reasoning_content", "top_k"))),
    ),
    _speaks_openai(
        *("together", "Together AI", "https://api.together.xyz/v1", "completions", "embeddings", "rerank"),
        *("images_generations", *AUDIO, "models"),
        quirks=Quirks(carries=frozenset(("top_k",))),
    ),
    _speaks_openai(
        *("fireworks", "Fireworks AI", "https://api.fireworks.ai/inference/v1", "completions", "embeddings"),
        *("rerank", "models"),
        quirks=Quirks(carries=frozenset(("top_k", "reasoning_content"))),
    ),
    _speaks_openai(
        *("perplexity", "Perplexity", "https://api.perplexity.ai"),
        quirks=Quirks(asks_usage=False, carries=frozenset(("top_k",))),
    ),
    _speaks_openai(
        *("ollama", "Ollama", "http://localhost:11434/v1", "completions", "embeddings", "models"),
        auth_types=("none", "api_key"),
    ),
    _speaks_openai(
        *("vllm", "vLLM", "", *RESPONSES, "completions", "embeddings", "rerank", "audio_transcriptions", "models"),
        auth_types=("none", "api_key"),
        options_type=OpenAICompatibleOptions,
        quirks=Quirks(developer=True, carries=frozenset(("top_k", "reasoning_content"))),
    ),
    _speaks_openai(
        *("openai_compatible", "OpenAI-compatible", "", *RESPONSES, "completions", "embeddings", "moderations"),
        *(*IMAGES, *AUDIO, "rerank", "models"),
        auth_types=("api_key", "none", "oauth2"),
        options_type=OpenAICompatibleOptions,
        quirks=Quirks(carries=frozenset(("reasoning_content", "top_k"))),
    ),
    Provider(
        name="echo",
        display_name="Echo (built in)",
        dialect="openai",
        base_url="echo://echo",
        ways=openai_ways("chat_completions"),
        auth_types=("none",),
        options_type=EchoOptions,
    ),
)
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _ALL}
