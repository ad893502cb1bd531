"""Requests explained by the real program: what is said of one that was served, and of one that nobody makes."""

import httpx

from .place import Place
from .upstream import Upstream, answer
from .wire import chat

WHOLE = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,'
    b'"total_tokens":11}}'
)


def test_what_was_and_what_would_be(place: Place, upstream: Upstream) -> None:
    upstream.play(answer(200, WHOLE))
    gateway, consumer = place.gateway, place.consumers["my-app"]
    policy = place.admin.done(
        "POST",
        gateway.path("/policies"),
        {"name": "one an hour", "slug": "rate_limiter", "settings": {"limit": 1, "window": "1h"}},
    )
    attached = gateway.path(f"/consumers/{consumer}/policies/{policy['id']}")
    place.admin.done("POST", attached)
    try:
        question = {"consumer": "my-app", "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}}
        would = place.admin.done("POST", gateway.path("/explain"), question)
        assert (would["outcome"], would["limits"][0]["remaining"]) == ("forwarded", 0)
        assert [(each["registry"], each["place"]) for each in would["targets"]] == [("openai", 1)]
        assert not upstream.seen

        served = chat(place.port, place.headers)
        refused = chat(place.port, place.headers)
        assert (served.status, refused.status) == (200, 429)
        for said, outcome, decision in ((served, "forwarded", "allowed"), (refused, "refused", "block")):
            was = place.admin.done("GET", gateway.path(f"/requests/{said.trace_id}/explain"))
            assert (was["outcome"], was["status"], was["consumer"]["slug"]) == (outcome, said.status, "my-app")
            assert [each["decision"] for each in was["policies"] if each["name"] == "one an hour"][:1] == [decision]
        assert place.admin.done("POST", gateway.path("/explain"), question)["code"] == "rate_limit_exceeded"

        other = place.admin.gateway()
        missing = place.admin.call("GET", other.path(f"/requests/{served.trace_id}/explain"))
        assert missing.status_code == 404
        no_token = httpx.get(f"http://127.0.0.1:{place.program.ports['admin']}{gateway.path('/explain')}")
        assert no_token.status_code in (401, 404, 405)
    finally:
        place.admin.done("DELETE", attached)
