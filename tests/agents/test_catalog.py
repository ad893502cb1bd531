"""The catalogue of public servers: what it says of each, and asking each whether it is there."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from trustgate.config.mcp import McpTarget
from trustgate.mcp.catalog.entries import FILE, Entry, chosen, read, shipped, write
from trustgate.mcp.reach.programs import NO_PROGRAMS
from trustgate.planes.admin.services.mcp import checked_target

from .kit import everything
from .scripted import Scripted

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", read(FILE), ids=lambda entry: entry.code)
def test_an_entry_can_be_made_a_registry(entry: Entry) -> None:
    names = re.findall(r"\{(\w+)\}", entry.url)
    assert names == [variable.name for variable in entry.url_variables]
    url = re.sub(r"\{\w+\}", "filled-in", entry.url)
    assert url.startswith("https://")
    target = McpTarget(url=url, code=entry.code, headers={header.name: "secret" for header in entry.auth_headers})
    assert checked_target(target, None, NO_PROGRAMS) == target
    assert (entry.auth_hint == "oauth") == (entry.oauth is not None)
    assert (entry.auth_hint == "static") <= bool(entry.auth_headers)
    assert 0 <= entry.relevance <= 100
    assert all((entry.display_name, entry.vendor, entry.category, entry.description.endswith(".")))


def test_the_file_is_as_it_is_written(tmp_path: Path) -> None:
    write(tmp_path / "servers.json", read(FILE))
    assert (tmp_path / "servers.json").read_bytes() == FILE.read_bytes()
    assert Counter(entry.url for entry in read(FILE)).most_common(1)[0][1] == 1


def test_a_code_is_of_one_entry(tmp_path: Path) -> None:
    twice = [shipped()[0]] * 2
    write(tmp_path / "servers.json", twice)
    with pytest.raises(ValueError, match="two entries with one code"):
        read(tmp_path / "servers.json")


def test_it_is_searched_by_words_and_kinds() -> None:
    assert [entry.code for entry in chosen("GITHUB issues")] == ["com.github/mcp"]
    assert {entry.category for entry in chosen(category="databases")} == {"Databases"}
    assert {entry.auth_hint for entry in chosen(auth_hint="none")} == {"none"}
    assert chosen("no such thing at all") == []
    assert chosen()[0].relevance == 100


class Answering(Scripted):
    """Answers everything in one way."""

    def __init__(self, status: int, kind: str = "application/json", body: bytes = b"{}") -> None:
        super().__init__()
        self.say = lambda _: (status, kind, body)


def entry(code: str, url: str, **fields: object) -> Entry:
    given = {"display_name": code, "vendor": "v", "category": "c", "description": "d", "auth_hint": "none"}
    return msgspec.convert({"code": code, "url": url, "relevance": 1} | given | fields, Entry)


def test_the_command_asks_each_and_hides_what_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    with (
        everything() as good,
        Answering(401) as guarded,
        Answering(403) as forbidden,
        Answering(200, "text/html", b"<p>Hello") as page,
        Answering(302) as moved,
        Scripted() as dead,
    ):
        dead.dead = True
        asked = {
            "a/good": (good, "ok"),
            "b/guarded": (guarded.url, "auth_required"),
            "c/forbidden": (forbidden.url, "broken_forbidden"),
            "d/page": (page.url, "broken_protocol"),
            "e/moved": (moved.url, "broken_unreachable"),
            "f/dead": (dead.url, "broken_unreachable"),
        }
        entries = [entry(code, url) for code, (url, _) in asked.items()]
        variable = {"name": "key", "required": True, "secret": True, "in": "path"}
        entries.append(entry("g/keyed", "http://127.0.0.1:1/{key}", url_variables=[variable]))
        write(file, entries)
        assert command(file).returncode == 1
        assert not any(each.hidden for each in read(file))
        ran = command(file, "--apply")
    told = {line.split()[1]: line.split()[0] for line in ran.stdout.splitlines()[:-1]}
    assert told == {code: status for code, (_, status) in asked.items()} | {"g/keyed": "skipped_needs_config"}
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "7 asked, 4 of those that are shown are broken")
    hidden = [entry.code for entry in read(file) if entry.hidden]
    assert hidden == ["c/forbidden", "d/page", "e/moved", "f/dead"]
    assert command(file, "--only", "no/such").returncode == 2
    with everything() as good:
        write(file, [entry("a/good", good, hidden=True)])
        assert command(file, "--apply").returncode == 0
    assert not read(file)[0].hidden


def command(file: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "cmd/mcp_catalog/main.py", "--file", str(file), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
