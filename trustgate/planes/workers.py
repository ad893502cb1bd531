"""Several processes behind one port: a supervisor that serves nothing, and workers that are whole programs.

The supervisor listens and hands its sockets down, so that whoever connects waits for some worker, and not for one that
may be gone. On SIGHUP they are replaced one after the other: the new one serves before the old one stops, and that one
finishes what it has. One that dies is replaced.
"""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

log = logging.getLogger("trustgate.workers")

START_WITHIN: Final = 60.0
"""Seconds that a worker has until it serves."""
EARLY: Final = 10.0
"""A worker that lived for fewer seconds than this has not got far: after a few of them it is no use to start others."""
MOST_EARLY: Final = 5
LOOK_EVERY: Final = 0.05
LEAVE: Final = signal.SIGUSR1
"""Tells a worker to stop listening at once and to finish what it has."""


SUPERVISOR: Final = "supervisor"
"""The file that says whose workers they are: one that was orphaned before it looked has another parent by then."""


class Above(Struct, frozen=True, kw_only=True):
    """What a worker is told of its supervisor: who it is, and which of its descriptors listens for which plane."""

    pid: int
    sockets: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> "Above":
        """Return what is told to the workers whose place is in this folder."""
        return msgspec.json.decode((folder / SUPERVISOR).read_bytes(), type=cls)


class Worker:
    """One process. It serves once there is a socket with its number in `folder`."""

    def __init__(self, arguments: Sequence[str], folder: Path, sockets: Sequence[int]) -> None:
        self.started = time.monotonic()
        command = [sys.executable, "-m", "trustgate", *arguments, "--worker", str(folder)]
        self.process = subprocess.Popen(command, pass_fds=sockets)  # noqa: S603 - ourselves
        self._place = folder / f"{self.process.pid}.sock"

    @property
    def serves(self) -> bool:
        """Whether it has come so far."""
        return self._place.exists()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def tell(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if not self.ended:
            self.process.send_signal(number)

    def forget(self) -> None:
        """Remove what one that was killed has left."""
        self._place.unlink(missing_ok=True)


class Supervisor:
    """Keeps so many workers. `run` returns the exit status. `sockets` listen already, by the name of their plane."""

    def __init__(self, arguments: Sequence[str], number: int, sockets: Mapping[str, socket.socket]) -> None:
        self._arguments = arguments
        self._number = number
        self._folder = Path(tempfile.mkdtemp(prefix="trustgate-workers-"))
        self._listening = sockets  # which close themselves when nobody holds them
        self._sockets = {name: each.fileno() for name, each in sockets.items()}
        (self._folder / SUPERVISOR).write_bytes(msgspec.json.encode(Above(pid=os.getpid(), sockets=self._sockets)))
        self._workers: list[Worker] = []
        self._leaving: list[Worker] = []
        self._early = 0
        self._stops = False
        self._renews = False
        self._failed = False

    def run(self) -> int:
        """Start the workers and see to them until a signal says stop."""
        for number, act in ((signal.SIGTERM, self._stop), (signal.SIGINT, self._stop), (signal.SIGHUP, self._renew)):
            signal.signal(number, act)
        try:
            self._workers = [self._start() for _ in range(self._number)]
            if not self._until(lambda: all(map(_has_begun, self._workers))):
                log.error("the workers do not serve within %g s", START_WITHIN)
            log.info("%d workers serve", sum(worker.serves for worker in self._workers))
            while not self._stops:
                self._look_after()
                time.sleep(LOOK_EVERY)
            return self._end()
        finally:
            for worker in (*self._workers, *self._leaving):
                worker.tell(signal.SIGKILL)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _look_after(self) -> None:
        if self._renews:
            self._renews = False
            self._replace_all()
        self._leaving = [worker for worker in self._leaving if not worker.ended]
        for at, worker in enumerate(self._workers):
            if worker.ended and not self._stops:
                self._after_death(at, worker)

    def _after_death(self, at: int, worker: Worker) -> None:
        worker.forget()
        code = worker.process.returncode
        self._early = self._early + 1 if time.monotonic() - worker.started < EARLY else 0
        if self._early >= MOST_EARLY or (code == 2 and not worker.serves and self._early):
            log.error("a worker ended with %d soon after its start: giving up", code)
            self._stops, self._failed = True, True
            return
        log.warning("worker %d ended with %d: another one takes its place", worker.process.pid, code)
        self._workers[at] = self._start()

    def _replace_all(self) -> None:
        """Replace one worker after the other; one whose successor does not serve stays."""
        log.info("replacing %d workers", len(self._workers))
        for at, worker in enumerate(self._workers):
            successor = self._start()
            if not self._until(partial(_has_begun, successor)) or successor.ended:
                log.error("a new worker does not serve: worker %d stays", worker.process.pid)
                successor.tell(signal.SIGKILL)
                return
            self._workers[at] = successor
            self._leaving.append(worker)
            worker.tell(LEAVE)
            if self._stops:
                return
        log.info("all workers were replaced")

    def _end(self) -> int:
        everybody = [*self._workers, *self._leaving]
        for worker in everybody:
            worker.tell(signal.SIGTERM)
        for worker in everybody:
            worker.process.wait()
        return 1 if self._failed or any(worker.process.returncode for worker in self._workers) else 0

    def _start(self) -> Worker:
        return Worker(self._arguments, self._folder, tuple(self._sockets.values()))

    def _until(self, done: Callable[[], bool]) -> bool:
        """Wait until it is so. Returns False when it took too long, or when a signal said stop."""
        deadline = time.monotonic() + START_WITHIN
        while not done():
            if time.monotonic() > deadline or self._stops:
                return False
            time.sleep(LOOK_EVERY)
        return True

    def _stop(self, *_: object) -> None:
        if self._stops:  # the second time: hurry
            for worker in (*self._workers, *self._leaving):
                worker.tell(signal.SIGTERM)
        self._stops = True

    def _renew(self, *_: object) -> None:
        self._renews = True


def _has_begun(worker: Worker) -> bool:
    return worker.serves or worker.ended
