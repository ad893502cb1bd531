"""What all rows share: the mock upstream and the load generator, both on the cores beside the gateway's."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from bench.processes import ROOT, CannotRun, Cores, clean_env, cpu_of, machine_cpu, pinned


class Helper:
    """A process of the bench's own: it talks over pipes, and ends when they close."""

    def __init__(self, module: str, cores: frozenset[int]) -> None:
        self.module = module
        with pinned(cores):
            self.process: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, "-m", module],
                env=clean_env(),
                cwd=ROOT,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise CannotRun(f"{self.module} ended with status {self.process.wait(10)}")
        return line

    def tell(self, order: Mapping[str, Any]) -> Any:
        """Give an order and wait for its answer."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        return json.loads(self.hear())

    def cpu(self) -> float:
        """Return user and system seconds so far."""
        return cpu_of(self.process.pid)

    def end(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)


class Laboratory:
    """The upstream and the load, running for as long as the context lasts."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self.upstream = self._start("bench.upstream")
            self.load = self._start("bench.load")
            self.upstream_port = int(self.upstream.hear())
        except BaseException:
            self.stack.close()
            raise
        return self

    def _start(self, module: str) -> Helper:
        helper = Helper(module, self.cores.others)
        self.stack.callback(helper.end)
        return helper

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stack.close()

    def foreign_cpu(self) -> float:
        """Return the seconds that everybody but the upstream and the load has kept this machine's cores busy."""
        return machine_cpu() - self.upstream.cpu() - self.load.cpu()
