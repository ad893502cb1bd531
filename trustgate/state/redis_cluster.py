"""A Redis Cluster: a link to each of its nodes, and what says which of them has a key.

Every call's keys share what they have in braces, so that one node has them all. A node that does not have a key any
more says who does; a map of who has what is read at the start, and anew when a node is lost.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

import asyncio
from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from msgspec.structs import replace

from trustgate.connections import RedisVariables
from trustgate.contract.ports import StateUnavailable
from trustgate.state.redis_link import LONGEST_PAUSE, Link
from trustgate.state.redis_wire import Word

SLOTS: Final = 16_384
MOST_MOVES: Final = 5
"""How often one call is sent on before that is taken for a circle."""
Place = tuple[str, int]


class ClusterLink(Link):
    """Asks the node that has the key of a command. Used as a link to one Redis is."""

    def __init__(self, place: RedisVariables) -> None:
        super().__init__(place)
        self._nodes: dict[Place, Link] = {}
        self._starts: list[int] = []
        self._owners: list[Place] = []
        self._keeping: asyncio.Task[None] | None = None
        self._lost_one = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether every node that has keys answered the last time."""
        return bool(self._owners) and all(self._nodes[owner].up for owner in set(self._owners))

    @property
    def round_trips(self) -> int:
        """How many batches of commands were sent."""
        return sum(node.round_trips for node in self._nodes.values())

    async def open(self) -> None:
        """Connect, and read who has what. Without success too this returns: it is tried again until it works."""
        await self._read_map()
        self._keeping = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Hang up, and probe no more."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))

    async def _ask(self, words: Sequence[Word]) -> Any:
        owner = self._owner(slot_of(_key_of(words)))
        asking = False
        for _ in range(MOST_MOVES):
            reply = await self._ask_node(owner, words, asking=asking)
            moved = str(reply).split() if isinstance(reply, hiredis.ReplyError) else ()
            if len(moved) != 3 or moved[0] not in ("MOVED", "ASK"):
                return reply
            owner, asking = _place_of(moved[2], owner[0]), moved[0] == "ASK"
            if not asking:
                self._lost_one.set()  # the map is old
        raise StateUnavailable(f"{self._name} sends a command from one node to the next")

    async def _ask_node(self, owner: Place, words: Sequence[Word], *, asking: bool) -> Any:
        node = self._nodes.get(owner) or await self._meet(owner)
        try:
            if asking:  # together, so that nobody comes between
                return (await asyncio.gather(node._ask(("ASKING",)), node._ask(words)))[1]
            return await node._ask(words)
        except StateUnavailable:
            self._lost_one.set()
            raise

    def _owner(self, slot: int) -> Place:
        if not self._owners:
            raise StateUnavailable(f"{self._name} {self._why}")
        return self._owners[bisect_right(self._starts, slot) - 1]

    async def _meet(self, place: Place) -> Link:
        node = self._nodes[place] = Link(replace(self._place, host=place[0], port=place[1]))
        await node.open()
        return node

    async def _keep(self) -> None:
        """Read the map anew when a node was lost, until one tells it."""
        while True:
            await self._lost_one.wait()
            self._lost_one.clear()
            await self._read_map()
            await asyncio.sleep(LONGEST_PAUSE if not self.up else 0.1)
            if not self.up:
                self._lost_one.set()

    async def _read_map(self) -> None:
        seed = (self._place.host, self._place.port)
        for place in [*self._nodes, *([] if seed in self._nodes else [seed])]:
            try:
                node = self._nodes.get(place) or await self._meet(place)
                told = await node.ask("CLUSTER", "SLOTS")
            except StateUnavailable as error:
                self._why = str(error).removeprefix(f"{self._name} ")
                continue
            ranges = sorted((int(start), _told(owner, place[0])) for start, _, owner, *_ in told)
            if ranges:
                self._starts, self._owners = [start for start, _ in ranges], [owner for _, owner in ranges]
                for owner in set(self._owners) - set(self._nodes):
                    await self._meet(owner)
                return
            self._why = "is a cluster in which nobody has any keys yet"


def slot_of(key: str | bytes) -> int:
    """Return the slot of a key: by what it has in its first braces, where there is anything."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    if start >= 0 and (end := raw.find(b"}", start + 1)) > start + 1:
        raw = raw[start + 1 : end]
    return crc_hqx(raw, 0) % SLOTS


def _key_of(words: Sequence[Word]) -> str | bytes:
    key = words[3] if words[0] in (b"EVALSHA", b"EVAL") else words[1]
    return key if isinstance(key, str | bytes) else str(key)


def _told(owner: Sequence[Any], host: str) -> Place:
    """A node that does not know its own address is where it was reached."""
    name = owner[0].decode() if isinstance(owner[0], bytes) else str(owner[0] or "")
    return (name or host, int(owner[1]))


def _place_of(text: str, host: str) -> Place:
    name, _, port = text.rpartition(":")
    return (name or host, int(port))
