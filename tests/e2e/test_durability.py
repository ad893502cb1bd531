"""`kill -9` in the middle of admin writes: what was acknowledged is there, and what is there is whole."""

import contextlib
import random
import sqlite3
import subprocess
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest

from .program import Admin, Gateway, Json, Program, run_once, until

ROUNDS = 4
AT_LEAST = 15


class Writer:
    """Writes until the server is gone, and keeps what was acknowledged."""

    def __init__(self, program: Program, slug: str) -> None:
        self.made: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.attached: dict[str, str] = {}
        self.refused: list[str] = []
        self.revision = 0
        self._program = program
        with program.admin() as admin:
            self.gateway = admin.gateway(slug)
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def writes(self) -> int:
        """How many writes were acknowledged."""
        return len(self.made) + len(self.deleted) + len(self.renamed) + len(self.attached)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the server's end has been noticed."""
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._program.admin() as admin:
            gateway = Gateway(admin, {"id": self.gateway.id, "slug": self.gateway.slug})
            try:
                for number in range(10_000):
                    self._write(gateway, number)
            except (httpx.HTTPError, OSError):
                return

    def _write(self, gateway: Gateway, number: int) -> None:
        name = f"app-{number}"
        consumer = self._sent(gateway, "POST", "/consumers", {"name": name})["id"]
        self.made[consumer] = name
        key = self._sent(gateway, "POST", "/auths", {"name": name, "type": "api_key"})["id"]
        self._sent(gateway, "POST", f"/consumers/{consumer}/auths/{key}", None)
        self.attached[consumer] = key
        if number % 3 == 1:
            self._sent(gateway, "PUT", f"/consumers/{consumer}", {"name": f"{name}-renamed"})
            self.renamed[consumer] = f"{name}-renamed"
        if number % 3 == 2:
            self._sent(gateway, "DELETE", f"/consumers/{consumer}", None)
            self.deleted.add(consumer)

    def _sent(self, gateway: Gateway, method: str, path: str, body: object) -> dict[str, str]:
        answer = gateway.admin.call(method, gateway.path(path), body)
        if not answer.is_success:
            self.refused.append(f"{method} {path}: {answer.status_code} {answer.text}")
            raise httpx.HTTPError("refused")
        revision, self.revision = self.revision, int(answer.headers["x-ag-revision"])
        assert self.revision > revision
        made: dict[str, str] = answer.json() if answer.content else {}
        return made


def have_written(writers: list[Writer], wanted: int) -> bool:
    return sum(writer.writes for writer in writers) >= wanted


def check_kept(admin: Admin, writer: Writer) -> None:
    """Check that every acknowledged write is there, and that each record is whole."""
    assert not writer.refused
    root = writer.gateway.path()
    found: Json = {}
    for page in range(1, 100):
        items = admin.done("GET", f"{root}/consumers?limit=100&page={page}")["items"]
        found |= {item["id"]: item for item in items}
        if len(items) < 100:
            break
    for id_, name in writer.made.items():
        if id_ in writer.deleted:
            assert id_ not in found
        elif id_ in found:
            assert found[id_]["name"] in (name, f"{name}-renamed")
        else:
            assert id_ == list(writer.made)[-1]  # its deletion may have been written and not acknowledged
    for id_, name in writer.renamed.items():
        assert found[id_]["name"] == name
    for id_, key in writer.attached.items():
        assert id_ not in found or found[id_]["auth_ids"] == [key]


def test_every_acknowledged_write_survives_kill_9(folder: Path) -> None:
    chance = random.Random(7)
    program = Program("run", folder=folder)
    writers: list[Writer] = []
    for round_ in range(ROUNDS):
        program.start()
        with program.admin() as admin:
            for writer in writers:
                check_kept(admin, writer)
        pair = [Writer(program, f"round-{round_}-{name}") for name in ("a", "b")]
        for writer in pair:
            writer.start()
        wanted = AT_LEAST + chance.randrange(30)
        until(partial(have_written, pair, wanted), patience=30, what="writes")
        program.kill()
        for writer in pair:
            writer.join()
        writers += pair
    program.start()
    with program.admin() as admin:
        for writer in writers:
            check_kept(admin, writer)
    assert program.stop() == 0
    assert program.stderr.count("Traceback") == 0
    with contextlib.closing(sqlite3.connect(folder / "trustgate.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.4])
def test_a_start_that_is_killed_can_be_repeated(folder: Path, moment: float) -> None:
    """Wherever the first start was when it was killed, migrations and keys included, the next one works."""
    program = Program("run", "--demo", folder=folder)
    program.env.pop("SERVER_SECRET_KEY")
    program.start(ready=False)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(moment)
    program.kill()
    program.start()
    assert program.stop() == 0
    assert run_once("migrate", env=program.env, cwd=program.cwd).stdout.startswith("nothing to apply")
