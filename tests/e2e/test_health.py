"""What an operator sees of a provider that fails: in the admin API, in the metrics, and gone when it is over."""

from typing import Any, cast

import httpx
import pytest

from .place import Place
from .program import until
from .upstream import Upstream, completion, says
from .wire import chat

ERROR = {"error": {"message": "busy", "type": "server_error", "code": None, "param": None}}


def health(place: Place) -> dict[str, Any]:
    found = place.admin.done("GET", place.gateway.path("/health"))["registries"]
    (told,) = [each for each in found if each["name"] == "watched"]
    return cast("dict[str, Any]", told)


@pytest.fixture
def slug(place: Place, upstream: Upstream) -> str:
    """A consumer whose registry is left alone when it fails."""
    options = {"base_url": upstream.url}
    body = {"name": "watched", "provider": "openai_compatible", "provider_options": options}
    made = place.admin.done("POST", place.gateway.path("/registries"), body)
    place.gateway.attach(place.gateway.consumer("watched", made["id"]), "auths", place.key.id)
    return "/watched/v1/chat/completions"


def test_a_provider_that_fails_is_seen_and_forgotten(place: Place, upstream: Upstream, slug: str) -> None:
    assert health(place)["status"] == "up"
    upstream.play(says(ERROR, 500))
    assert [chat(place.port, place.headers, path=slug).status for _ in range(3)] == [500] * 3
    said = chat(place.port, place.headers, path=slug)
    assert said.status == 503
    assert len(upstream.seen) == 3, "nobody is asked who would only fail"
    until(lambda: health(place)["status"] == "degraded", what="the news")
    (model,) = health(place)["models"]
    assert (model["failures"], model["state"]) == (3, "open")
    assert 0 < model["retry_after"] <= 1.0
    metrics = httpx.get(place.program.url("proxy", "/metrics"), trust_env=False).text
    assert "trustgate_targets_left_alone 1" in metrics
    upstream.play(completion())
    until(lambda: chat(place.port, place.headers, path=slug).status == 200, what="the provider to be tried")
    until(lambda: health(place)["status"] == "up", what="the news")
