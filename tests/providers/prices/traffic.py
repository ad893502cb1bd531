"""What providers really answered, and what they counted: 200s that came as JSON in one piece."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct

DATA: Final = Path(__file__).resolve().parents[4] / "shared" / "data" / "provider-traffic"
recorded_traffic = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no recorded traffic at {DATA}")
OURS: Final = {"gemini": "google"}
"""Hosts of the recordings → our providers, where they are called otherwise."""


class Pair(Struct, frozen=True, kw_only=True):
    """One request and its answer, both parsed."""

    file: str
    provider: str
    api: str
    model: str
    asked: dict[str, Any]
    answer: dict[str, Any]


@lru_cache(maxsize=1)
def pairs() -> tuple[Pair, ...]:
    """Return every pair whose answer states a usage."""
    return tuple(_read())


def _read() -> Iterator[Pair]:
    for line in (DATA / "index.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["status"] != 200 or row["stream"] or not row["usage"]:
            continue
        recorded = json.loads((DATA / row["file"]).read_bytes())
        asked, answer = (_parsed(recorded[side].get("body")) for side in ("request", "response"))
        if asked is not None and answer is not None:
            yield Pair(
                file=row["file"],
                provider=OURS.get(row["provider"], row["provider"]),
                api=row["api"],
                model=str(answer.get("model") or answer.get("modelVersion") or row["model"] or ""),
                asked=asked,
                answer=answer,
            )


def _parsed(body: Any) -> dict[str, Any] | None:
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    return body if isinstance(body, dict) else None
