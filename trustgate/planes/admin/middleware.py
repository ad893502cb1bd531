"""What every answer has, and what comes before every route. Pure ASGI, outermost first: Doorway, Cors, Guard.

Rule 1: nothing leaves without its headers, and nothing that broke leaves without an answer.
Rule 2: below /v1 the token is asked for before anything else, so that nobody learns what exists there.
"""

import logging
import re
import traceback
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trustgate.contract.errors import Refused
from trustgate.planes.admin import envelope
from trustgate.planes.admin.operation import PREFIX
from trustgate.planes.admin.tokens import authenticate
from trustgate.settings import CorsSettings
from trustgate.storage.database import StorageError

log = logging.getLogger("trustgate.admin")

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_SECURITY: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-site",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Doorway:
    """Normalises the path, stamps headers on every answer, answers HEAD without a body and surprises with a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        door = _Door(scope, send)
        plain = scope["path"].lower().rstrip("/") or "/"
        try:
            await self._app({**scope, "path": plain}, receive, door.send)
        except ClientDisconnect:
            log.info("the caller of request %s left before the request was complete", door.request_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets an answer and we get a trace
            _log(error, scope["method"], door.request_id)
            if not door.started:
                await envelope.problem(500, "internal_error")(scope, receive, door.send)


class _Door:
    """The way out of one request."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        self.started = False
        self._send = send
        self._bare = scope["method"] == "HEAD"
        self._secure = scope.get("scheme") == "https"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._stamp(MutableHeaders(scope=message))
        elif self._bare:
            message = {**message, "body": b""}
        await self._send(message)

    def _stamp(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = self.request_id
        for name, value in _SECURITY.items():
            headers.setdefault(name, value)
        if self._secure:
            headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"


def _log(error: BaseException, method: str, request_id: str) -> None:
    """Log where it broke, not what the error says: that may quote a request, and requests hold secrets."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    said = f" ({error})" if isinstance(error, StorageError) else ""  # storage keeps contents out of its messages
    log.error("%s request %s broke with %s%s\n%s", method, request_id, type(error).__name__, said, frames)


class Cors:
    """Answers preflights before anything is asked of them, and tells browsers who may read the answers."""

    def __init__(self, app: ASGIApp, settings: CorsSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = asked.get("origin", "")
        if scope["type"] != "http" or not origin:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in asked:
            response = envelope.answer(None, 204)
            response.headers.update(self._preflight(origin, asked.get("access-control-request-headers", "")))
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, self._stamped(send, origin))

    def _allowed(self, origin: str) -> dict[str, str]:
        everybody = "*" in self._settings.origins
        if not everybody and origin not in self._settings.origins:
            return {"vary": "Origin"}
        open_to_all = everybody and not self._settings.credentials
        headers = {"access-control-allow-origin": "*" if open_to_all else origin, "vary": "Origin"}
        return headers | ({"access-control-allow-credentials": "true"} if self._settings.credentials else {})

    def _preflight(self, origin: str, wanted: str) -> dict[str, str]:
        headers = self._allowed(origin)
        if "access-control-allow-origin" not in headers:
            return headers
        return headers | {
            "access-control-allow-methods": ", ".join(self._settings.methods),
            "access-control-allow-headers": wanted or ", ".join(self._settings.headers),
            "access-control-max-age": str(self._settings.max_age),
        }

    def _stamped(self, send: Send, origin: str) -> Send:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._allowed(origin))
                if self._settings.expose and "access-control-allow-origin" in headers:
                    headers["access-control-expose-headers"] = ", ".join(self._settings.expose)
            await send(message)

        return stamped


class Guard:
    """Asks for the token below /v1."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] + "/").startswith(PREFIX + "/"):
            try:
                who = authenticate(Headers(scope=scope).get("authorization"), self._secret)
            except Refused as refused:
                await envelope.refusal(refused)(scope, receive, send)
                return
            scope = {**scope, "trustgate.principal": who}
        await self._app(scope, receive, send)
