"""`run --demo`: what a newcomer is told works as it stands, and is the same after the next start."""

import contextlib
import shutil
import stat
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shlex import split

import httpx
import jwt
import openai
import pytest

from .program import Admin, Json, Program, running, until
from .wire import Answer, ask, chat

WELCOME = "TrustGate is ready."


class Told:
    """What the program has printed: the addresses, a token, and a command to paste."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self.urls = {line.split()[0]: line.split()[1] for line in lines if " http://" in line and "curl" not in line}
        self.token = next(line for line in lines if line.startswith("eyJ"))
        at = text.index("curl ")
        self.command = split(text[at:].replace("\\\n", " "))

    @property
    def url(self) -> str:
        """The address that the command asks."""
        return self.command[1]

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the command sends."""
        pairs = [line.partition(": ") for flag, line in pairwise(self.command) if flag == "-H"]
        return {name: value for name, _, value in pairs}

    @property
    def body(self) -> bytes:
        """The body that the command sends."""
        return self.command[self.command.index("-d") + 1].encode()


@contextlib.contextmanager
def started(folder: Path, **variables: str) -> Iterator[tuple[Program, Told]]:
    """Run the demo as a newcomer does, with no secret key of one's own; tell what it has printed this time."""
    program = Program("run", "--demo", folder=folder, variables=variables)
    program.env.pop("SERVER_SECRET_KEY")
    before = program.stdout.count(WELCOME)
    try:
        program.start()
        until(lambda: program.stdout.count(WELCOME) > before and program.stdout.endswith("'\n\n"), what="the welcome")
        yield program, Told(program.stdout.rpartition(WELCOME)[2])
    finally:
        code = program.stop()
    assert code == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with started(tmp_path_factory.mktemp("demo") / "data") as (program, _):
        yield program


@pytest.fixture(scope="module")
def told(demo: Program) -> Told:
    return Told(demo.stdout)


def paste(told: Told) -> Answer:
    """Do what the command does."""
    port, path = told.url.removeprefix("http://localhost:").split("/", 1)
    return ask(int(port), "POST", f"/{path}", told.headers, told.body)


def test_the_command_that_is_printed_answers(told: Told) -> None:
    answer = paste(told)
    assert answer.status == 200, answer.body
    assert "Hello!" in answer.json()["choices"][0]["message"]["content"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_command_works_when_it_is_pasted(told: Told) -> None:
    command = [told.command[0], "--silent", "--fail", "--noproxy", "*", *told.command[1:]]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert '"chat.completion"' in said.stdout


def test_the_three_addresses_answer(told: Told) -> None:
    assert set(told.urls) == {"admin", "proxy", "mcp"}
    for url in told.urls.values():
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    page = httpx.get(f"{told.urls['admin']}/docs", trust_env=False)
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    assert httpx.get(f"{told.urls['admin']}/openapi.json", trust_env=False).json()["openapi"].startswith("3.1")


def test_the_token_opens_the_admin_plane(told: Told) -> None:
    with Admin(told.urls["admin"], told.token) as admin:
        assert [gateway["slug"] for gateway in admin.done("GET", "/v1/gateways")["items"]] == ["demo"]
    claims = jwt.decode(told.token, options={"verify_signature": False})
    assert 86_000 < claims["exp"] - claims["iat"] <= 86_400


def test_the_key_alone_is_enough_for_a_drop_in(told: Told) -> None:
    with openai.OpenAI(base_url=f"{told.urls['proxy']}/v1", api_key=told.headers["X-AG-API-Key"]) as client:
        said = client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].finish_reason == "stop"


def test_its_secrets_are_for_its_owner_alone(demo: Program, told: Told) -> None:
    for name in ("demo.json", "server-secret.key"):
        assert stat.S_IMODE((demo.folder / name).stat().st_mode) == 0o600, name
    assert told.headers["X-AG-API-Key"] in (demo.folder / "demo.json").read_text()
    assert told.headers["X-AG-API-Key"] not in demo.stderr


def inventory(program: Program, token: str) -> Json:
    """Return everything that the demo made, by kind."""
    with Admin(program.url("admin"), token) as admin:
        [gateway] = admin.done("GET", "/v1/gateways")["items"]
        kinds = ("registries", "consumers", "auths", "policies")
        return {kind: admin.done("GET", f"/v1/gateways/{gateway['id']}/{kind}")["items"] for kind in kinds}


def test_starting_again_makes_nothing_twice(folder: Path) -> None:
    seen = []
    for _ in range(3):
        with started(folder) as (program, told):
            assert paste(told).status == 200
            seen.append((told.headers, inventory(program, told.token)))
    assert seen[0] == seen[1] == seen[2]
    assert {kind: len(items) for kind, items in seen[0][1].items()} == {
        "registries": 1,
        "consumers": 1,
        "auths": 1,
        "policies": 0,
    }


def test_a_key_whose_file_was_lost_is_replaced(folder: Path) -> None:
    with started(folder) as (_, old):
        pass
    (folder / "demo.json").unlink()
    with started(folder) as (program, new):
        assert new.headers != old.headers
        assert paste(new).status == 200
        assert chat(program.ports["proxy"], old.headers).status == 401
        assert len(inventory(program, new.token)["auths"]) == 1


def test_a_provider_key_in_the_environment_adds_a_real_registry(folder: Path) -> None:
    """The echo still answers for its own model; the key is sealed, and printed nowhere."""
    with started(folder, OPENAI_API_KEY="sk-from-the-environment-1") as (program, told):
        made = inventory(program, told.token)
        assert sorted(registry["provider"] for registry in made["registries"]) == ["echo", "openai"]
        assert paste(told).status == 200
        listed = ask(program.ports["proxy"], "GET", "/my-app/v1/models", told.headers).json()["data"]
        assert {"echo-1", "gpt-4o"} <= {model["id"] for model in listed}
        assert "sk-from-the-environment-1" not in str(made)
    written = b"".join(file.read_bytes() for file in folder.glob("trustgate.db*"))
    assert b"sk-from-the-environment-1" not in written
    assert "sk-from-the-environment-1" not in program.stdout + program.stderr


def test_production_has_its_own_key(folder: Path) -> None:
    """In production the demo runs too, on the key that is given; none is made."""
    with running("run", "--demo", folder=folder, variables={"APP_ENV": "production"}) as program:
        until(lambda: program.stdout.endswith("'\n\n"), what="the welcome")
        assert paste(Told(program.stdout)).status == 200
    assert not (folder / "server-secret.key").exists()
