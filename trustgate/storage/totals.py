"""How many records there are of each kind: kept in the transaction that makes or removes them, never counted."""

from collections import Counter

from trustgate.storage.database import Transaction

Added = Counter[tuple[str, str]]
"""What a unit adds: (entity, gateway id, empty for gateways themselves) → how many, below zero where it removes."""

_READ = "SELECT total FROM totals WHERE entity = :entity AND gateway_id = :gateway_id"
_ADD = (
    "INSERT INTO totals (entity, gateway_id, total) VALUES (:entity, :gateway_id, :total)"
    " ON CONFLICT (entity, gateway_id) DO UPDATE SET total = totals.total + excluded.total"
)
_FORGET = "DELETE FROM totals WHERE gateway_id = :gateway_id"


async def read(transaction: Transaction, added: Added, entity: str, gateway_id: str) -> int:
    """Return how many there are, with those that this unit has added."""
    rows = await transaction.fetch(_READ, entity=entity, gateway_id=gateway_id)
    return (int(rows[0]["total"]) if rows else 0) + added[entity, gateway_id]


async def write(transaction: Transaction, added: Added) -> None:
    """Add what a unit has added."""
    rows: list[dict[str, str | int]] = [
        {"entity": entity, "gateway_id": gateway_id, "total": total}
        for (entity, gateway_id), total in sorted(added.items())
        if total
    ]
    if rows:
        await transaction.execute_many(_ADD, rows)


async def forget(transaction: Transaction, added: Added, gateway_id: str) -> None:
    """Forget the totals of a gateway that is gone, with everything below it."""
    await transaction.execute(_FORGET, gateway_id=gateway_id)
    for key in [key for key in added if key[1] == gateway_id]:
        del added[key]
