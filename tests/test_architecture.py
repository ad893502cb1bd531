"""The rules that the map states, and that nobody would notice being broken until it hurts."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trustgate
from trustgate.admission.operation import RESERVED, ROUTES
from trustgate.lifecycle import STEPS
from trustgate.planes.probes import PATHS

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "trustgate").rglob("*.py"))
DOCUMENTS = [path for path in ROOT.rglob("*.md") if not {".venv", "peers", "results", "node_modules"} & set(path.parts)]
UNSTEPPED = {"contract", "config", "state", "storage", "explaining", "mcp", "planes"}


def _text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def _packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "trustgate").glob("*/__init__.py")}


def test_the_steps_sort_in_the_order_in_which_they_run() -> None:
    assert list(STEPS) == sorted(STEPS)
    assert _packages() == set(STEPS) | UNSTEPPED


def test_the_map_names_every_package_and_module_of_the_top() -> None:
    text = _text("trustgate/README.md")
    modules = {path.name for path in (ROOT / "trustgate").glob("*.py")} - {"__init__.py", "__main__.py"}
    missing = {f"{name}/" for name in _packages() if f"`{name}/" not in text}
    assert not missing | {name for name in modules if f"`{name}`" not in text}


def test_the_import_contracts_are_kept() -> None:
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_read_the_environment(path: Path) -> None:
    reads = re.search(r"os\.(environ|getenv)\b", path.read_text("utf-8"))
    assert reads is None or path.name == "settings.py"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_its_law(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not text.strip() or text.startswith('"""')


def _variables() -> set[str]:
    read = re.findall(r'read\.\w+\(\s*"([A-Z_]+)"', _text("trustgate/settings.py") + _text("trustgate/connections.py"))
    return set(read) | {"HTTP_PROXY", "HTTPS_PROXY"}


def test_every_variable_is_in_the_example_with_its_default() -> None:
    lines = dict(re.findall(r"^([A-Z_]+)=(.*)$", _text(".env.example"), re.MULTILINE))
    assert set(lines) == _variables()
    assert {name: value for name, value in lines.items() if name.endswith("_PORT")} == {
        "SERVER_ADMIN_PORT": "8080",
        "SERVER_PROXY_PORT": "8081",
        "SERVER_MCP_PORT": "8082",
        "DB_PORT": "5432",
        "REDIS_PORT": "6379",
    }


def test_the_example_says_what_the_program_does_without_it(tmp_path: Path) -> None:
    from trustgate.settings import read_settings  # noqa: PLC0415 - the rest of this file needs no settings

    lines = dict(re.findall(r"^([A-Z_]+)=(.*)$", _text(".env.example"), re.MULTILINE))
    assert read_settings(lines) == read_settings({})


def _codes() -> Iterator[str]:
    for path in SOURCES:
        if not {"admin", "echo"} & set(path.parts):
            text = path.read_text("utf-8")
            yield from re.findall(r'(?:Refused|_unauthenticated)\(\s*"([a-z_]+)"', text)
            yield from re.findall(r'code="([a-z_]+)"', text)
            yield from re.findall(r'\(50\d, "([a-z_]+)"', text)


def test_every_error_code_of_the_proxy_is_documented() -> None:
    text = _text("docs/proxy.md")
    codes = set(_codes())
    assert len(codes) > 20
    assert not {code for code in codes if f"`{code}`" not in text}


def test_every_forwarded_header_is_documented() -> None:
    from trustgate.forwarding.headers import FORWARDED  # noqa: PLC0415

    text = _text("docs/proxy.md")
    named = {header.decode() for header in FORWARDED if not header.startswith(b"x-stainless-")}
    assert not {name for name in named if f"`{name}`" not in text}


def test_routes_and_probes_are_never_consumer_slugs() -> None:
    firsts = {path.strip("/").split("/")[0] for path in (*ROUTES, *PATHS)}
    assert firsts <= RESERVED


def test_the_public_module_exports_what_it_says() -> None:
    assert len(set(trustgate.__all__)) == len(trustgate.__all__)
    assert all(hasattr(trustgate, name) for name in trustgate.__all__)


def test_cmd_does_not_shadow_the_standard_library() -> None:
    assert not list((ROOT / "cmd").rglob("__init__.py"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


def test_nothing_names_a_download_address() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    hosts = re.compile("|".join(("pypi" + r"\.org", "files" + r"\.pythonhosted", "registry" + r"\.npmjs")))
    texts = [ROOT / name for name in tracked if not name.endswith((".png", ".ico"))]
    assert not [path.name for path in texts if path.is_file() and hosts.search(path.read_text("utf-8"))]
