"""Which entity changed at which revision. Written in the transaction that changed it: never ahead, never behind.

The log is kept short: `pruned` is the newest revision whose rows may be missing. Whoever asks from before that reads
everything anew.
"""

from collections.abc import Sequence

from trustgate.storage.database import Row, Transaction
from trustgate.storage.repository import Touched

REVISION = "SELECT revision, pruned FROM config_revision WHERE id = 1"
KEPT_ROWS = 10_000
PRUNE_EVERY = 256

_BUMP = "UPDATE config_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision"
_APPEND = (
    "INSERT INTO config_changes (revision, entity, entity_id, gateway_id)"
    " VALUES (:revision, :entity, :entity_id, :gateway_id)"
)
_SINCE = (
    "SELECT DISTINCT entity, entity_id, gateway_id FROM config_changes WHERE revision > :since"
    " ORDER BY entity, entity_id LIMIT :limit"
)
_NTH_NEWEST = "SELECT revision FROM config_changes ORDER BY revision DESC LIMIT 1 OFFSET :kept"
_FORGET = "DELETE FROM config_changes WHERE revision <= :revision"
_PRUNED = "UPDATE config_revision SET pruned = :revision WHERE id = 1"


async def append(transaction: Transaction, touched: Touched) -> int:
    """Write a unit's touched entities as one new revision, and return it."""
    revision = int((await transaction.fetch(_BUMP))[0]["revision"])
    await transaction.execute_many(
        _APPEND,
        [
            {"revision": revision, "entity": entity, "entity_id": entity_id, "gateway_id": gateway_id}
            for (entity, entity_id), gateway_id in touched.items()
        ],
    )
    await transaction.announce()
    if revision % PRUNE_EVERY == 0:
        await prune(transaction, KEPT_ROWS)
    return revision


async def since(transaction: Transaction, revision: int, *, at_most: int) -> Sequence[Row]:
    """Return the entities that changed after a revision, each once; one more than `at_most` if there are more."""
    return await transaction.fetch(_SINCE, since=revision, limit=at_most + 1)


async def prune(transaction: Transaction, kept: int) -> None:
    """Forget the oldest revisions so that at most `kept` rows stay; a revision is kept whole or not at all."""
    oldest = await transaction.fetch(_NTH_NEWEST, kept=kept)
    if oldest:
        await transaction.execute(_FORGET, revision=oldest[0]["revision"])
        await transaction.execute(_PRUNED, revision=oldest[0]["revision"])
