"""The catalogue of providers: every entry is complete, and says what it takes."""

from urllib.parse import urlsplit

import pytest

from trustgate.providers.catalog import PROVIDERS, EchoOptions, OpenAICompatibleOptions, Options, Provider
from trustgate.providers.dialects import lens_of
from trustgate.providers.translate import CHAT, ways_of

ALL = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)


def test_who_there_is() -> None:
    assert set(PROVIDERS) == {
        *("openai", "azure", "anthropic", "bedrock", "google", "vertex", "mistral", "groq", "deepseek", "xai"),
        *("cerebras", "cohere", "openrouter", "together", "fireworks", "perplexity", "ollama", "vllm"),
        *("openai_compatible", "echo"),
    }


@ALL
def test_an_entry_is_complete(provider: Provider) -> None:
    assert PROVIDERS[provider.name] is provider
    assert provider.display_name
    assert provider.auth_types
    assert provider.ways
    for way in provider.ways:
        assert way.path.startswith("/")
        assert lens_of(way.operation)


@ALL
def test_every_chat_can_be_said_to_everybody(provider: Provider) -> None:
    ways = ways_of(provider.ways)
    for operation in CHAT:
        assert ways[operation], operation
        native = [way for way in provider.ways if way.operation == operation]
        assert not native or ways[operation][0] == native[0], "what a provider speaks itself is not translated"


@ALL
def test_where_an_entry_leads(provider: Provider) -> None:
    url = urlsplit(provider.base_url)
    if "{" in provider.base_url:
        assert provider.name in {"azure", "bedrock", "vertex"}
    elif provider.base_url:
        assert (url.scheme in {"https", "echo"} or url.hostname == "localhost", bool(url.hostname), url.query) == (
            True,
            True,
            "",
        )
    else:
        with pytest.raises(ValueError, match="base_url"):
            provider.options({})


@pytest.mark.parametrize("field", ["unheard", "Base_url", "timeout"])
@ALL
def test_no_entry_takes_what_it_does_not_know(provider: Provider, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        provider.options({"base_url": "https://x.example.com", field: "x"} if provider.name != "echo" else {field: "x"})


def test_options_are_typed() -> None:
    options = PROVIDERS["openai_compatible"].options({"base_url": "http://localhost:1/v1", "headers": {"x": "y"}})
    assert isinstance(options, OpenAICompatibleOptions)
    assert (options.base_url, options.headers) == ("http://localhost:1/v1", {"x": "y"})
    assert isinstance(PROVIDERS["openai"].options({}), Options)
    assert isinstance(PROVIDERS["echo"].options({"latency": "1s"}), EchoOptions)
