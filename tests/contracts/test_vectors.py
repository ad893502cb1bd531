"""What every store of vectors promises: the nearest of its own partition, once, for as long as it is kept."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from math import sqrt
from random import Random
from time import monotonic

import pytest

from trustgate.contract.ports import Match, StateUnavailable, Vectors
from trustgate.state.memory_vectors import MAX_ENTRIES, MemoryVectors
from trustgate.state.redis_link import Link
from trustgate.state.redis_vectors import RedisVectors
from trustgate.storage.postgres import PostgresDatabase
from trustgate.storage.settings import PostgresSettings
from trustgate.storage.vectors import PostgresVectors

from .redis_server import RedisServer

pytestmark = pytest.mark.anyio
LONG = 60.0
UP, RIGHT, BETWEEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (sqrt(0.5), sqrt(0.5), 0.0)


@pytest.fixture(params=["memory", "redis", "pgvector"])
async def vectors(request: pytest.FixtureRequest) -> AsyncIterator[Vectors]:
    if request.param == "memory":
        yield MemoryVectors()
    elif request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        link = Link(server.place())
        await link.open()
        await link.ask("FLUSHALL")
        yield RedisVectors(link)
        for key in await link.ask("KEYS", "*"):
            assert await link.ask("PTTL", key) != -1, f"{key!r} lives for ever"
        await link.aclose()
    else:
        place: PostgresSettings = request.getfixturevalue("postgres")
        database = PostgresDatabase(place)
        await database.open()
        yield PostgresVectors(database)
        await database.aclose()


async def nearest(vectors: Vectors, vector: tuple[float, ...], at_least: float = 0.5, partition: str = "g:p") -> bytes:
    found = await vectors.nearest(partition, vector, at_least=at_least)
    return b"" if found is None else found.value


async def test_the_nearest_is_found_if_it_is_near_enough(vectors: Vectors) -> None:
    assert await vectors.nearest("g:p", UP, at_least=0.0) is None
    await vectors.add("g:p", "up", UP, b"\x00up\xff", ttl=LONG)
    await vectors.add("g:p", "right", RIGHT, b"right", ttl=LONG)
    assert await vectors.nearest("g:p", UP, at_least=1.0) == Match(similarity=1.0, value=b"\x00up\xff")
    close = (0.8, 0.6, 0.0)
    found = await vectors.nearest("g:p", close, at_least=0.5)
    assert found is not None
    assert found.value == b"\x00up\xff"
    assert found.similarity == pytest.approx(0.8, abs=0.001)
    assert await nearest(vectors, close, 0.81) == b""
    assert await nearest(vectors, (-1.0, 0.0, 0.0), 0.0) in (b"", b"right")


async def test_partitions_never_see_one_another(vectors: Vectors) -> None:
    await vectors.add("g:p", "up", UP, b"mine", ttl=LONG)
    await vectors.add("h:p", "up", UP, b"theirs", ttl=LONG)
    assert await nearest(vectors, UP) == b"mine"
    assert await nearest(vectors, UP, partition="h:p") == b"theirs"
    assert await nearest(vectors, UP, partition="g:q") == b""


async def test_a_key_is_kept_once(vectors: Vectors) -> None:
    await vectors.add("g:p", "k", UP, b"first", ttl=LONG)
    await vectors.add("g:p", "k", RIGHT, b"second", ttl=LONG)
    assert await nearest(vectors, UP, 0.9) == b""
    assert await nearest(vectors, RIGHT, 0.9) == b"second"


async def test_nothing_is_kept_beyond_its_time(vectors: Vectors) -> None:
    await vectors.add("g:p", "soon", UP, b"soon", ttl=0.05)
    await vectors.add("g:p", "late", BETWEEN, b"late", ttl=LONG)
    deadline = monotonic() + 5
    while await nearest(vectors, UP) != b"late":
        assert monotonic() < deadline, "it is still there"
    assert await nearest(vectors, BETWEEN, 0.99) == b"late"


async def test_vectors_of_another_size_are_not_compared(vectors: Vectors) -> None:
    await vectors.add("g:p", "flat", (1.0, 0.0), b"flat", ttl=LONG)
    assert await nearest(vectors, UP, 0.0) == b""
    await vectors.add("g:p", "up", UP, b"up", ttl=LONG)
    assert await nearest(vectors, UP) == b"up"
    assert await nearest(vectors, (1.0, 0.0)) == b"flat"


async def test_a_partition_is_bounded(vectors: Vectors) -> None:
    await asyncio.gather(
        *(vectors.add("g:p", f"k{at}", UP, b"%d" % at, ttl=LONG + at) for at in range(MAX_ENTRIES + 9))
    )
    await vectors.add("g:p", "last", RIGHT, b"last", ttl=2 * LONG + MAX_ENTRIES)
    assert await nearest(vectors, RIGHT) == b"last"
    assert int(await nearest(vectors, UP)) > 0


async def test_many_at_once_each_find_their_own(vectors: Vectors) -> None:
    random = Random(7)
    points = []
    for _ in range(64):
        raw = [random.gauss(0, 1) for _ in range(32)]
        length = sqrt(sum(value * value for value in raw))
        points.append(tuple(value / length for value in raw))
    await asyncio.gather(*(vectors.add("g:p", str(at), point, b"%d" % at, ttl=LONG) for at, point in enumerate(points)))
    found = await asyncio.gather(*(nearest(vectors, point, 0.99) for point in points))
    assert found == [b"%d" % at for at in range(64)]


async def test_memory_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    vectors = MemoryVectors(max_bytes=10_000)
    for at in range(100):
        await vectors.add(f"g:{at}", "k", UP, bytes(500), ttl=LONG)
        assert await nearest(vectors, UP, partition="g:0") or at > 9
    assert vectors.size <= 10_000
    assert await nearest(vectors, UP, partition="g:99")


async def test_a_postgres_without_the_rights_says_so(postgres: PostgresSettings) -> None:
    owner = PostgresDatabase(postgres)
    await owner.open()
    await owner.run("DROP ROLE IF EXISTS guest")
    await owner.run("CREATE ROLE guest LOGIN")
    guest = PostgresDatabase(PostgresSettings(host=postgres.host, user="guest", name=postgres.name, connect_timeout=10))
    await guest.open()
    try:
        with pytest.raises(StateUnavailable, match="rights"):
            await PostgresVectors(guest).nearest("g:p", UP, at_least=0.5)
        await PostgresVectors(owner).add("g:p", "k", UP, b"v", ttl=LONG)
        assert await nearest(PostgresVectors(owner), UP) == b"v"
    finally:
        await guest.aclose()
        await owner.run("DROP ROLE guest")
        await owner.aclose()


def test_a_process_that_keeps_no_vectors_does_not_import_numpy() -> None:
    code = (
        "import asyncio, sys; import trustgate.planes.start; from trustgate.state.vectors import in_memory;"
        "store = in_memory(max_bytes=1000); assert 'numpy' not in sys.modules;"
        "asyncio.run(store.add('p', 'k', [1.0], b'v', ttl=1.0)); assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
