"""OpenAI's older completions as answers. https://platform.openai.com/docs/api-reference/completions/object"""

from typing import Any, Final

from trustgate.providers.answers.whole import WholeLens, no_calls
from trustgate.providers.prompts.gather import Gathered, a_list, an_object


def gather(found: Gathered, answer: Any) -> None:
    """What the alternatives say."""
    for at, choice in enumerate(a_list(an_object(answer, "the answer").get("choices"), "choices")):
        found.choice = at
        found.text(("choices", at, "text"), an_object(choice, "a choice").get("text"))


LENS: Final = WholeLens(gather, no_calls)
