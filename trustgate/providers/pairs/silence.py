"""Embeddings are never streamed: in their pairs, whatever comes as an event says nothing."""

from collections.abc import Sequence

from trustgate.providers.hub import Json, Moment


class SilentReader:
    """A target's events that mean nothing."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        self.finished = False

    def feed(self, event: str, data: Json) -> Sequence[Json]:
        """Return nothing."""
        return ()

    def end(self) -> Sequence[Json]:
        """Return nothing."""
        return ()


class SilentWriter:
    """A caller who is told nothing."""

    def __init__(self, asked: Json, moment: Moment) -> None:
        pass

    def feed(self, chunk: Json) -> Sequence[tuple[str, Json]]:
        """Return nothing."""
        return ()

    def end(self) -> Sequence[tuple[str, Json]]:
        """Return nothing."""
        return ()
