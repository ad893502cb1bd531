"""What is no route, or not by that method: JSON that says what there is."""

import pytest

from .place import Place
from .refusals import CHAT, JSON, check_refused
from .wire import ask


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/my-app",
        "/my-app/",
        "/my-app/v1",
        "/my-app/v1/nonsense",
        "/my-app/v1/chat",
        "/my-app/v1/chat/completions/more",
        "/my-app/v2/chat/completions",
        "/my-app/metrics",
        "/my-app/healthz",
        "/my-app/readyz",
        "/my-app/__/version",
        "/metrics/my-app",
        "/my-app//v1/chat/completions",
        "/v1/gateways",
        "/docs",
        "/%00",
        "/%ff%fe",
        "/my-app/v1/chat/completions%00",
        "/../../etc/passwd",
        "/" + "a" * 5000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_no_route_is_a_json_404(place: Place, method: str, path: str) -> None:
    answer = ask(place.port, method, path, {**JSON, **place.headers}, b"{}" if method == "POST" else None)
    check_refused(place, answer, 404, "unknown_route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("PATCH", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("BREW", CHAT, "POST"),
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/my-app/v1/models", "GET"),
        ("DELETE", "/my-app/v1/models/gpt-4o", "GET"),
    ],
)
def test_a_wrong_method_is_a_json_405_that_names_the_right_one(
    place: Place, method: str, path: str, allowed: str
) -> None:
    answer = ask(place.port, method, path, {**JSON, **place.headers}, None)
    check_refused(place, answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_a_head_request_has_no_body(place: Place) -> None:
    answer = ask(place.port, "HEAD", CHAT, place.headers)
    assert (answer.status, answer.body) == (405, b"")
    assert answer.headers["allow"] == "POST"
    listed = ask(place.port, "HEAD", "/echo-app/v1/models", place.headers)
    assert (listed.status, listed.body) == (200, b"")
