"""Vectors as numpy has them: put together, packed, and compared. Who keeps none does not import this, nor numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = np.ndarray[Any, np.dtype[np.float32]]


def row(vector: Sequence[float]) -> Row:
    """Return a vector in single precision."""
    return np.asarray(vector, dtype=np.float32)


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector in half precision, which moves a similarity by less than 0.001."""
    return np.asarray(vector, dtype="<f2").tobytes()


def unpacked(raw: bytes, *, size: int, offset: int) -> Row:
    """Return a packed vector."""
    return np.frombuffer(raw, dtype="<f2", count=size, offset=offset).astype(np.float32)


def stacked(rows: Sequence[Row]) -> Row:
    """Return rows as one matrix."""
    return np.stack(rows)


def nearest(matrix: Row, vector: Sequence[float], *, at_least: float) -> tuple[int, float] | None:
    """Return which row is most similar and how much, if it is at least so similar."""
    similar = matrix @ row(vector)
    best = int(similar.argmax())
    return None if similar[best] < at_least else (best, min(1.0, float(similar[best])))
