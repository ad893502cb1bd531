"""Servers that are programs of this machine: messages are lines of their standard input and output.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio

A program is started without a shell, in an empty folder that goes with it, as the head of a group of processes that is
ended as a whole. It has of this process's environment where programs are found, and nothing else.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from trustgate.config.mcp import Program
from trustgate.contract.upstream import Clocks, Header, UpstreamFailure
from trustgate.mcp.reach.lines import Line
from trustgate.mcp.servers import Away, Server

GRACE: Final = 2.0
"""Seconds that a program has to go when its input ends, and then when it is told to."""


class Allowed(Struct, frozen=True, kw_only=True):
    """Which programs may be started: none unless `any_at_all`, then those that `commands` name, by name or path.

    `environment` is what all of them are started with, besides what their registry says.
    """

    any_at_all: bool = False
    commands: frozenset[str] = frozenset()
    environment: Mapping[str, str] = {}

    def why_not(self, program: Program) -> str:
        """Return why a program may not be started, nothing if it may."""
        if not self.any_at_all:
            return "programs are not started here: set MCP_ALLOW_STDIO=true to allow that"
        if program.command[0] not in self.commands:
            return f"{program.command[0][:200]} is not one of MCP_STDIO_COMMANDS: add it to those"
        return ""


NO_PROGRAMS: Final = Allowed()


class ProgramOpener:
    """Starts programs, those that may be."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    async def open(self, server: Server, _headers: Sequence[Header], _clocks: Clocks) -> Line:
        """Return the line to a program that is started for it. Raises Away."""
        program = server.program
        assert program is not None, "a server over stdio has one"
        if why := self._allowed.why_not(program):
            raise Away(f"{server.name} may not be started here", detail=why)
        folder = Path(tempfile.mkdtemp(prefix="trustgate-mcp-"))
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # what is said there may hold secrets of the program's
                cwd=folder,
                env={**self._allowed.environment, "HOME": str(folder), "TMPDIR": str(folder), **program.env},
                start_new_session=True,
                limit=server.most + 1024,
            )
        except OSError as wrong:
            shutil.rmtree(folder, ignore_errors=True)
            raise Away(f"{server.name} cannot be started", detail=f"{program.command[0]}: {wrong.strerror}") from None
        return ProgramLine(server, process, folder)


class ProgramLine:
    """The line to one running program."""

    def __init__(self, server: Server, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._server = server
        self._process = process
        self._folder = folder

    async def send(self, message: bytes, _headers: Sequence[Header]) -> None:
        """Write a line, which has no headers. Raises UpstreamFailure."""
        stdin = self._process.stdin
        assert stdin is not None, "it was started with one"
        try:
            stdin.write(message + b"\n")
            await stdin.drain()
        except (ConnectionError, RuntimeError):
            raise UpstreamFailure("connection_lost", "the program has ended") from None

    async def receive(self) -> bytes:
        """Return the next line. Raises Away."""
        stdout = self._process.stdout
        assert stdout is not None, "it was started with one"
        try:
            while line := await stdout.readline():
                if line.strip():
                    return line.strip()
        except ValueError:
            raise Away(f"{self._server.name} says more than the {self._server.most} bytes that it may") from None
        return b""

    async def aclose(self) -> None:
        """End the program: by the end of its input, then by being told to, then at once."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        for told in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await process.wait()
                    break
            self._signal(told)
        await process.wait()
        self._signal(signal.SIGKILL)  # whoever it has started and left
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, told: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, told)
