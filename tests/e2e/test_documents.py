"""The commands in the documents work: they are cut out of them and run, in the order in which they stand there."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from .program import Admin, Program, run_once

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
MADE = {"gateways": "GATEWAY", "registries": "REGISTRY", "consumers": "CONSUMER", "auths": "AUTH", "policies": "POLICY"}


class Reader:
    """Somebody who pastes the blocks of a document into a shell, and the ids that come back into the next ones."""

    def __init__(self, program: Program, token: str) -> None:
        self.program = program
        self.known = {"ADMIN_TOKEN": token}

    def paste(self, command: str) -> str:
        """Run one command, with this program's ports for the usual ones, and remember what it made."""
        for port, plane in ((8080, "admin"), (8081, "proxy")):
            command = command.replace(f"localhost:{port}", f"127.0.0.1:{self.program.ports[plane]}")
        ran = subprocess.run(
            ["bash", "-c", command], env={**self.program.env, **self.known}, capture_output=True, text=True, check=True
        )
        self._remember(command, ran.stdout)
        return ran.stdout

    def _remember(self, command: str, answer: str) -> None:
        kind = re.search(r"/([a-z]+) \\", command)
        if answer and kind and kind[1] in MADE:
            made = json.loads(answer)
            assert "error" not in made, made
            self.known[MADE[kind[1]]] = made["id"]
            self.known |= {"KEY": made["api_key"]} if "api_key" in made else {}


def _commands(document: str) -> list[str]:
    blocks = BLOCK.findall((ROOT / document).read_text("utf-8"))
    joined = [re.split(r"\n(?=curl )", block) for block in blocks]
    return [command for parts in joined for command in parts if command.startswith("curl")]


def test_a_gateway_of_your_own(program: Program, admin: Admin) -> None:
    token = run_once("token", env=program.env, cwd=program.cwd).stdout.strip()
    reader = Reader(program, token)
    *setup, ask, policy, attach = _commands("docs/first-gateway.md")
    assert len(setup) == 5
    for command in setup:
        reader.paste(command)
    registry = f"/v1/gateways/{reader.known['GATEWAY']}/registries/{reader.known['REGISTRY']}"
    admin.done("PUT", registry, {"provider": "echo", "provider_options": {}, "auth": {"type": "none"}})
    assert json.loads(reader.paste(ask))["choices"][0]["message"]["content"] == "You said: Hello!"
    reader.paste(policy)
    reader.paste(attach)
    headers = reader.paste(ask.replace("curl -s", "curl -s -D - -o /dev/null"))
    assert "x-ratelimit-consumer-limit: 60" in headers


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_the_readmes_commands_exist(command: str) -> None:
    assert command in (ROOT / "README.md").read_text("utf-8")
    planned = subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr
