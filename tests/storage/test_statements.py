"""The pure parts: placeholders, folding, and times that sort as text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustgate.config.records import Gateway
from trustgate.storage.database import rename, spread
from trustgate.storage.postgres import _renamed
from trustgate.storage.seal import Sealer
from trustgate.storage.table import Table, fold
from trustgate.storage.tables import GATEWAYS, TABLES

SEALER = Sealer("a server secret of at least thirty-two bytes")


def test_a_list_becomes_as_many_placeholders() -> None:
    sql, params = spread("SELECT 1 WHERE a IN :ids AND b = :id", {"ids": ("x", "y"), "id": "z"})
    assert sql == "SELECT 1 WHERE a IN (:ids_0, :ids_1) AND b = :id"
    assert params == {"ids_0": "x", "ids_1": "y", "id": "z"}


def test_an_empty_list_matches_nothing() -> None:
    assert spread("a IN :ids", {"ids": []}) == ("a IN (NULL)", {})


def test_what_is_no_placeholder_stays() -> None:
    assert (
        rename("a::text = :a AND b LIKE '%x' AND c = ':'", "<{}>".format) == "a::text = <a> AND b LIKE '%x' AND c = ':'"
    )


def test_postgres_has_its_own_placeholders() -> None:
    assert _renamed("a LIKE '%' || :a") == "a LIKE '%%' || %(a)s"


@given(st.text())
def test_folding_twice_is_folding(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def written(microseconds: int) -> str:
    """Return a time as the API writes it: no zeros at the end."""
    time = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    text = time.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return text + "Z"


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_stored_times_sort_as_time_does_and_come_back_as_they_were(one: int, other: int) -> None:
    rows = [GATEWAYS.encode(Gateway(id="g", slug="s", name="n", created_at=written(at)), SEALER) for at in (one, other)]
    assert (str(rows[0]["created_at"]) < str(rows[1]["created_at"])) is (one < other)
    assert GATEWAYS.decode(rows[0], {}, SEALER).created_at == written(one)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_and_link_is_a_field_of_the_record(table: Table[Any]) -> None:
    fields = set(table.record.__struct_fields__)
    assert set(table.columns) <= fields
    assert {link.field for link in table.links} <= fields
