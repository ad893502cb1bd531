"""The words of a text, and those that say nothing by themselves."""

import re
from typing import Final

EMPTY_WORDS: Final = frozenset(
    (
        *("a", "an", "the", "please", "kindly", "just", "hi", "hello", "hey", "is", "are", "do", "does", "of", "s"),
        *("could", "can", "would"),
    )
)
"""Words that can be left out, put in or changed for one another without asking for something else."""
_WORD: Final = re.compile(r"\w+", re.UNICODE)


def words_of(text: str) -> list[str]:
    """Return the words of a text, without regard to capitals."""
    return _WORD.findall(text.casefold())


def telling_words(text: str) -> list[str]:
    """Return the words of a text that say something, in their order."""
    return [word for word in words_of(text) if word not in EMPTY_WORDS]
