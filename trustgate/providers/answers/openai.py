"""OpenAI's chat answers. https://platform.openai.com/docs/api-reference/chat/object"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import REMOVED, Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.gather import Gathered, a_list, a_name, an_object, fields
from trustgate.providers.prompts.openai import gather_message


def gather(found: Gathered, answer: Any) -> None:
    """What the alternatives say and call."""
    for at, choice in enumerate(a_list(an_object(answer, "the answer").get("choices"), "choices")):
        found.choice = at
        message = {**fields(an_object(choice, "a choice").get("message")), "role": "assistant"}
        gather_message(found, message, ("choices", at, "message"), -1)


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """The calls go, the notes are added to what is said, and a choice without calls has stopped."""
    edits: dict[Path, Any] = {}
    for choice in {call.choice for call in gone}:
        path: Path = ("choices", choice)
        mine = [call for call in gone if call.choice == choice]
        said = a_name(fields(answer["choices"][choice].get("message")).get("content"))
        notes = "\n".join(note(call) for call in mine)
        edits[(*path, "message", "content")] = f"{said}\n\n{notes}" if said else notes
        edits |= {call.path: REMOVED for call in mine}
        if not any(call.choice == choice for call in left):
            edits |= {(*path, "message", "tool_calls"): REMOVED, (*path, "finish_reason"): "stop"}
    return edits


LENS: Final = WholeLens(gather, ended)
