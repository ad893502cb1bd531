"""What was put on disk leaves it once, in order, whoever dies in between."""

import errno
import os
import resource
import signal
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustgate.telemetry.spool import Spool, open_spools

MOST = 1 << 20
LINES = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b""))


def drain(spool: Spool, most: int = 100) -> list[bytes]:
    found: list[bytes] = []
    while entries := spool.peek(most):
        found += entries
        spool.taken(len(entries), entries)
    return found


def die(spool: Spool) -> None:
    """End a process: its descriptors are closed, and nothing else happens."""
    for descriptor in (spool._lock, spool._writer, spool._reader, spool._position):
        if descriptor >= 0:
            os.close(descriptor)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"event %d" % number for number in range(start, start + count)]


def test_entries_leave_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST, segment=64).open()
    assert [spool.put(numbered(7, at)) for at in range(0, 70, 7)] == [7] * 10
    assert spool.waiting == sum(len(entry) + 1 for entry in numbered(70))
    assert drain(spool) == numbered(70)
    assert spool.waiting == 0
    assert len(list((tmp_path / "s").glob("*.events"))) == 1, "what was read is removed"


def test_what_is_not_taken_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    spool.put(numbered(3))
    entries = spool.peek(1000)
    assert entries == spool.peek(1000) == numbered(3)
    spool.taken(1, entries)
    assert spool.peek(1000) == numbered(2, 1)


def test_one_entry_is_read_however_large_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    spool.put([b"x" * 5000, b"y"])
    assert spool.peek(10)[0] == b"x" * 5000


def test_beyond_its_bound_nothing_is_taken_and_later_it_is_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=30).open()
    assert spool.put(numbered(5)) == 3
    assert spool.put(numbered(1)) == 0
    assert drain(spool) == numbered(3)
    assert spool.put(numbered(3)) == 3


def test_another_process_goes_on_where_this_one_was_killed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST, segment=64).open()
    spool.put(numbered(20))
    entries = spool.peek(25)
    spool.taken(len(entries), entries)
    die(spool)
    left = Spool(tmp_path / "s", most=MOST, segment=64).open()
    assert left.waiting == sum(len(entry) + 1 for entry in numbered(20)[len(entries) :])
    left.put(numbered(2, 20))
    assert drain(left) == numbered(22)[len(entries) :]


def test_an_entry_that_was_torn_is_dropped_and_no_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    spool.put(numbered(2))
    die(spool)
    (segment,) = (tmp_path / "s").glob("*.events")
    with segment.open("ab") as file:
        file.write(b"event 2 of which only ha")
    left = Spool(tmp_path / "s", most=MOST).open()
    left.put(numbered(1, 3))
    assert drain(left) == [*numbered(2), b"event 3"]


def test_a_spool_has_one_owner(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    with pytest.raises(BlockingIOError):
        Spool(tmp_path / "s", most=MOST).open()
    spool.put(numbered(1))
    spool.close()
    assert drain(Spool(tmp_path / "s", most=MOST).open()) == numbered(1)


def test_an_empty_one_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    spool.put(numbered(1))
    drain(spool)
    spool.close()
    assert not (tmp_path / "s").exists()


def test_a_process_takes_up_what_dead_ones_have_left_and_leaves_those_of_the_living(tmp_path: Path) -> None:
    dead, living = Spool(tmp_path / "dead", most=MOST).open(), Spool(tmp_path / "living", most=MOST).open()
    for spool in (dead, living):
        spool.put(numbered(1))
    dead.close()
    found = open_spools(tmp_path, most=MOST)
    assert [spool.folder.name for spool in found[:-1]] == ["dead"]
    assert found[-1].waiting == 0
    for spool in (*found, living):
        spool.close()


def test_a_full_disk_takes_nothing_by_half(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", most=MOST).open()
    spool.put(numbered(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        with pytest.raises(OSError) as told:
            spool.put([b"x" * 100])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert told.value.errno == errno.EFBIG
    spool.put(numbered(1, 3))
    assert drain(spool) == numbered(4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("put"), st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=5)
            ),
            st.tuples(st.just("take"), st.integers(1, 90)),
            st.tuples(st.just("die"), st.none()),
        ),
        max_size=30,
    )
)
def test_it_is_a_queue_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("spool") / "s"
    spool = Spool(folder, most=MOST, segment=50).open()
    model: deque[bytes] = deque()
    for name, given_ in steps:
        match name, given_:
            case "put", list() as entries:
                spool.put(entries)
                model += entries
            case "take", int() as most:
                entries = list(spool.peek(most))
                assert entries == [model[at] for at in range(len(entries))]
                number = (len(entries) + 1) // 2
                spool.taken(number, entries)
                for _ in range(number):
                    model.popleft()
            case _:
                die(spool)
                spool = Spool(folder, most=MOST, segment=50).open()
        assert spool.waiting == sum(len(entry) + 1 for entry in model)
    assert drain(spool) == list(model)
