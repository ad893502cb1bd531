"""Requests that are texts and nothing else: completions, embeddings, moderations, rerankings, pictures to be made."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from trustgate.contract.edits import Edits
from trustgate.contract.prompt import Function, OfferedTool, Prompt, Role, Unreadable
from trustgate.providers.prompts.gather import Gathered, an_object
from trustgate.providers.prompts.tools import Place

TEXTS: Final = (
    *("prompt", "suffix", "input", "inputs", "texts", "query", "documents", "content", "requests", "instructions"),
    "title",
)
"""The fields of these operations that hold text."""


class PlainLens:
    """Reads requests whose texts stand under a few known names."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        found.within("user", 0)
        for name in TEXTS:
            if _has_text(asked.get(name)):
                found.anything((name,), asked[name])
        return found.prompt(
            messages=[asked], max_output=asked.get("max_tokens"), choices=asked.get("n"), tool_choice=""
        )

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """No tools here. Raises Unreadable."""
        raise Unreadable("requests of this operation offer no tools")

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """No tools here: nothing is to be taken away."""
        return {}

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """No system here. Raises Unreadable."""
        raise Unreadable("requests of this operation have no place for a system's text")

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """No messages here. Raises Unreadable."""
        raise Unreadable("requests of this operation are no conversation")


def _has_text(value: Any) -> bool:
    """Say whether there is text and not only tokens, which are numbers that nobody reads."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, str):
            return True
        pending += found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return False


LENS: Final = PlainLens()
