"""Every policy in every dialect: requests, answers and streams. A cell that nobody shows fails."""

import pytest

from tests.plugins.document import PATH, render
from tests.plugins.rows import ROWS
from tests.plugins.table import PARTS, Part, show
from tests.plugins.talk import DIALECTS
from trustgate.enforcement.plugins import load_plugins

pytestmark = pytest.mark.anyio

SLUGS = sorted(plugin.slug for plugin in load_plugins())


def test_every_policy_has_a_row() -> None:
    assert sorted(ROWS) == SLUGS


def test_the_page_is_current() -> None:
    assert PATH.read_text("utf-8") == render(), "write it: python -m tests.plugins.document"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("slug", SLUGS)
async def test_a_cell(slug: str, dialect: str, part: Part) -> None:
    await show(ROWS[slug], part, dialect)
