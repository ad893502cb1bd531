"""What guards have in common that ask somebody else: which texts are judged, when, and what becomes of a judgement."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta, Struct

from trustgate.contract.context import AnswerView, Chunk, RequestContext
from trustgate.contract.policy import Duration, PolicySettings, seconds
from trustgate.contract.prompt import Piece
from trustgate.contract.verdict import ChunkVerdict, Deny, Details, Proceed, Rewrite, Verdict

CONTEXT = 300
"""Characters that were let go before and are shown again, so that what is cut in two is recognised."""
_WORDLESS = frozenset(("embeddings", "rerank", "count", "models"))
"""Whose answers are numbers and names."""


class GuardSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The settings of every guard that asks a service."""

    protocols = ("LLM", "MCP")

    inspect: Annotated[
        Literal["request", "response", "request_response"],
        Meta(description="Whether requests are judged, answers (whole ones and streams), or both."),
    ] = "request_response"
    texts: Annotated[
        Literal["new", "all"],
        Meta(
            description="What of a request is judged: `new` is what users and tools said since the last answer of the "
            "model, `all` the whole conversation with what the system says."
        ),
    ] = "new"
    timeout: Annotated[Duration, Meta(description="How long the service may take for one judgement.")] = "5s"
    stream_step: Annotated[
        int,
        Meta(
            ge=20,
            le=100_000,
            description="After how many new characters of a live stream it is asked again; these reach the caller when "
            "it has answered.",
        ),
    ] = 400

    def __post_init__(self) -> None:
        if not 0.01 <= self.within <= 60:
            raise ValueError(f"`timeout` is {self.timeout}: use something from 10ms to 60s")

    @cached_property
    def within(self) -> float:
        """`timeout` in seconds."""
        return seconds(self.timeout)

    def takes(self) -> float:
        """A moment longer than the service may take, so that it is the service of which one hears."""
        return self.within + 0.5

    def step(self) -> int:
        """How often streams are judged."""
        return self.stream_step

    def skips(self) -> frozenset[str]:
        """What is not inspected needs no hook."""
        unused = {"request": ("pre_response", "on_chunk"), "response": ("pre_request",)}
        return frozenset(unused.get(self.inspect, ()))


class Subject(Struct, frozen=True, kw_only=True):
    """What is to be judged: texts, and of a stream what was said before them (`context`) and let go already."""

    stage: Literal["request", "answer", "stream"]
    pieces: tuple[Piece, ...]
    context: str = ""
    final: bool = True

    @property
    def texts(self) -> list[str]:
        """The texts alone."""
        return [piece.text for piece in self.pieces]


class Judged(Struct, frozen=True, kw_only=True):
    """A judgement: a refusal, or other texts in the place of those that were judged (one for each), or neither."""

    deny: Deny | None = None
    texts: Sequence[str] | None = None
    details: Details = None


Judge = Callable[[Subject], Awaitable[Judged]]


async def judge_request(ctx: RequestContext, settings: GuardSettings, judge: Judge) -> Verdict:
    """Have a request judged. Raises what `judge` does, and Unreadable."""
    if not ctx.body.raw or ctx.operation.family in ("models", "stored"):
        return None
    prompt = ctx.body.prompt()
    pieces = _new(prompt.pieces) if settings.texts == "new" else prompt.pieces
    pieces = tuple(piece for piece in pieces if piece.text.strip())
    if not pieces:
        return None
    judged = await judge(Subject(stage="request", pieces=pieces))
    if judged.deny is not None:
        return judged.deny
    edits = _changes(pieces, judged)
    return Proceed(body=ctx.body.edited(edits) if edits else None, details=judged.details)


async def judge_answer(ctx: RequestContext, answer: AnswerView, judge: Judge) -> Verdict:
    """Have a whole answer judged, with what it thinks and what it passes to tools. Raises what `judge` does, and
    Unreadable."""
    if ctx.operation.family in _WORDLESS:
        return None
    pieces = tuple(piece for piece in answer.parts().pieces if piece.text.strip())
    if not pieces:
        return None
    judged = await judge(Subject(stage="answer", pieces=pieces))
    if judged.deny is not None:
        return judged.deny
    edits = _changes(pieces, judged)
    return Proceed(body=answer.with_texts(edits) if edits else None, details=judged.details)


async def judge_chunk(chunk: Chunk, judge: Judge) -> ChunkVerdict:
    """Have the next part of a live stream judged, for a guard that holds nothing back of what it has judged. Raises
    what `judge` does."""
    if not chunk.text.strip():
        return None
    context: str = chunk.kept or ""
    judged = await judge(_live(chunk, context))
    if judged.deny is not None:
        return judged.deny
    text = chunk.text if judged.texts is None else judged.texts[0]
    return Rewrite(text=text, again=0, kept=(context + chunk.text)[-CONTEXT:], details=judged.details)


async def judge_window(chunk: Chunk, judge: Judge) -> ChunkVerdict:
    """Have a live stream judged by a guard that may rewrite it: the end of what it has judged, as much as `hold_back`
    says, it sees again. Raises what `judge` does."""
    if not chunk.text.strip():
        return None
    judged = await judge(_live(chunk, ""))
    if judged.deny is not None:
        return judged.deny
    return None if judged.texts is None else Rewrite(text=judged.texts[0], details=judged.details)


def _live(chunk: Chunk, context: str) -> Subject:
    piece = Piece(path=(), text=chunk.text, role="assistant", choice=chunk.choice)
    return Subject(stage="stream", pieces=(piece,), context=context, final=chunk.final)


def _new(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return what users and tools said since the model spoke last."""
    last = max((piece.message for piece in pieces if piece.role == "assistant"), default=-1)
    new = [piece for piece in pieces if piece.role in ("user", "tool")]
    return tuple(piece for piece in new if piece.message > last or piece.message < 0)


def _changes(pieces: Sequence[Piece], judged: Judged) -> dict[tuple[str | int, ...], str]:
    if judged.texts is None:
        return {}
    pairs = zip(pieces, judged.texts, strict=True)
    return {piece.path: text for piece, text in pairs if text != piece.text}
