"""Against shouting: refuses prompts with too many exclamation marks, and softens words that an answer shouts."""

import re
from functools import cached_property
from typing import Annotated, ClassVar

from msgspec import Meta

from trustgate import Chunk, ChunkVerdict, Deny, PolicySettings, RequestContext, Rewrite, Verdict, hookimpl


class ShoutGuardSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Refuses prompts that shout, and softens words that an answer shouts."""

    title: ClassVar[str] = "Shout guard"
    group = "Guardrails"

    words: Annotated[
        tuple[str, ...], Meta(min_length=1, description="Words, or several in a row, that no answer may shout.")
    ]
    max_exclamations: Annotated[int, Meta(ge=0, description="How many exclamation marks a prompt may have.")] = 3

    def __post_init__(self) -> None:
        if not all(word.replace(" ", "").isalpha() for word in self.words):
            raise ValueError("`words` holds something that is no word: use letters, and blanks between words")

    def hold_back(self) -> int:
        return max(map(len, self.words))

    @cached_property
    def shouted(self) -> re.Pattern[str]:
        """What a shouted word looks like, compiled once."""
        return re.compile("|".join(re.escape(word.upper()) for word in self.words))


@hookimpl
def settings_type() -> type[ShoutGuardSettings]:
    return ShoutGuardSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: ShoutGuardSettings) -> Verdict:
    if not ctx.operation.reads_body:
        return None
    loud = ctx.body.prompt().text("user").count("!")
    if loud <= settings.max_exclamations:
        return None
    return Deny(code="shouting", message="Please do not shout.", status=400, details={"exclamations": loud})


@hookimpl
def on_chunk(chunk: Chunk, settings: ShoutGuardSettings) -> ChunkVerdict:
    softened = settings.shouted.sub(lambda found: found[0].lower(), chunk.text)
    return None if softened == chunk.text else Rewrite(text=softened)
