"""Every program that a test has made. One that fails before it has ended its own leaves that to the session's end."""

from typing import Protocol


class Left(Protocol):
    """Something that runs, and can be ended whatever state it is in."""

    def abandon(self) -> None:
        """End it."""


programs: list[Left] = []
