"""A caller that trusts nothing: each answer is held against the document and searched for secrets."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import httpx
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are another package
from msgspec import Struct

from trustgate.contract.ports import Cache
from trustgate.planes.admin.openapi import document
from trustgate.planes.admin.operation import Operation
from trustgate.planes.admin.table import OPERATIONS
from trustgate.planes.admin.tokens import mint_token

SECRET: Final = "the-server-secret-key-of-these-tests-0123456789"
ABSENT: Final = object()
UNKNOWN: Final = "00000000-0000-4000-8000-000000000000"


class Answer(Struct, frozen=True, kw_only=True):
    """What came back."""

    status: int
    json: Any
    text: str
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json["error"])

    @property
    def message(self) -> str:
        """The message of a refusal."""
        return str(self.json.get("message", ""))


class Api:
    """Calls one app. `hidden` are texts that no answer may hold; `seen` the operations that went well."""

    def __init__(self, client: httpx.AsyncClient, traces: Cache) -> None:
        self._client = client
        self.traces = traces
        self.hidden: set[str] = {SECRET}
        self.seen: set[str] = set()
        self.token = token()

    def hide(self, secret: str) -> str:
        """Return the secret, which from now on must not come back."""
        self.hidden.add(secret)
        return secret

    async def call(
        self,
        method: str,
        path: str,
        body: Any = ABSENT,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Send a request; `body` goes as JSON, `raw` as it is. Without `token` it is the platform's."""
        sent = {"authorization": f"Bearer {token or self.token}"}
        if body is not ABSENT:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent["content-type"] = "application/json"
        response = await self._client.request(method, path, content=raw, headers={**sent, **(headers or {})})
        return self._checked(method, path, response)

    async def ok(self, method: str, path: str, body: Any = ABSENT, *, token: str | None = None) -> Any:
        """Send a request that has to go well and return what came back."""
        answer = await self.call(method, path, body, token=token)
        assert answer.status in (200, 201, 204), (method, path, answer.status, answer.text)
        return answer.json

    async def no(self, method: str, path: str, body: Any = ABSENT, *, code: str, says: str = "", **more: Any) -> Answer:
        """Send a request that has to be refused with this code, and a message that says this."""
        answer = await self.call(method, path, body, **more)
        assert answer.json is not None, (method, path, answer.status)
        assert answer.code == code, (method, path, answer.status, answer.text)
        assert says in answer.message, answer.message
        return answer

    def _checked(self, method: str, path: str, response: httpx.Response) -> Answer:
        operation = operation_of(method, httpx.URL(path).path)
        is_json = response.headers.get("content-type") == "application/json" and response.content
        answer = Answer(
            status=response.status_code,
            json=response.json() if is_json else None,
            text=response.text,
            headers=response.headers,
        )
        if operation and method != "HEAD":
            check_documented(operation, answer)
        if operation and answer.status < 300:
            self.seen.add(operation.name)
        self._check_secrets(operation, answer)
        return answer

    def _check_secrets(self, operation: Operation | None, answer: Answer) -> None:
        if operation and operation.name == "createAuth" and answer.status == 201:
            self.hide(answer.json["api_key"])  # shown now and never again
            return
        text = answer.text + str(answer.headers)
        for secret in self.hidden:
            assert secret not in text, "an answer holds a secret"


def token(*, tenant_id: str = "") -> str:
    """Return a valid token, of the platform or of a tenant."""
    return mint_token(SECRET, subject="tests", tenant_id=tenant_id, lifetime_seconds=600)


def operation_of(method: str, path: str) -> Operation | None:
    """Return the operation that a request asks for."""
    wanted = "GET" if method == "HEAD" else method
    plain = path.lower().rstrip("/") or "/"
    found = [each for each in OPERATIONS if each.method == wanted and _pattern(each.path).fullmatch(plain)]
    return min(found, key=lambda each: each.path.count("{"), default=None)


def check_documented(operation: Operation, answer: Answer) -> None:
    """Hold an answer against what the document says of it."""
    described = document()["paths"][operation.path][operation.method.lower()]["responses"]
    assert str(answer.status) in described, f"{operation.name} answers {answer.status}, which is not documented"
    content = described[str(answer.status)].get("content", {})
    if not content:
        assert answer.text == ""
        return
    media = answer.headers["content-type"]
    assert media in content, (operation.name, media)
    if media == "application/json":
        _validator(operation.name, str(answer.status)).validate(answer.json)
    if operation.writes and answer.status < 300:
        assert int(answer.headers["x-ag-revision"]) > 0


@lru_cache(maxsize=512)
def _validator(name: str, status: str) -> Draft202012Validator:
    operation = next(each for each in OPERATIONS if each.name == name)
    described = document()["paths"][operation.path][operation.method.lower()]["responses"][status]
    schema = described["content"]["application/json"]["schema"]
    return Draft202012Validator(_closed({"allOf": [schema], "components": document()["components"]}))


def _closed(schema: Any) -> Any:
    """Refuse fields that are not documented: an answer must not say more than the document does."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    parts = (f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in path.split("/"))
    return re.compile("/".join(parts))
