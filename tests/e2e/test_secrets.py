"""Secrets stay where they belong: not in answers, events, logs and metrics, and not in clear in the database."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .program import PLANES, Admin, Json, Program, running, until
from .upstream import Upstream, answer, raw, says, silent, story, stream
from .wire import Answer, ask, chat

PROVIDER = "sk-very-secret-provider-key-1"
HEADER = "header-very-secret-value-2"
PARAMETER = "param-very-secret-value-3"
SIDE = "side-very-secret-value-4"
CLOCKS = {"first_byte": "200ms"}


class Traces:
    """Everything that the program has let out: answers, and what it wrote."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def keep(self, name: str, said: Answer | httpx.Response) -> None:
        """Keep an answer, head and body."""
        body = said.body if isinstance(said, Answer) else said.content
        self.texts[name] = f"{dict(said.headers)} {body.decode('utf-8', 'replace')}"

    def check(self, secrets: dict[str, str]) -> None:
        """Check that no secret is in any of it."""
        found = [
            (name, what) for name, text in self.texts.items() for what, secret in secrets.items() if secret in text
        ]
        assert not found


@pytest.fixture(params=["DEBUG", "INFO"])
def program(request: pytest.FixtureRequest, folder: Path) -> Iterator[Program]:
    """A program that tells as much as it can, its events on standard output."""
    variables = {"LOG_LEVEL": request.param, "TELEMETRY_LOG": "stdout"}
    with running("run", folder=folder, variables=variables) as program:
        yield program


def make(admin: Admin, upstream: Upstream) -> tuple[Json, str]:
    """Make a gateway with every kind of secret in it; return what its making said, and the caller's key."""
    gateway = admin.gateway("secrets")
    path = gateway.path("/registries")
    keys: Json = {
        "plain": {"api_key": PROVIDER},
        "header": {"header_name": "api-key", "header_value": HEADER},
        "query": {"param_name": "key", "param_value": PARAMETER, "param_location": "query"},
    }
    said: Json = {}
    for name, key in keys.items():
        options = {"base_url": upstream.url, "timeouts": CLOCKS, "headers": {"x-side": SIDE}}
        body = {"name": name, "provider": "openai", "provider_options": options}
        body["health_checks"] = {"passive": False}  # they fail as often as they are told to
        made = admin.done("POST", path, {**body, "auth": {"type": "api_key", "api_key": key}})
        gateway.consumer(name, made["id"])
        said[name] = made
    consumers = admin.done("GET", gateway.path("/consumers"))["items"]
    key_ = gateway.key(*(consumer["id"] for consumer in consumers))
    said["read again"] = [admin.done("GET", gateway.path(f"/{kind}")) for kind in ("registries", "consumers", "auths")]
    said["refused"] = admin.call("POST", path, {"name": "x", "provider": "openai", "auth": {"api_key": PROVIDER}}).text
    return said, key_.text


def exercise(program: Program, upstream: Upstream, key: str, kept: Traces) -> None:
    """Ask in every way, and have the provider fail in every way."""
    port = program.ports["proxy"]
    headers = {"x-ag-gateway-slug": "secrets", "x-ag-api-key": key}
    scripts = {
        "fine": says({"choices": [], "model": "m"}),
        "live": stream(story(["a"])),
        "broken": stream(story(["a"])[:-2]),
        "page": answer(502, b"<html>"),
        "empty": answer(200, b""),
        "garbage": raw(b"garbage\r\n\r\n"),
        "reset": raw(then="reset"),
        "silent": silent,
        "sent away": answer(307, b"", (b"location", f"http://127.0.0.1/?key={PARAMETER}".encode())),
    }
    for name in ("plain", "header", "query"):
        for fault, script in scripts.items():
            upstream.play(script)
            said = chat(port, headers, {"stream": fault in ("live", "broken")}, path=f"/{name}/v1/chat/completions")
            kept.keep(f"{name} {fault}", said)
            sent = f"{upstream.seen[0].line!r} {upstream.seen[0].headers}"
            assert {"plain": PROVIDER, "header": HEADER, "query": PARAMETER}[name] in sent and SIDE in sent
            assert key not in sent
        kept.keep(f"{name} models", ask(port, "GET", f"/{name}/v1/models", headers))
    for at, path in enumerate(
        (f"/{key}/v1/chat/completions", f"/plain/{key}", f"/plain/v1/chat/completions?key={key}")
    ):
        chat(port, headers, path=path)
        chat(port, headers, key.encode(), path=path)
        kept.keep(f"bad {at}", chat(port, {"x-ag-api-key": key + "x"}))
    for plane in PLANES:
        for path in ("/metrics", "/readyz", "/__/version", "/openapi.json"):
            kept.keep(f"{plane}{path}", httpx.get(program.url(plane, path), trust_env=False))


def test_no_secret_gets_out(program: Program, upstream: Upstream) -> None:
    kept = Traces()
    with program.admin() as admin:
        said, key = make(admin, upstream)
        kept.texts["admin"] = json.dumps(said)
        exercise(program, upstream, key, kept)
        token = admin.token
        with Admin(program.url("admin"), token + "x") as stranger:
            kept.keep("a wrong token", stranger.call("GET", "/v1/gateways"))
    secrets = {"provider": PROVIDER, "header": HEADER, "parameter": PARAMETER, "side": SIDE, "server": program.secret}
    kept.check({**secrets, "caller": key, "token": token})
    until(lambda: program.stdout.count('"schema_version"') >= 36, what="events")
    written = Traces()
    written.texts = {"stdout": program.stdout, "stderr": program.stderr}
    written.check({**secrets, "token": token})
    check_stored(program.folder, {**secrets, "caller": key, "token": token})


def test_a_key_that_a_caller_puts_into_a_path_is_not_written_down(program: Program, upstream: Upstream) -> None:
    """Callers paste keys into addresses. The log has to have the path; it need not have the key."""
    with program.admin() as admin:
        gateway = admin.gateway()
        key = gateway.key(gateway.consumer("my-app")).text
        said = chat(program.ports["proxy"], {}, path=f"/{key}/v1/chat/completions")
    until(lambda: said.trace_id in program.stdout, what="the event")
    assert key not in program.stdout
    assert key not in program.stderr


def check_stored(folder: Path, secrets: dict[str, str]) -> None:
    """Check the raw bytes of all files that the program keeps, its own key file apart."""
    files = [file for file in folder.rglob("trustgate.db*") if file.is_file()]
    assert any(file.name == "trustgate.db" for file in files)
    for file in files:
        data = file.read_bytes()
        for what, secret in secrets.items():
            assert secret.encode() not in data, (file.name, what)


def test_a_database_cannot_be_read_with_another_key(folder: Path, upstream: Upstream) -> None:
    """With another SERVER_SECRET_KEY what is sealed stays sealed, and the start says so or serves without it."""
    with running("run", folder=folder) as program, program.admin() as admin:
        gateway = admin.gateway()
        registry = gateway.registry("openai", "openai", key=PROVIDER, base_url=upstream.url)
        key = gateway.key(gateway.consumer("my-app", registry))
        assert chat(program.ports["proxy"], key.headers).status == 200
    other = Program("run", folder=folder)
    other.start(ready=False)
    until(lambda: other.process.poll() is not None or other.readiness("proxy"), patience=20, what="a decision")
    if other.process.poll() is None:
        upstream.play(says({}))
        assert chat(other.ports["proxy"], key.headers).status >= 400
        other.stop()
    else:
        assert other.process.returncode != 0
        assert "SERVER_SECRET_KEY" in other.stderr
        assert "Traceback" not in other.stderr
    assert PROVIDER not in other.stderr
    assert not upstream.seen or PROVIDER not in str(upstream.seen[-1].headers)
