"""`docs/plugins.md` is true: every hook with its signature, every class variable, and the example as it runs."""

import inspect
import re
from pathlib import Path
from typing import ClassVar, get_origin, get_type_hints

import pytest

import trustgate
from trustgate import PolicySettings
from trustgate.contract import hookspecs
from trustgate.contract.policy import Group
from trustgate.enforcement.plugins import BESIDE, STAGES

HERE = Path(__file__).parent
DOCUMENT = (HERE.parents[1] / "docs" / "plugins.md").read_text("utf-8")
HOOKS = [name for name, hook in vars(hookspecs).items() if hasattr(hook, f"{hookspecs.PROJECT}_spec")]
VARIABLES = [name for name, hint in get_type_hints(PolicySettings).items() if get_origin(hint) is ClassVar]


def flat(text: str) -> str:
    return " ".join(text.split())


def signature(name: str) -> str:
    """Return a hook's signature as it stands in its specification, on one line."""
    source = flat(inspect.getsource(getattr(hookspecs, name)))
    found = re.search(r"((?:async )?def .*?) ?: ?\"\"\"", source)
    assert found
    return found[1].replace("( ", "(").replace(" )", ")")


def section(name: str) -> str:
    return DOCUMENT.partition(f"### {name}\n")[2].partition("\n#")[0]


def test_the_hooks_are_the_stages_the_settings_and_what_runs_beside() -> None:
    assert {*STAGES, *BESIDE, "settings_type", "strategies"} == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_there_with_its_signature_and_its_meaning(name: str) -> None:
    assert signature(name) in section(name)
    assert flat(inspect.getdoc(getattr(hookspecs, name)) or "?") in flat(section(name))


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_is_explained(name: str) -> None:
    for argument in inspect.signature(getattr(hookspecs, name)).parameters:
        assert f"\n| `{argument}` | " in DOCUMENT


@pytest.mark.parametrize("name", VARIABLES)
def test_every_class_variable_is_there_with_its_default(name: str) -> None:
    default = getattr(PolicySettings, name, None)
    written = "required" if default is None else f"`{default!r}`".replace("'", '"')
    assert f"\n| `{name}` | {written} | " in DOCUMENT


def test_every_group_is_there() -> None:
    assert all(f"`{group}`" in DOCUMENT for group in Group.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("verdict", ["Proceed", "Answer", "Deny", "Rewrite"])
def test_every_verdict_is_there_with_its_fields(verdict: str) -> None:
    kind = getattr(trustgate, verdict)
    assert f"| `{verdict}({', '.join(f'{name}=' for name in kind.__struct_fields__)})` | " in DOCUMENT


@pytest.mark.parametrize(("language", "file"), [("toml", "pyproject.toml"), ("python", "shout_guard.py")])
def test_the_example_is_the_package_that_runs(language: str, file: str) -> None:
    written = (HERE / "shout_guard" / file).read_text("utf-8")
    assert f"```{language}\n{written}```\n" in DOCUMENT


def test_the_example_imports_nothing_of_ours_but_the_public_module() -> None:
    source = (HERE / "shout_guard" / "shout_guard.py").read_text("utf-8")
    assert re.findall(r"^(?:from|import) (trustgate\S*)", source, re.MULTILINE) == ["trustgate"]
