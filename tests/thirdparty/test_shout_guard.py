"""A policy of somebody else's: installed with pip, named, configured and at work, on requests and on live streams."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx
import pytest

from trustgate.planes.admin.tokens import mint_token

HERE = Path(__file__).parent
SECRET = "a server secret of at least thirty-two bytes"
SOON = 30.0
LOUD = "Please NEVER do that again, NEVER ever, and I mean NEVER in all these many words that follow here"

FIRST_PARTY = {path.parent.name for path in (Path(__file__).parents[2] / "plugins").glob("*/*/__init__.py")} - {
    "strategies"
}


def test_the_plugin_is_a_function_like_any_other(installed: Path) -> None:
    """Its own tests need no gateway."""
    script = (
        "import asyncio, shout_guard as s; from trustgate import Chunk; "
        "settings = s.ShoutGuardSettings(words=('never',)); "
        "print(s.on_chunk(Chunk(text='I NEVER', choice=0, final=False), settings).text, settings.hold_back())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment(installed), capture_output=True, text=True, check=True
    )
    assert ran.stdout == "I never 5\n"


# Installing and starting.


def environment(target: Path, **more: str) -> dict[str, str]:
    """Return an environment with the package in it, and with nothing else of whoever runs the tests."""
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(paths), **more}


def _makes_wheels() -> bool:
    """Setuptools makes wheels by itself since 70.1; an older one asks for the package `wheel`."""
    try:
        return tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1)
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("thirdparty")
    source, target = folder / "source", folder / "target"
    shutil.copytree(HERE / "shout_guard", source, ignore=shutil.ignore_patterns("__pycache__"))
    # without setuptools at hand pip fetches one, as it does for everybody who installs a package
    at_hand = ["--no-build-isolation", "--no-index"] if _makes_wheels() else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *at_hand, "--target", str(target), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


class Gate:
    """`trustgate run` as a process of its own."""

    def __init__(self, folder: Path, target: Path, **variables: str) -> None:
        admin, proxy, mcp = free_ports(3)
        self.admin = httpx.Client(
            base_url=f"http://127.0.0.1:{admin}/v1",
            headers={"authorization": f"Bearer {mint_token(SECRET, subject='test', lifetime_seconds=600)}"},
            timeout=SOON,
        )
        self.proxy = httpx.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=SOON)
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trustgate", "run"],
            cwd=folder,
            env=environment(
                target,
                TRUSTGATE_DATA_DIR=str(folder / "data"),
                SERVER_SECRET_KEY=SECRET,
                SERVER_HOST="127.0.0.1",
                SERVER_ADMIN_PORT=str(admin),
                SERVER_PROXY_PORT=str(proxy),
                SERVER_MCP_PORT=str(mcp),
                TELEMETRY_LOG=str(folder / "events"),
                **variables,
            ),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> None:
        """Return once it serves."""
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.proxy.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"it does not serve: {self.said()}")

    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def end(self) -> int:
        self.admin.close()
        self.proxy.close()
        self._process.terminate()
        try:
            return self._process.wait(SOON)
        finally:
            self._process.kill()
            self._log.close()

    # What an administrator does.

    def post(self, path: str, body: object = None, *, status: int = 201) -> Any:
        answer = self.admin.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def catalogue(self) -> dict[str, Any]:
        groups = self.admin.get("/policies-catalog").json()["groups"]
        return {item["slug"]: {"group": group["type"], **item} for group in groups for item in group["items"]}


@pytest.fixture(scope="module")
def gate(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gateway with the plugin in it."""
    gate = Gate(tmp_path_factory.mktemp("gate"), installed, TRUSTGATE_PLUGINS="shout_guard")
    try:
        gate.wait()
        yield gate
    finally:
        gate.end()


class App:
    """A gateway with one application, the echo provider behind it and the policy before it."""

    def __init__(self, gate: Gate, slug: str, **policy: Any) -> None:
        gateway = gate.post("/gateways", {"name": slug, "slug": slug})["id"]
        self.below = f"/gateways/{gateway}"
        registry = gate.post(f"{self.below}/registries", {"name": "echo", "provider": "echo"})["id"]
        consumer = gate.post(f"{self.below}/consumers", {"name": "my app", "registries": [{"id": registry}]})["id"]
        auth = gate.post(f"{self.below}/auths", {"name": "key", "type": "api_key"})
        gate.post(f"{self.below}/consumers/{consumer}/auths/{auth['id']}", status=204)
        made = {"name": "no shouting", "slug": "shout_guard", "settings": {"words": ["never"]}} | policy
        self.policy = gate.post(f"{self.below}/policies", made)
        gate.post(f"{self.below}/consumers/{consumer}/policies/{self.policy['id']}", status=204)
        self.key = auth["api_key"]
        self._proxy = gate.proxy

    def body(self, text: str, **fields: Any) -> dict[str, Any]:
        return {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}

    def ask(self, text: str, **fields: Any) -> httpx.Response:
        return self._proxy.post(
            "/v1/chat/completions", json=self.body(text, **fields), headers={"authorization": f"Bearer {self.key}"}
        )

    def stream(self, text: str, **fields: Any) -> Any:
        body = self.body(text, stream=True, **fields)
        return self._proxy.stream(
            "POST", "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {self.key}"}
        )


@pytest.fixture(scope="module")
def app(gate: Gate) -> App:
    return App(gate, "shouting")


def text_of(line: str) -> str:
    if not line.startswith("data: {"):
        return ""
    return "".join(choice["delta"].get("content") or "" for choice in json.loads(line[6:]).get("choices", ()))


# In the catalogue, and configured.


def test_it_is_in_the_catalogue(gate: Gate) -> None:
    item = gate.catalogue()["shout_guard"]
    assert item["group"] == "Guardrails"
    assert item["name"] == "Shout guard"
    assert item["description"] == "Refuses prompts that shout, and softens words that an answer shouts."
    assert item["supported_stages"] == ["pre_request", "on_chunk"]
    assert (item["supported_modes"], item["default_on_error"]) == (["enforce", "observe"], "deny")
    fields = {field["key"]: field for field in item["settings_schema"]["fields"]}
    assert (fields["words"]["type"], fields["words"]["required"]) == ("array", True)
    assert (fields["max_exclamations"]["type"], fields["max_exclamations"]["default"]) == ("integer", 3)
    assert fields["words"]["description"] == "Words, or several in a row, that no answer may shout."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {}}, "words"),
        ({"settings": {"words": []}}, "words"),
        ({"settings": {"words": "never"}}, "words"),
        ({"settings": {"words": ["never"], "max_exclamations": -1}}, "max_exclamations"),
        ({"settings": {"words": ["never"], "volume": 11}}, "volume"),
        ({"settings": {"words": ["ne-ver"]}}, "use letters"),
        ({"settings": {"words": ["never"]}, "mode": "throttle"}, "throttle"),
        ({"settings": {"words": ["never"]}, "stages": ["pre_response"]}, "pre_response"),
        ({"settings": {"words": ["never"]}, "stages": ["post_request"]}, "post_request"),
    ],
)
def test_its_settings_are_checked_by_the_admin_plane(gate: Gate, app: App, change: dict[str, Any], said: str) -> None:
    answer = gate.admin.post(f"{app.below}/policies", json={"name": "wrong", "slug": "shout_guard"} | change)
    assert answer.status_code == 422
    assert said in answer.json()["message"]


def test_its_settings_are_stored(gate: Gate, app: App) -> None:
    stored = gate.admin.get(f"{app.below}/policies/{app.policy['id']}").json()
    assert stored["slug"] == "shout_guard"
    assert stored["settings"]["words"] == ["never"]


# At work.


def test_it_refuses_a_request(app: App) -> None:
    answer = app.ask("Stop! It! Right! Now!")
    assert answer.status_code == 400
    error = {"message": "Please do not shout.", "type": "invalid_request_error", "param": None, "code": "shouting"}
    assert answer.json() == {"error": error}


def test_it_lets_a_quiet_one_pass(app: App) -> None:
    answer = app.ask("Stop it!")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "You said: Stop it!"


def test_it_softens_a_stream(app: App) -> None:
    with app.stream(LOUD) as answer:
        lines = list(answer.iter_lines())
    assert "".join(map(text_of, lines)) == f"You said: {LOUD}".replace("NEVER", "never")
    assert "data: [DONE]" in lines


def test_the_stream_is_live(app: App) -> None:
    """The provider stops in the middle for good: what has left by then has not waited for the end."""
    said = ""
    with app.stream(LOUD, metadata={"echo.failure": "stall"}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            said += text_of(line)
            if "do that" in said:
                break
    assert said.startswith("You said: Please never do that")


def test_words_that_arrive_one_by_one_are_softened_together(gate: Gate) -> None:
    """The echo provider streams word by word; only both of them in a row are guarded."""
    app = App(gate, "pieces", settings={"words": ["never ever"]})
    with app.stream("NEVER mind, I say NEVER EVER mind, NEVER") as answer:
        said = "".join(map(text_of, answer.iter_lines()))
    assert said == "You said: NEVER mind, I say never ever mind, NEVER"


def test_an_observer_changes_nothing(gate: Gate) -> None:
    app = App(gate, "observed", mode="observe")
    assert app.ask("Stop! It! Right! Now!").status_code == 200
    with app.stream(LOUD) as answer:
        assert "".join(map(text_of, answer.iter_lines())) == f"You said: {LOUD}"


# Not named, not there.


def test_it_is_not_loaded_where_it_is_not_named(installed: Path, tmp_path: Path) -> None:
    gate = Gate(tmp_path, installed)
    try:
        gate.wait()
        assert set(gate.catalogue()) == FIRST_PARTY
        gateway = gate.post("/gateways", {"name": "a", "slug": "a"})["id"]
        policy = {"name": "x", "slug": "shout_guard", "settings": {"words": ["never"]}}
        answer = gate.admin.post(f"/gateways/{gateway}/policies", json=policy)
        assert answer.status_code == 422
        assert "shout_guard" in answer.json()["message"]
    finally:
        gate.end()


def test_naming_what_is_not_installed_stops_the_start(tmp_path: Path) -> None:
    env = environment(
        tmp_path, TRUSTGATE_PLUGINS="shout_guard", TRUSTGATE_DATA_DIR=str(tmp_path), SERVER_SECRET_KEY=SECRET
    )
    ran = subprocess.run(
        [sys.executable, "-m", "trustgate", "run"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
    )
    assert ran.returncode == 1
    assert "trustgate: TRUSTGATE_PLUGINS names shout_guard, which no installed package provides" in ran.stderr
