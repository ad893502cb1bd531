"""Anthropic's messages as answers. https://platform.claude.com/docs/en/api/messages/create"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.anthropic import gather_block
from trustgate.providers.prompts.gather import Gathered, an_object


def gather(found: Gathered, answer: Any) -> None:
    """What the blocks say and call."""
    found.content(("content",), an_object(answer, "the answer").get("content"), gather_block)


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """A note stands where the call was, and an answer without calls has ended its turn."""
    edits: dict[Path, Any] = {call.path: {"type": "text", "text": note(call)} for call in gone}
    return edits if left else edits | {("stop_reason",): "end_turn"}


LENS: Final = WholeLens(gather, ended)
