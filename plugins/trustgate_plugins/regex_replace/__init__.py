"""Patterns in what is asked and answered, replaced. The patterns are a tenant's, so RE2 runs them: in linear time."""

from collections.abc import Iterable, Mapping
from typing import Any

from trustgate import AnswerView, Chunk, ChunkVerdict, Path, Piece, Proceed, RequestContext, Rewrite, Verdict, hookimpl
from trustgate_plugins.regex_replace.settings import RegexReplaceSettings

READ = frozenset(("text", "tool_result", "tool_arguments"))
"""Kinds of text that are changed. Thoughts are signed by providers."""

WORDLESS = frozenset(("embeddings", "count", "models"))
"""Whose answers are numbers and names."""


@hookimpl
def settings_type() -> type[RegexReplaceSettings]:
    return RegexReplaceSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: RegexReplaceSettings) -> Verdict:
    if not ctx.body.raw:
        return None
    edits, times = _replaced(ctx.body.prompt().pieces, settings)
    return Proceed(body=ctx.body.edited(edits), details={"replaced": times}) if edits else None


@hookimpl
def pre_response(ctx: RequestContext, answer: AnswerView, settings: RegexReplaceSettings) -> Verdict:
    if ctx.operation.family in WORDLESS:
        return None
    edits, times = _replaced(answer.parts().pieces, settings)
    return Proceed(body=answer.with_texts(edits), details={"replaced": times}) if edits else None


@hookimpl
def on_chunk(chunk: Chunk, settings: RegexReplaceSettings) -> ChunkVerdict:
    begun = chunk.kept or settings.patterns.begin()
    waited = sum(len(state.waits) for state in begun)
    step = settings.patterns.live(begun, chunk.text[waited:], final=chunk.final, window=settings.window)
    waits = step.waits
    details = {"replaced": step.times} if step.times else None
    return Rewrite(text=step.done + waits, again=len(waits), kept=step.begun, details=details)


def _replaced(pieces: Iterable[Piece], settings: RegexReplaceSettings) -> tuple[Mapping[Path, Any], int]:
    edits: dict[Path, str] = {}
    total = 0
    for piece in pieces:
        if piece.kind in READ:
            text, times = settings.patterns.replace(piece.text)
            total += times
            if text != piece.text:
                edits[piece.path] = text
    return edits, total
