"""Says the same in fewer tokens: JSON without its blanks, lines without blanks at their end, no colours of a terminal.

No model is asked, and nothing is left out that a reader would miss: code keeps its indentation, numbers keep their
spelling.
"""

from collections.abc import Mapping

from trustgate import Path, Piece, Proceed, RequestContext, Unreadable, Verdict, hookimpl
from trustgate_plugins.prompt_compression.settings import PromptCompressionSettings
from trustgate_plugins.prompt_compression.text import compressed

Header = tuple[bytes, bytes]


@hookimpl
def settings_type() -> type[PromptCompressionSettings]:
    return PromptCompressionSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: PromptCompressionSettings) -> Verdict:
    size = len(ctx.body.raw)
    if ctx.operation.family != "chat":
        return None
    if settings.max_body_bytes and size > settings.max_body_bytes:
        return Proceed(headers=_told("skipped_too_large"))
    try:
        pieces = ctx.body.prompt().pieces
    except Unreadable:
        return Proceed(headers=_told("skipped_unsupported_format"))
    edits = _edits(pieces, settings)
    if not edits:
        return Proceed(headers=_told("no_change"))
    body = ctx.body.edited(edits)
    saved = size - len(body)
    if saved <= 0:
        return Proceed(headers=_told("no_change"))
    more = (
        (b"x-prompt-compression-saved", b"%d" % saved),
        (b"x-prompt-compression-ratio", b"%.4f" % (len(body) / size)),
    )
    details = {"before_bytes": size, "after_bytes": len(body), "pieces": len(edits)}
    return Proceed(body=body, headers=(*_told("compressed"), *more), details=details)


def _edits(pieces: tuple[Piece, ...], settings: PromptCompressionSettings) -> Mapping[Path, str]:
    found: dict[Path, str] = {}
    for piece in pieces:
        wanted = piece.kind in ("text", "tool_result") and len(piece.text) >= settings.min_length
        if wanted and (not settings.target_roles or piece.role in settings.target_roles):
            short = compressed(piece.text, settings)
            if len(short) < len(piece.text):
                found[piece.path] = short
    return found


def _told(word: str) -> tuple[Header, ...]:
    return ((b"x-prompt-compression", word.encode()),)
