"""Gemini's answers. https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trustgate.contract.edits import Path
from trustgate.contract.prompt import ToolCall
from trustgate.providers.answers.whole import WholeLens
from trustgate.providers.prompts.gather import Gathered, a_list, an_object
from trustgate.providers.prompts.gemini import gather_parts


def gather(found: Gathered, answer: Any) -> None:
    """What the candidates say and call."""
    for at, candidate in enumerate(a_list(an_object(answer, "the answer").get("candidates"), "candidates")):
        found.choice = at
        gather_parts(found, an_object(candidate, "a candidate").get("content"), ("candidates", at, "content"))


def ended(
    answer: Any, gone: Sequence[ToolCall], left: Sequence[ToolCall], note: Callable[[ToolCall], str]
) -> Mapping[Path, Any]:
    """A note stands where the call was; a candidate that calls ends as any other does."""
    return {call.path: {"text": note(call)} for call in gone}


LENS: Final = WholeLens(gather, ended)
