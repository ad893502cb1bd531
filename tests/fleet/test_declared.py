"""A gateway in a file: applied, looked at again, changed, pruned, written down, and what cannot be in one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.program import Program, mint, run_once, running, until

FILE: dict[str, Any] = {
    "gateway": {"slug": "declared", "name": "Declared", "metadata": {"owner": "git"}},
    "registries": [
        {"name": "first", "provider": "echo"},
        {"name": "second", "provider": "echo", "max_concurrency": 7},
        {
            "name": "keyed",
            "provider": "openai",
            "auth": {"type": "api_key", "api_key": {"api_key": "env:TEAM_API_KEY"}},
        },
    ],
    "auths": [{"name": "key", "type": "api_key"}],
    "policies": [
        {"name": "limit", "slug": "rate_limiter", "settings": {"limit": 1000, "window": "1h"}},
        {"name": "all", "slug": "request_size_limiter", "global": True, "settings": {"allowed_payload_size": 1}},
    ],
    "consumers": [
        {
            "name": "app",
            "slug": "app",
            "registries": ["first", {"name": "second", "weight": 3}, "keyed"],
            "auths": ["key"],
            "policies": ["limit"],
            "aliases": {"best": "echo-1"},
            "fallback": {"triggers": ["http_5xx"], "chain": ["keyed"]},
            "model_policies": [{"registry": "first", "allowed": ["echo-1"], "default": "echo-1"}],
        }
    ],
}


SECRETS = {"TEAM_API_KEY": "sk-not-shown"}


class Place:
    """An installation, asked by its address."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self._folder = folder
        self._env = program.env | {"TRUSTGATE_ADMIN_TOKEN": mint(program.secret)}

    def run(self, *arguments: str, file: Any = None, remote: bool = True) -> "subprocess.CompletedProcess[str]":
        place = ["--url", self.program.url("admin")] if remote else []
        if file is not None:
            path = self._folder / "gateway.yaml"
            path.write_text(file if isinstance(file, str) else yaml.safe_dump(file))
            place += ["-f", str(path)]
        return run_once(*arguments, *place, env=self._env, cwd=self._folder)

    def apply(self, file: Any, *more: str, remote: bool = True) -> list[str]:
        told = self.run("apply", *more, file=file, remote=remote)
        assert told.returncode == 0, told.stderr
        return told.stdout.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with running("run", folder=tmp_path / "data", variables=SECRETS) as program:
        yield Place(program, tmp_path)


def changed(**parts: Any) -> dict[str, Any]:
    file: dict[str, Any] = json.loads(json.dumps(FILE))
    return file | parts


@pytest.mark.parametrize("remote", [True, False])
def test_a_gateway_is_made_as_its_file_has_it(place: Place, remote: bool) -> None:
    planned = place.apply(FILE, "--dry-run", remote=remote)
    assert planned[0] == "+ gateway declared"
    assert planned[-1].endswith("differ: nothing was changed")
    assert {"+ registry keyed", "+ policy limit", "+ consumer app", "~ consumer app: attach auth key"} <= set(planned)
    assert place.apply(FILE, "--dry-run", remote=remote) == planned, "and nothing was made"

    made = place.apply(FILE, remote=remote)
    (key,) = [line.split()[4] for line in made if line.startswith("+ key of key")]
    url = place.program.url("proxy", "/app/v1/chat/completions")
    asked = {"model": "best", "messages": [{"role": "user", "content": "Hello!"}]}

    def answered() -> httpx.Response | None:
        told = httpx.post(url, json=asked, headers={"x-ag-api-key": key}, trust_env=False)
        return told if told.status_code == 200 else None

    told = until(answered)
    assert told.headers["x-ratelimit-consumer-limit"] == "1000"
    assert place.apply(FILE, remote=remote) == ["nothing differs"]
    assert "sk-not-shown" not in "".join(made)


def test_what_differs_is_told_and_changed_and_nothing_else(place: Place) -> None:
    place.apply(FILE)
    file = changed()
    file["policies"][0]["settings"]["limit"] = 5
    file["consumers"][0]["registries"][1]["weight"] = 9
    file["consumers"][0]["policies"] = []
    file["registries"][1]["max_concurrency"] = 8
    assert place.apply(file) == [
        "~ registry second: max_concurrency",
        "~ policy limit: settings",
        "~ consumer app: registries",
        "~ consumer app: detach policy limit",
        "4 changed",
    ]
    assert place.apply(file) == ["nothing differs"]


def test_what_is_not_in_the_file_is_told_and_removed_when_it_is_asked_for(place: Place) -> None:
    place.apply(FILE)
    less = changed(policies=FILE["policies"][:1], consumers=[])
    told = place.apply(less)
    assert told == [
        "? consumer app",
        "? policy all",
        "2 not in the file stay: --prune removes them",
        "nothing differs",
    ]
    assert place.apply(less, "--prune") == ["- consumer app", "- policy all", "2 changed"]
    assert place.apply(less, "--prune") == ["nothing differs"]


def test_what_is_written_down_makes_the_same_elsewhere(place: Place, tmp_path: Path) -> None:
    place.apply(FILE)
    written = place.run("export", "--gateway", "declared")
    assert written.returncode == 0, written.stderr
    file = yaml.safe_load(written.stdout)
    assert file["consumers"][0]["fallback"]["chain"] == ["keyed"]
    assert file["consumers"][0]["model_policies"][0]["registry"] == "first"
    assert file["registries"][1]["auth"]["api_key"]["api_key"] == "env:TEAM_API_KEY"
    assert place.apply(file) == ["nothing differs"]
    with running("run", folder=tmp_path / "other", variables=SECRETS) as other:
        elsewhere = Place(other, tmp_path)
        elsewhere.apply(file)
        assert elsewhere.apply(file) == ["nothing differs"]
        assert elsewhere.run("export", "--gateway", "declared").stdout == written.stdout


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("a: [", "is no YAML"),
        ("just words", "the file is no object"),
        ({"gateway": {"name": "x"}}, "gateway.slug is missing"),
        (changed(gateways=[]), "the file has gateways"),
        (changed(policies={"a": 1}), "policies is no list"),
        (changed(policies=[{"slug": "cors"}]), "policies[0].name is missing"),
        (changed(auths=[{"name": "a"}, {"name": "a"}]), "auths has two of the name a"),
        (changed(consumers=[{"name": "app", "registries": ["third"]}]), "third is no registry"),
        (changed(consumers=[{"name": "app", "policies": ["nothing"]}]), "which is no policy"),
        (changed(policies=[{"name": "p", "slug": "rate_limiter", "settings": {"limit": -1}}]), "422"),
    ],
)
def test_what_cannot_be_is_said(place: Place, file: Any, said: str) -> None:
    told = place.run("apply", file=file)
    assert told.returncode == 1
    assert said in told.stderr


def test_whom_to_ask(place: Place, tmp_path: Path) -> None:
    env = place.program.env
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(FILE))
    told = run_once("apply", "-f", "f.yaml", "--url", place.program.url("admin"), env=env, cwd=tmp_path)
    assert (told.returncode, "TRUSTGATE_ADMIN_TOKEN" in told.stderr) == (2, True)
    env = env | {"TRUSTGATE_ADMIN_TOKEN": "no-token-at-all"}
    told = run_once("apply", "-f", "f.yaml", "--url", place.program.url("admin"), env=env, cwd=tmp_path)
    assert (told.returncode, "401" in told.stderr) == (1, True)
    assert "no-token-at-all" not in told.stderr
    told = run_once("apply", "-f", "f.yaml", "--url", "http://127.0.0.1:1", env=env, cwd=tmp_path)
    assert (told.returncode, "cannot be reached" in told.stderr) == (1, True)
    assert place.run("export", "--gateway", "nobody").returncode == 1
    assert place.run("apply", file=None).returncode == 2
