"""Starting, pinning, weighing and ending the processes that are measured. Linux only: everything is read from /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LISTENING = "0A"


class CannotRun(Exception):
    """Something could not be installed, started or measured; the text is the reason shown in the table."""


class Cores(NamedTuple):
    """Which cores belong to the gateway, and which to the upstream and the load generator."""

    gateway: frozenset[int]
    others: frozenset[int]


def share_cores() -> Cores:
    """Give the gateway one core for itself where there are two or more."""
    first, *rest = sorted(os.sched_getaffinity(0))
    return Cores(frozenset({first}), frozenset(rest or {first}))


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Start children inside this block: they inherit the cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def clean_env(**extra: str) -> dict[str, str]:
    """Return an environment without proxies, keys and settings of whoever runs the bench."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | extra


def fresh_port() -> int:
    """Return a port of loopback that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if not _listeners(port):
            return port


def _listeners(port: int) -> set[str]:
    """Return the socket inodes that listen on a port. SO_REUSEPORT allows several, which then share the load."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            found |= {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    return found


class _Stat(NamedTuple):
    pid: int
    parent: int
    session: int
    ticks: int
    started: int
    pages: int


def _stats() -> list[_Stat]:
    return [stat for entry in Path("/proc").iterdir() if entry.name.isdigit() and (stat := _stat(entry))]


def _stat(entry: Path) -> _Stat | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    numbers = [int(field) for field in fields[1:]]
    return _Stat(int(entry.name), numbers[0], numbers[2], sum(numbers[10:14]), numbers[18], numbers[20])


def cpu_of(pid: int) -> float:
    """Return the user and system seconds of one process so far."""
    stat = _stat(Path(f"/proc/{pid}"))
    return stat.ticks / TICK if stat else 0.0


def machine_cpu() -> float:
    """Return the seconds for which the cores of this machine were busy, with anything."""
    user, nice, system, _idle, _waiting, *rest = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / TICK


class Child:
    """A process of ours and everything it starts: one session, so that nothing escapes the sum or the end."""

    def __init__(self, command: Sequence[str | Path], *, env: Mapping[str, str], folder: Path, log: Path) -> None:
        self.log = log
        self.began = time.monotonic()
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def tree(self) -> list[_Stat]:
        """Return the process and its descendants, also those whose parent is gone."""
        root, stats = self.process.pid, _stats()
        found = {stat.pid for stat in stats if root in (stat.pid, stat.session)}
        while more := {stat.pid for stat in stats if stat.parent in found} - found:
            found |= more
        return [stat for stat in stats if stat.pid in found]

    def cpu(self) -> float:
        """Return user and system seconds so far, children that have ended included."""
        return sum(stat.ticks for stat in self.tree()) / TICK

    def memory(self) -> float:
        """Return the resident megabytes of the whole tree."""
        return sum(stat.pages for stat in self.tree()) * PAGE / 1e6

    def last_words(self) -> str:
        """Return the last line that the process wrote, for a reason that can be acted on."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else "it wrote nothing"

    def check_alone(self, port: int) -> None:
        """Raise CannotRun when anybody but this process listens on its port."""
        foreign = _listeners(port) - self._sockets()
        if foreign:
            raise CannotRun(f"somebody else listens on port {port} too")

    def _sockets(self) -> set[str]:
        return {inode for stat in self.tree() for inode in _sockets_of(stat.pid)}

    def end(self) -> None:
        """Ask the process to end, then make sure of it and of everything it started."""
        family = {(stat.pid, stat.started) for stat in self.tree()}
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for stat in _stats():
            if (stat.pid, stat.started) in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stat.pid, signal.SIGKILL)
        self.process.wait(5)


def _sockets_of(pid: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield str(link.readlink()).removeprefix("socket:[").removesuffix("]")


def answers(port: int, path: str) -> bool:
    """Say whether a GET is answered with anything but a server error."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 400
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def wait_until(ready: Callable[[], bool], child: Child, *, limit: float, what: str) -> float:
    """Poll until something holds; return the seconds since the child began. Raises CannotRun."""
    while not ready():
        if child.process.poll() is not None:
            raise CannotRun(f"could not be started: ended with status {child.process.returncode}: {child.last_words()}")
        if time.monotonic() - child.began > limit:
            raise CannotRun(f"could not be started: not {what} after {limit:.0f} s: {child.last_words()}")
        time.sleep(0.01)
    return time.monotonic() - child.began
