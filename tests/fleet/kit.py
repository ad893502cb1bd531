"""A fleet: processes that share a database and nothing else."""

from pathlib import Path
from typing import Any

import httpx

from tests.e2e.program import Admin, Gateway, Key, Program
from tests.fleet.relay import Relay

ASKED = {"model": "echo-1", "messages": [{"role": "user", "content": "Hello!"}]}


class Fleet:
    """The processes of one database. `line` is their way to it."""

    def __init__(self, folder: Path, database: str, line: Relay) -> None:
        self.line = line
        self.programs: list[Program] = []
        self._folder = folder
        self._secret = ""
        self.variables = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(line.port),
            "DB_USER": "postgres",
            "DB_NAME": database,
            "DB_SSL_MODE": "disable",
            "DB_CONNECT_TIMEOUT": "2s",
            "ALLOW_LOCAL_LIMITS": "true",
        }

    def start(self, plane: str, *, ready: bool = True, **variables: str) -> Program:
        """Start one more process, with a folder of its own."""
        folder = self._folder / f"{plane}-{len(self.programs)}"
        program = Program(plane, folder=folder, secret=self._secret, variables=self.variables | variables)
        self._secret = program.secret
        self.programs.append(program)
        return program.start(ready=ready)

    def again(self, program: Program, *, ready: bool = True) -> Program:
        """Start one anew that has ended, where it was."""
        return program.start(ready=ready)

    def stop(self) -> None:
        """Stop all of them; each ends in good order."""
        codes = [program.stop() for program in self.programs if program.process.poll() is None]
        assert set(codes) <= {0}, [program.stderr[-2000:] for program in self.programs]


class Town:
    """One gateway with an echo behind it, made through the admin API."""

    def __init__(self, admin: Admin) -> None:
        self.admin = admin
        self.gateway: Gateway = admin.gateway()
        self.registry = self.gateway.registry("echo", "echo")
        self.consumer = self.gateway.consumer("app", self.registry)
        self.key: Key = self.gateway.key(self.consumer)

    def ask(self, program: Program, **more: Any) -> httpx.Response:
        """Ask one proxy."""
        url = program.url("proxy", "/app/v1/chat/completions")
        return httpx.post(url, json=ASKED, headers=self.key.headers, trust_env=False, timeout=20, **more)

    def told(self, program: Program, status: int) -> bool:
        """Say whether a proxy answers with this status."""
        return self.ask(program).status_code == status

    def serves(self, program: Program, revision: str) -> bool:
        """Say whether a proxy serves this revision."""
        return self.ask(program).headers["x-ag-revision"] == revision
