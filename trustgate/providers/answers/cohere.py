"""Cohere's chat answers. https://docs.cohere.com/reference/chat"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Inserted, Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.gather import Gathered, an_object, fields
from trustgate.providers.prompts.openai import gather_message


def gather(found: Gathered, answer: Any) -> None:
    """What the message says, plans and calls."""
    message = {**fields(an_object(answer, "the answer").get("message")), "role": "assistant"}
    found.text(("message", "tool_plan"), message.get("tool_plan"), "thought")
    gather_message(found, message, ("message",), -1)


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """The calls go, the notes are added as content, and an answer without calls is complete."""
    notes = [{"type": "text", "text": note(call)} for call in gone]
    content = fields(answer.get("message")).get("content")
    edits: dict[Path, Any] = {call.path: REMOVED for call in gone}
    if isinstance(content, list):
        edits[("message", "content", len(content))] = Inserted(*notes)
    else:
        edits[("message", "content")] = notes
    if not left:
        edits |= {("message", "tool_calls"): REMOVED, ("finish_reason",): "COMPLETE"}
    return edits


LENS: Final = WholeLens(gather, ended)
