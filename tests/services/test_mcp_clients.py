"""The official TypeScript clients and the Inspector, before the official example server and before two of them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.agents import npm
from tests.agents.kit import Agency, serving
from tests.e2e.program import Program, running

SERVER = str(npm.MODULES / "server-everything" / "dist" / "index.js")
INSPECTOR = str(npm.MODULES / "inspector" / "clients" / "launcher" / "build" / "index.js")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    npm.install()


def everything() -> AbstractContextManager[str]:
    """Serve the official example server on loopback."""
    loopback = str(npm.FOLDER / "loopback.mjs")
    return serving("node", "--import", loopback, SERVER, "streamableHttp", env=npm.environment() | {"PORT": "PORT"})


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    with everything() as one, everything() as two:
        yield [one, two]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("run", folder=tmp_path_factory.mktemp("gateway")) as program:
        yield program


def called(**asked: Any) -> Any:
    told = subprocess.run(
        ["node", "callers.mjs"],
        cwd=npm.FOLDER,
        env=npm.environment(),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(told.stdout)


@pytest.mark.parametrize("sdk", ["v1", "v2"])
@pytest.mark.parametrize("number", [1, 2], ids=["one server", "two"])
def test_typescript(program: Program, servers: list[str], sdk: str, number: int) -> None:
    with program.admin() as admin:
        agency = Agency(admin, dict(zip(("a", "b"), servers[:number], strict=False)))
        prefix = "" if number == 1 else "b_"
        seen = called(sdk=sdk, url=agency.url(program), key=agency.key.text, prefix=prefix)
    assert f"{prefix}echo" in seen["tools"]
    assert "hello" in seen["echoed"]
    assert "completed" in seen["done"].lower()
    assert seen["progress"] == [1, 2, 3, 4]
    assert seen["resources"] > 0
    assert f"{prefix}simple-prompt" in seen["prompts"]


def inspect(program: Program, agency: Agency, *words: str) -> Any:
    told = npm.run(
        INSPECTOR,
        "--cli",
        agency.url(program),
        "--transport",
        "http",
        "--header",
        f"x-ag-api-key: {agency.key.text}",
        *words,
    )
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    return json.loads(told.stdout)


def test_the_inspector(program: Program, servers: list[str]) -> None:
    with program.admin() as admin:
        one = Agency(admin, {"a": servers[0]})
        two = Agency(admin, {"a": servers[0], "b": servers[1]})
    tools = [tool["name"] for tool in inspect(program, one, "--method", "tools/list")["tools"]]
    assert "echo" in tools
    call = ("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hi")
    assert "hi" in inspect(program, one, *call)["content"][0]["text"]
    tools = [tool["name"] for tool in inspect(program, two, "--method", "tools/list")["tools"]]
    assert {"a_echo", "b_echo"} <= set(tools)
    call = ("--method", "tools/call", "--tool-name", "b_echo", "--tool-arg", "message=hi")
    assert "hi" in inspect(program, two, *call)["content"][0]["text"]
