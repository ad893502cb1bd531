"""What answers look like: compact JSON; for every refusal `{"error": code, "message": text}`, whatever refused."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from starlette.responses import Response

from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header

JSON = "application/json"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said instead of an answer. `error` is stable and for programs, `message` is for people."""

    error: str
    message: str = ""


def answer(value: object, status: int, media: str = JSON) -> Response:
    """Return a value as an answer; None is an empty one, a text goes out as it is."""
    if value is None:
        return Response(status_code=status)
    body = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return Response(body, status_code=status, headers={"content-type": media})


def refusal(refused: Refused) -> Response:
    """Return a refusal as an answer."""
    return problem(refused.status, refused.code, refused.message, refused.headers)


def problem(status: int, code: str, message: str = "", headers: Iterable[Header] = ()) -> Response:
    """Return an answer that says what is wrong."""
    response = answer(Problem(error=code, message=message), status)
    for name, value in headers:
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response
