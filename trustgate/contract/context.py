"""What a policy sees of a request. Everything is frozen: learning more makes a new context."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from trustgate.contract.cost import Cost, PriceRule
from trustgate.contract.edits import Edits, Path, edited
from trustgate.contract.prompt import AnswerLens, AnswerParts, Prompt, RequestLens, ToolCall, Unreadable
from trustgate.contract.usage import Usage

Dialect = Literal["openai", "openai_responses", "anthropic", "gemini", "cohere", "bedrock", "mcp"]
Stage = Literal["pre_request", "pre_call", "pre_response", "on_chunk", "post_response"]


Family = Literal["chat", "embeddings", "rerank", "count", "models", "stored", "native", "passthrough", "mcp"]
"""What kind of thing is asked: within a family one dialect can be said in another; `native` ones are never translated.

`stored` asks for what an earlier answer left at a provider, `passthrough` for whatever a provider has;
`mcp` is something that agents ask of servers."""


class Operation(Struct, frozen=True, kw_only=True):
    """What is asked: its name, the dialect that it is asked in, its HTTP method, what its body is.

    `stream` None leaves it to the body whether the answer is a stream; `model_in_path` says where the model stands.
    """

    name: str
    dialect: Dialect
    method: str
    family: Family
    body: Literal["json", "form", "any", "none"] = "json"
    stream: bool | None = None
    model_in_path: bool = False

    @property
    def reads_body(self) -> bool:
        """Whether a request has a body."""
        return self.body != "none"


class Caller(Struct, frozen=True, kw_only=True):
    """Who is asking. Ids and names; never a secret."""

    gateway_id: str
    gateway_slug: str
    tenant_id: str
    consumer_id: str
    consumer_slug: str
    consumer_name: str
    auth_id: str
    auth_name: str


AUTO: Final = "auto"
"""The model of a caller who leaves the choice to the gateway, in any case of letters."""
POOL: Final = "pool:"
"""What the name of a consumer's pool begins with where it stands for a model, in any case of letters."""


class Body:
    """The caller's bytes, with the JSON in them parsed at most once and only if somebody looks.

    A body that arrived in many pieces is a bytearray, so that it need not be copied; nobody changes it.
    """

    __slots__ = ("_json", "_prompt", "_tools", "lens", "model", "raw", "stream")

    def __init__(
        self,
        raw: bytes | bytearray,
        *,
        model: str = "",
        stream: bool = False,
        lens: Callable[[], RequestLens] | None = None,
    ) -> None:
        self.raw = raw
        self.model = model
        self.stream = stream
        self.lens = lens
        self._json: Any = None
        self._prompt: Prompt | None = None
        self._tools: bool | None = None

    @property
    def names_model(self) -> bool:
        """Whether it says which model, rather than leave that to the gateway."""
        if not self.model:
            return False
        model = self.model.lower()
        return model != AUTO and not model.startswith(POOL)

    def json(self) -> Any:
        """Return the parsed body. Treat it as read-only: it is shared by every policy of the request."""
        if self._json is None:
            self._json = msgspec.json.decode(self.raw)
        return self._json

    def may_speak_of_tools(self) -> bool:
        """Say whether there may be tools in it, without reading it: false only where there are none in any dialect.

        Their places are called `tools`, `toolConfig`, `tool_calls`, `functions` and the like, unless letters are
        written as escapes.
        """
        if self._tools is None:
            find = self.raw.find
            self._tools = find(b"tool") >= 0 or find(b"unction") >= 0 or find(b"\\u") >= 0
        return self._tools

    def prompt(self) -> Prompt:
        """Return what the request says, read at most once. Raises Unreadable for what cannot be looked into."""
        if self._prompt is None:
            self._prompt = self.reader().read(self._readable()) if self.raw else Prompt()
        return self._prompt

    def reader(self) -> RequestLens:
        """Return the lens of this operation. Raises Unreadable where there is none."""
        if self.lens is None:
            raise Unreadable("requests of this operation cannot be looked into")
        return self.lens()

    def edited(self, edits: Edits) -> bytes:
        """Return the bytes with these edits made; every other value keeps its own. Raises LookupError."""
        return edited(self.raw, edits)

    def changed(self, edits: Edits) -> "Body":
        """Return the body with these edits made. Raises LookupError."""
        return Body(self.edited(edits), model=self.model, stream=self.stream, lens=self.lens)

    def _readable(self) -> Any:
        try:
            return self.json()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable("the body is not JSON that can be read") from error


class RequestContext(Struct, frozen=True, kw_only=True):
    """One admitted request: `id` is its trace id, `started` monotonic seconds; header names are lower case."""

    id: str
    started: float
    caller: Caller
    operation: Operation
    path: str
    headers: Mapping[bytes, bytes]
    body: Body
    session_id: str = ""
    client_ip: str = ""

    def header(self, name: str) -> str:
        """Return a request header, or the empty string."""
        return self.headers.get(name.lower().encode("latin-1"), b"").decode("latin-1")


class Chosen(Struct, frozen=True, kw_only=True):
    """The target that is about to be called: its registry, its provider, and the model that it will be asked for.

    `prices` are the registry's own, before the price book's.
    """

    registry_id: str
    registry: str
    provider: str
    model: str
    prices: tuple[PriceRule, ...] = ()


class AnswerView(Struct, frozen=True, kw_only=True):
    """An answer as response policies see it: whole, in the caller's dialect. `text` joins what the model said.

    A `streamed` one is the bytes of all its events. The methods raise Unreadable for what cannot be looked into.
    """

    status: int
    body: bytes
    text: str
    streamed: bool = False
    lens: Callable[[], AnswerLens] | None = None

    def parts(self) -> AnswerParts:
        """Return what the model says, thinks and calls, part by part."""
        return self._reader().read(self.body)

    def with_texts(self, texts: Mapping[Path, str]) -> bytes:
        """Return the body with other texts in the places of these pieces."""
        return self._reader().with_texts(self.body, texts)

    def without_calls(self, drop: Callable[[ToolCall], bool], note: Callable[[ToolCall], str]) -> bytes:
        """Return the body without these calls, and with a note said in the place of each."""
        return self._reader().without_calls(self.body, drop, note)

    def _reader(self) -> AnswerLens:
        if self.lens is None:
            raise Unreadable("answers of this operation cannot be looked into")
        return self.lens()


class Chunk(Struct, frozen=True, kw_only=True):
    """The part of a live stream that this policy has not let go yet: `text` of one choice, and whether more can follow.

    `arrived` is how many characters of that choice have come in all, `kept` what this policy's last `Rewrite` kept.
    """

    text: str
    choice: int
    final: bool
    arrived: int = 0
    kept: Any = None


class Outcome(Struct, frozen=True, kw_only=True):
    """How a request ended, for the policies that settle. `target` None: nobody was called.

    `refused` is the code of a refusal (by whomever), `answered_by` the slug of a policy that answered in a provider's
    stead. `complete` false is a broken end, `client_left` one for which the caller did not wait. A `cost` that is not
    known is None.
    """

    status: int
    usage: Usage | None = None
    cost: Cost | None = None
    target: Chosen | None = None
    refused: str = ""
    answered_by: str = ""
    complete: bool = True
    client_left: bool = False


class Origin(Struct, frozen=True, kw_only=True):
    """A browser that asks from a page of `value` (scheme, host and port). A preflight names the `method` that it is for
    and the `headers` (lower case) that the page wants to send; a request itself names none."""

    value: str
    method: str = ""
    headers: tuple[str, ...] = ()

    @property
    def preflight(self) -> bool:
        """Whether the browser only asks whether it may ask."""
        return bool(self.method)
