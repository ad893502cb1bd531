"""Converse's answers. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.bedrock import gather_blocks
from trustgate.providers.prompts.gather import Gathered, an_object, fields


def gather(found: Gathered, answer: Any) -> None:
    """What the message says and calls."""
    message = fields(fields(an_object(answer, "the answer").get("output")).get("message"))
    gather_blocks(found, message.get("content"), ("output", "message", "content"))


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """A note stands where the call was, and an answer without calls has ended its turn."""
    edits: dict[Path, Any] = {call.path: {"text": note(call)} for call in gone}
    return edits if left else edits | {("stopReason",): "end_turn"}


LENS: Final = WholeLens(gather, ended)
