"""OpenAI's responses as answers. https://platform.openai.com/docs/api-reference/responses/object"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.gather import Gathered, a_list, an_object
from trustgate.providers.prompts.responses import gather_item


def gather(found: Gathered, answer: Any) -> None:
    """What the items of the output say and call."""
    for at, item in enumerate(a_list(an_object(answer, "the answer").get("output"), "output")):
        gather_item(found, item, ("output", at))


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """A message with the note stands where the call was."""
    return {call.path: _message(call, note(call)) for call in gone}


def _message(call: ToolCall, text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{call.id}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }


LENS: Final = WholeLens(gather, ended)
