"""What every no of the gateway's own must be."""

import json

from .place import Place
from .upstream import Upstream
from .wire import Answer, chat

JSON = {"content-type": "application/json"}
CHAT = "/my-app/v1/chat/completions"
Headers = dict[str, str]


def check_refused(place: Place, answer: Answer, status: int, code: str) -> None:
    """Check that a no is readable, traced, told of in an event, and not to be tried again by itself."""
    error = answer.error()
    assert (answer.status, error["code"]) == (status, code), (answer.status, error)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-ag-error-source"] == "gateway"
    assert answer.headers["x-request-id"] == answer.trace_id
    event = place.program.event(answer.trace_id)
    assert event["status"]["code"] == status
    assert event["status"]["reason"] == code
    assert place.key.text not in json.dumps(event)


def check_alive(place: Place, upstream: Upstream) -> None:
    """Check that the next request is served."""
    answer = chat(place.port, place.headers)
    assert answer.status == 200, answer.body


def bearer(key: str) -> Headers:
    """Return the header of a bearer."""
    return {"authorization": f"Bearer {key}"}
