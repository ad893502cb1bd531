"""What is to come of each fault: with another provider beside the faulty one, and without."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tests.failover.table import Form, Seen

ANSWER: Final = "the answer"
BROKEN: Final = "its beginning, then an error event"
PASSED: Final = "what passed"
NOTHING: Final = "nothing"
GOOD: Final = Seen(ANSWER, (1, 1), ANSWER)
"""The other provider's answer, and the caller knows of nothing."""
WITHIN: Final = Seen(BROKEN, (1, 0), PASSED)
"""What was sent cannot be taken back."""


class Row(Struct, frozen=True):
    """What comes of a fault for whole answers and for streams: with another provider, and alone."""

    plain: tuple[Seen, Seen]
    streamed: tuple[Seen, Seen]

    def expected(self, form: Form, *, alone: bool) -> Seen:
        """Return what is to come of it."""
        return (self.plain if form == "plain" else self.streamed)[alone]


class Flapping(Struct, frozen=True):
    """A minute in which one of two providers fails in every other second: requests, of which all are answered, and how
    many calls to it may be lost on that in all."""

    requests: int
    lost: int


FLAPPING: Final = Flapping(requests=600, lost=90)

ROWS: Final[Mapping[str, Row]] = {
    "429": Row(*[(GOOD, Seen("429", (3, 0), NOTHING))] * 2),
    "429, `Retry-After: 1`": Row(*[(GOOD, Seen(ANSWER, (2, 0), ANSWER))] * 2),
    "429, `Retry-After: 60`": Row(*[(GOOD, Seen("429, `Retry-After: 60`", (1, 0), NOTHING))] * 2),
    "one 500": Row(*[(GOOD, Seen(ANSWER, (2, 0), ANSWER))] * 2),
    "500, lasting": Row(*[(GOOD, Seen("500", (3, 0), NOTHING))] * 2),
    "503": Row(*[(GOOD, Seen("503", (3, 0), NOTHING))] * 2),
    "401 (a key that is not taken)": Row(*[(GOOD, Seen("401", (1, 0), NOTHING))] * 2),
    "connection refused": Row(*[(GOOD, Seen("502", (3, 0), NOTHING))] * 2),
    "reset before a byte": Row(*[(GOOD, Seen("502", (3, 0), NOTHING))] * 2),
    "reset behind the head": Row(*[(GOOD, Seen("502", (3, 0), NOTHING))] * 2),
    "reset in the middle of the body": Row((GOOD, Seen("502", (3, 0), NOTHING)), (WITHIN, WITHIN)),
    "silence before the first byte": Row(*[(GOOD, Seen("504", (1, 0), NOTHING))] * 2),
    "a stall in the middle": Row((GOOD, Seen("504", (1, 0), NOTHING)), (WITHIN, WITHIN)),
    "a cut in the middle": Row((GOOD, Seen("502", (1, 0), NOTHING)), (WITHIN, WITHIN)),
    "a malformed beginning": Row(*[(GOOD, Seen("502", (1, 0), NOTHING))] * 2),
    "an error in a 200": Row((GOOD, Seen("502", (1, 0), NOTHING)), (GOOD, WITHIN)),
    "the end is missing": Row((GOOD, Seen("502", (3, 0), NOTHING)), (WITHIN, WITHIN)),
    "400, context too long": Row(*[(Seen("400", (1, 0), NOTHING), Seen("400", (1, 0), NOTHING))] * 2),
    "400, content filter": Row(*[(Seen("400", (1, 0), NOTHING), Seen("400", (1, 0), NOTHING))] * 2),
    "a slow drip": Row(*[(Seen(ANSWER, (1, 0), ANSWER), Seen(ANSWER, (1, 0), ANSWER))] * 2),
}
