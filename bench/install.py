"""Getting the peers: each into the ignored folder `bench/peers/`, once, with the installer's own output as progress."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.processes import ROOT, CannotRun

PEERS = ROOT / "bench" / "peers"
PORTKEY = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    "overrides": {"@hono/node-server": "1.14.0"},  # with a newer one every stream is a 500: Portkey-AI/gateway#1389
}
LITELLM = "litellm[proxy]==1.106.2"

NGINX_PACKAGES = ("nginx", "nginx-light", "nginx-core")
NGINX_HOME = PEERS / "nginx"
PORTKEY_HOME = PEERS / "portkey"
PORTKEY_PACKAGE = PORTKEY_HOME / "node_modules" / "@portkey-ai" / "gateway"
LITELLM_HOME = PEERS / "litellm-venv"


def nginx() -> Path:
    """Return an nginx binary: the installed one, or one unpacked from the distribution's package."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    ours = NGINX_HOME / "usr" / "sbin" / "nginx"
    if not found and not ours.exists():
        _unpack_nginx(ours)
    return Path(found or ours)


def _unpack_nginx(binary: Path) -> None:
    NGINX_HOME.mkdir(parents=True, exist_ok=True)
    for package in NGINX_PACKAGES:
        _unpack(package)
        if binary.exists():
            return
    raise CannotRun(f"could not be installed: no nginx binary in the packages {', '.join(NGINX_PACKAGES)}")


def _unpack(package: str) -> None:
    """Unpack a distribution's package without installing it; refresh the package lists when they are too old for it."""
    download = [_find("apt-get"), "download", package]
    try:
        _run(f"downloading {package}", download, folder=NGINX_HOME)
    except CannotRun:
        if os.geteuid() != 0:
            raise
        _run("reading the package lists", [_find("apt-get"), "update"])
        _run(f"downloading {package}", download, folder=NGINX_HOME)
    for archive in NGINX_HOME.glob(f"{package}_*.deb"):
        _run(f"unpacking {package}", [_find("dpkg"), "-x", archive, NGINX_HOME])


def nginx_version() -> str:
    """Return what nginx says of itself."""
    said = subprocess.run([nginx(), "-v"], capture_output=True, text=True, check=False)
    if said.returncode:
        raise CannotRun(f"could not be installed: {said.stderr.strip()[:200]}")
    return said.stderr.strip().rpartition("/")[2]


def portkey() -> tuple[str, Path]:
    """Return node and the script that starts Portkey's gateway, installed when it is missing."""
    script = PORTKEY_PACKAGE / "build" / "start-server.js"
    node = _find("node")
    if not script.exists():
        PORTKEY_HOME.mkdir(parents=True, exist_ok=True)
        (PORTKEY_HOME / "package.json").write_text(json.dumps(PORTKEY))
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"]
        _run("installing Portkey", [_find("npm"), "install", "--prefix", PORTKEY_HOME, *options])
    return node, script


def portkey_version() -> str:
    """Return the version of the installed Portkey, and of node."""
    node, _ = portkey()
    version = json.loads((PORTKEY_PACKAGE / "package.json").read_text())["version"]
    return f"{version} (node {_output([node, '--version']).lstrip('v')})"


def litellm() -> Path:
    """Return the LiteLLM command in its own environment, made when it is missing."""
    command = LITELLM_HOME / "bin" / "litellm"
    if not command.exists():
        _run("making an environment for LiteLLM", [sys.executable, "-m", "venv", "--clear", LITELLM_HOME])
        _run("installing LiteLLM", [LITELLM_HOME / "bin" / "pip", "install", "--disable-pip-version-check", LITELLM])
    return command


def litellm_version() -> str:
    """Return the version of the installed LiteLLM."""
    python = litellm().with_name("python")
    return _output([python, "-c", "from importlib.metadata import version; print(version('litellm'))"])


def _find(tool: str) -> str:
    found = shutil.which(tool)
    if not found:
        raise CannotRun(f"could not be installed: there is no {tool} here")
    return found


def _run(what: str, command: Sequence[str | Path], *, folder: Path | None = None) -> None:
    """Run an installer in sight of the user; raise CannotRun with what it said last."""
    print(f"  {what} …", flush=True)
    last = ""
    words = [str(word) for word in command]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            last = line.strip() or last
            print(f"    {line.rstrip()[:110]}", flush=True)
    if process.returncode:
        raise CannotRun(f"could not be installed: {last[:200]}")


def _output(command: Sequence[str | Path]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"does not run: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()
