"""The catalogue of providers: every entry is complete, and says what it takes."""

from urllib.parse import urlsplit

import pytest

from trustgate.providers.catalog import PROVIDERS, EchoOptions, OpenAICompatibleOptions, Options, Provider
from trustgate.providers.dialects import LENSES

ALL = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)


def test_who_there_is() -> None:
    assert set(PROVIDERS) == {"openai", "openai_compatible", "echo"}


@ALL
def test_an_entry_is_complete(provider: Provider) -> None:
    assert PROVIDERS[provider.name] is provider
    assert provider.display_name
    assert provider.dialect in LENSES
    assert provider.auth_types
    assert "chat_completions" in provider.paths
    assert all(path.startswith("/") for path in provider.paths.values())


@ALL
def test_where_an_entry_leads(provider: Provider) -> None:
    url = urlsplit(provider.base_url)
    if provider.base_url:
        assert (url.scheme in {"https", "echo"}, bool(url.hostname), url.query) == (True, True, "")
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
