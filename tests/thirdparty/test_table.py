"""A policy of somebody else's passes the same table as those of this repository, in every dialect."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.plugins.table import PARTS, Denies, Nothing, Part, Rewrites, Shown, show
from tests.plugins.talk import DIALECTS, Turn

pytestmark = pytest.mark.anyio
SOURCE = Path(__file__).parent / "shout_guard" / "shout_guard.py"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    """The package's module, as its installation has it."""
    spec = spec_from_file_location("shout_guard", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_cell(plugin: ModuleType, dialect: str, part: Part) -> None:
    shown = Shown(
        plugin=plugin,
        settings={"words": ["never"]},
        request=Denies(code="shouting", refused=Turn(text="Do it!!!!")),
        answer=Nothing("softens what is still coming"),
        stream=Rewrites(said="I NEVER said NEVER again.", there=("I never said never again.",), gone=("NEVER",)),
    )
    await show(shown, part, dialect)
