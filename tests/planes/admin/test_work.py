"""Ids and times that services stamp."""

import uuid
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.chance import uuid7
from trustgate.planes.admin.services.fields import slug_from
from trustgate.planes.admin.services.work import utc_now, uuid4


def test_ids_are_of_their_version_and_sort_by_time() -> None:
    assert uuid.UUID(uuid4()).version == 4
    made = [uuid7() for _ in range(100)]
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)
    assert len(set(made)) == 100


def test_times_are_rfc_3339_in_utc() -> None:
    now = utc_now()
    assert now.endswith("Z")
    offset = datetime.fromisoformat(now).utcoffset()
    assert offset is not None
    assert not offset


@given(st.text())
def test_a_slug_made_from_any_name_is_one_or_nothing(name: str) -> None:
    slug = slug_from(name)
    assert len(slug) <= 60
    assert slug == slug.strip("-")
    assert slug_from(slug) == slug
