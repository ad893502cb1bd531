"""A request of 20 MB is held once: passed on or translated, its picture is never copied on the way."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from .place import PROVIDER_KEY, open_place
from .program import Json, running
from .upstream import Upstream, completion
from .wire import ask

SIZE = 15 * 1024 * 1024
"""Bytes of the picture; in base64 it has 20 MB."""
PICTURE = base64.b64encode(hashlib.shake_128(b"picture").digest(SIZE)).decode()
SLACK = 8 * 1024 * 1024
"""What may come on top of one copy: the server's and the socket's own buffers. A second copy would be 20 MB."""

OPENAI = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
ANTHROPIC = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}


def body(picture: Json) -> bytes:
    content = [{"type": "text", "text": "What is this?"}, picture]
    return json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}).encode()


def peak(pid: int) -> int:
    """Return the most memory that a process has ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def picture_of(sent: bytes) -> str:
    """Return the picture that reached the provider."""
    found: Any = json.loads(sent)["messages"][0]["content"][1]
    url = found["image_url"]["url"] if "image_url" in found else found["source"]["data"]
    return str(url).removeprefix("data:image/png;base64,")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process's memory")
@pytest.mark.parametrize(
    ("path", "picture"),
    [("/v1/chat/completions", OPENAI), ("/v1/messages", ANTHROPIC)],
    ids=["passed on", "translated"],
)
def test_twenty_megabytes_are_held_once(folder: Path, server: Upstream, path: str, picture: Json) -> None:
    server.play(completion())
    with running("run", folder=folder) as program, program.admin() as admin:
        place = open_place(program, admin, server.url)
        headers = {"content-type": "application/json", **place.headers}
        small = body({**picture} | ({"text": "x", "type": "text"}))
        assert ask(place.port, "POST", f"/patient{path}", headers, small).status == 200
        before = peak(program.process.pid)
        raw = body(picture)
        said = ask(place.port, "POST", f"/patient{path}", headers, raw)
        more = peak(program.process.pid) - before
    assert said.status == 200, said.body
    assert picture_of(server.last().body) == PICTURE
    assert more < len(raw) + SLACK, f"{more >> 20} MB for a body of {len(raw) >> 20} MB"


CALLERS: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("error", "code"),
    "/v1/responses": ("error", "code"),
    "/v1/messages": ("error", "details", "error_code"),
    "/v1beta/models/m:generateContent": ("error", "details", "0", "reason"),
    "/v2/chat": ("code",),
    "/model/m/converse": ("code",),
}
"""Every dialect's route, and where its errors have our code."""


def found(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body[int(name)] if isinstance(body, list) else body[name]
    return body


def test_a_picture_that_is_too_large_is_refused_in_every_dialect(folder: Path, server: Upstream) -> None:
    with running("run", folder=folder, variables={"SERVER_MAX_BODY_BYTES": "100000"}) as program:
        with program.admin() as admin:
            place = open_place(program, admin, server.url)
        headers = {"content-type": "application/json", **place.headers}
        for route, code in CALLERS.items():
            said = ask(place.port, "POST", f"/patient{route}", headers, os.urandom(100_001))
            assert said.status == 413, route
            assert found(said.json(), code) == "request_too_large", route
            assert "100000" in said.body.decode(), route
            assert PROVIDER_KEY not in said.body.decode()
