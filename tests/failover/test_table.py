"""Each fault, over real sockets, in each dialect: what docs/failover.md says comes of it."""

import pytest

from tests.failover.document import PATH, render
from tests.failover.faults import FAULTS
from tests.failover.rows import ROWS
from tests.failover.table import Form, seen

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("alone", [False, True], ids=["two", "alone"])
@pytest.mark.parametrize("form", ["plain", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault(fault: str, form: Form, alone: bool) -> None:
    for dialect, found in (await seen(fault, form, alone=alone)).items():
        assert found == ROWS[fault].expected(form, alone=alone), dialect


def test_every_fault_has_its_row_and_the_page_is_current() -> None:
    assert list(ROWS) == list(FAULTS)
    assert PATH.read_text("utf-8") == render()
