"""What the process itself is doing: memory, time, files, and how late its event loop runs."""

import asyncio
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from trustgate.telemetry.metrics import Gauge, Histogram, Labels, Registry

LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
STATM = Path("/proc/self/statm")
STAT = Path("/proc/self/stat")
OPEN_FILES = Path("/proc/self/fd")


def add_process(registry: Registry, *, version: str) -> None:
    """Expose the process under Prometheus' own names, and which build it is."""
    build: Mapping[Labels, float] = {(version, platform.python_version()): 1.0}
    started = _started()
    registry.add(
        Gauge("trustgate_build_info", "The build that runs.", lambda: build, ("version", "python")),
        Gauge("process_resident_memory_bytes", "Resident memory size in bytes.", _resident),
        Gauge("process_cpu_seconds_total", "User and system CPU time in seconds.", time.process_time, kind="counter"),
        Gauge("process_open_fds", "Open file descriptors.", _open_files),
        Gauge("process_start_time_seconds", "Start of the process in Unix seconds.", lambda: started),
    )


def _resident() -> float:
    if STATM.exists():
        return int(STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    # without /proc only the peak is known: in bytes on macOS, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _open_files() -> float:
    # listing them opens one more
    return len(list(OPEN_FILES.iterdir())) - 1 if OPEN_FILES.is_dir() else 0


def _started() -> float:
    if not STAT.exists():
        return time.time()
    ticks = float(STAT.read_text("ascii").rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


class LoopLag:
    """Measures how late a timer fires: what everything else on the loop has to wait for too."""

    def __init__(self, registry: Registry, *, every: float = 0.5) -> None:
        self._every = every
        self._timer: asyncio.TimerHandle | None = None
        histogram = Histogram("trustgate_event_loop_lag_seconds", "How late the event loop runs timers.", LAG_SECONDS)
        self._late = histogram.cell(())
        self._loop: asyncio.AbstractEventLoop | None = None
        registry.add(histogram, Gauge("trustgate_event_loop_tasks", "Tasks that the event loop has.", self._tasks))

    def start(self) -> None:
        """Measure on the running loop until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._arm(self._loop)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer:
            self._timer.cancel()

    def _tasks(self) -> float:
        return len(asyncio.all_tasks(self._loop)) if self._loop is not None else 0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._every
        self._timer = loop.call_at(due, self._fire, loop, due)

    def _fire(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._late.observe(max(0.0, loop.time() - due))
        self._arm(loop)
