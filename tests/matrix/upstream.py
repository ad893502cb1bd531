"""Every provider on one port, each in its own format, behind one key."""

import json
from collections.abc import Callable, Mapping
from typing import Final, Self

from tests.e2e.upstream import CHUNKED, HOST, Exchange, Header, Script, Upstream, answer

from .dialects import Dialect
from .dialects.anthropic import ANTHROPIC
from .dialects.bedrock import BEDROCK, ERRORS
from .dialects.cohere import COHERE
from .dialects.gemini import GEMINI
from .dialects.history import BadRequest
from .dialects.openai import OPENAI
from .dialects.responses import RESPONSES
from .model import speak
from .talk import Asked, Said, Target

KEY: Final = "sk-provider-7c1e55d0a2"
DIALECTS: Final[Mapping[Target, Dialect]] = {
    "openai": OPENAI,
    "openai_responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "cohere": COHERE,
    "bedrock": BEDROCK,
}
KEY_HEADERS: Final = ("authorization", "x-api-key", "x-goog-api-key")
_CUT: Final = 1000
"""Bytes. Streams are cut there, in the middle of an event."""

Model = Callable[[Asked], Said]


class Providers(Upstream):
    """The server. `asked` is what the models have heard since the last `play`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.think()

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def root(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def base_url(self, target: Target) -> str:
        """Return what a registry of this target needs as its base URL."""
        return f"{self.root}/v1" if target.startswith("openai") else self.root

    def think(self, model: Model = speak) -> None:
        """Answer the next requests as this model does, and forget what was seen."""
        self.asked = []
        self.play(self._script(model))

    def listen(self) -> None:
        """Answer whatever comes, and check nothing but the key: for who looks at what is sent."""
        said = Said("Heard.")

        async def script(exchange: Exchange) -> None:
            target, path = _route(exchange)
            _check_key(exchange, target)
            await answer_of(target, said, Asked(path, False, "", "", (), (), (), 0, ()))(exchange)

        self.play(script)

    def _script(self, model: Model) -> Script:
        async def script(exchange: Exchange) -> None:
            target, path = _route(exchange)
            dialect = DIALECTS[target]
            try:
                _check_key(exchange, target)
                asked = dialect.hear(path, json.loads(exchange.body), exchange.header)
            except (BadRequest, KeyError) as error:
                await refusal(target, 400, message=f"{type(error).__name__}: {error}")(exchange)
                return
            self.asked.append(asked)
            await answer_of(target, model(asked), asked)(exchange)

        return script


def _route(exchange: Exchange) -> tuple[Target, str]:
    path = exchange.target.decode().partition("?")[0]
    for target, dialect in DIALECTS.items():
        if any(path.endswith(each) for each in dialect.paths):
            return target, path
    raise AssertionError(f"nobody answers {path}")


def _check_key(exchange: Exchange, target: Target) -> None:
    """The provider's key is there, once, and nothing of the gateway's."""
    keys = [value.removeprefix("Bearer ") for name in KEY_HEADERS if (value := exchange.header(name))]
    if keys != [KEY]:
        raise BadRequest(f"{len(keys)} keys, or a wrong one")
    if any(b"ag_" in value for _, value in exchange.headers):
        raise BadRequest("the gateway's key has leaked")
    if target == "anthropic" and not exchange.header("anthropic-version"):
        raise BadRequest("anthropic-version: header is required")


def answer_of(target: Target, said: Said, asked: Asked) -> Script:
    """A proper answer, whole or as a stream, as it was asked for."""
    dialect = DIALECTS[target]
    if not asked.streamed:
        return answer(200, json.dumps(dialect.whole(said, asked)).encode())
    return streamed(target, b"".join(dialect.events(said, asked)))


def streamed(target: Target, body: bytes, *headers: Header) -> Script:
    """A stream with this body, cut anywhere."""

    async def script(exchange: Exchange) -> None:
        kind = (b"content-type", DIALECTS[target].content_type.encode())
        await exchange.head(200, kind, CHUNKED, *headers)
        for at in range(0, len(body), _CUT):
            await exchange.chunk(body[at : at + _CUT])
        await exchange.end()

    return script


def refusal(target: Target, status: int, *headers: Header, code: str = "", message: str = "I will not.") -> Script:
    """An error as this provider writes it."""
    body = json.dumps(DIALECTS[target].fault(status, code, message)).encode()
    named = ((b"x-amzn-errortype", (code or ERRORS[status]).encode()),) if target == "bedrock" else ()
    return answer(status, body, (b"content-type", b"application/json"), *headers, *named)
