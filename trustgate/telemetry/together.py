"""The metrics of all workers as those of one: each tells its own on a socket, and whoever is scraped adds them up."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trustgate.telemetry.metrics import number

log = logging.getLogger("trustgate.metrics")

WITHIN: Final = 1.0
"""Seconds that another worker has to tell its own; without it the figures of that worker are missing."""
_LEAST: Final = frozenset(
    ("trustgate_snapshot_revision", "trustgate_snapshot_checked_seconds", "process_start_time_seconds")
)
_MOST: Final = frozenset(("trustgate_build_info", "trustgate_spool_oldest_seconds", "trustgate_targets_left_alone"))


class Together:
    """This process's figures, and where it is a worker those of the others with them."""

    def __init__(self, render: Callable[[], str]) -> None:
        self._render = render
        self._place: Path | None = None
        self._server: asyncio.Server | None = None

    async def start(self, place: Path) -> None:
        """Tell whoever asks at a socket beside those of the others. From now on this worker counts as serving."""
        self._server = await asyncio.start_unix_server(self._answer, place)
        self._place = place

    async def aclose(self) -> None:
        """Tell nobody any more."""
        server, self._server = self._server, None
        if server is not None and self._place is not None:
            server.close()
            self._place.unlink(missing_ok=True)

    async def render(self) -> str:
        """Return the figures of all workers as those of one."""
        place = self._place
        if place is None:
            return self._render()
        others = [path for path in sorted(place.parent.glob("*.sock")) if path != place]
        told = await asyncio.gather(*(self._ask(path) for path in others))
        return merged([self._render(), *(text for text in told if text)])

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._render().encode())
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    async def _ask(self, path: Path) -> str:
        try:
            async with asyncio.timeout(WITHIN):
                reader, writer = await asyncio.open_unix_connection(path)
                text = await reader.read()
                writer.close()
                return text.decode()
        except (OSError, TimeoutError):
            log.warning("the worker behind %s does not tell its metrics", path.name)
            return ""


def merged(texts: Sequence[str]) -> str:
    """Return several expositions as one. Counts and amounts are added up; of what is one for all, such as a revision,
    the least or the most is told."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, dict[str, float]] = {}
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                name = line.split(" ", 3)[2]
                if name != family:
                    family = name
                    if family not in heads:
                        heads[family] = []
                        samples[family] = {}
                if line not in heads[family]:
                    heads[family].append(line)
            elif line:
                sample, _, value = line.rpartition(" ")
                _add(family, samples.setdefault(family, {}), sample, float(value))
    lines: list[str] = []
    for family, told in samples.items():
        lines += heads.get(family, [])
        lines += [f"{sample} {number(value)}" for sample, value in told.items()]
    return "\n".join(lines) + "\n"


def _add(family: str, told: dict[str, float], sample: str, value: float) -> None:
    known = told.get(sample)
    if known is None:
        told[sample] = value
    elif family in _LEAST:
        told[sample] = min(known, value)
    elif family in _MOST:
        told[sample] = max(known, value)
    else:
        told[sample] = known + value
