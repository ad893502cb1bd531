"""The store: units of work over the repositories. Nothing else writes configuration.

Rule 1: a unit is one transaction, and everything it wrote is one revision: nobody ever reads half of it.
Rule 2: every entity whose record changed has a row in the change log; of a gateway that is gone, the gateway alone.
Rule 3: the store invents neither ids nor times. After any storage error a unit can only be left.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trustgate.config.records import Auth, Consumer, Gateway, Policy, Registry
from trustgate.storage import changelog, totals
from trustgate.storage.database import Database, Transaction
from trustgate.storage.repository import Page, Query, Repository, Touched
from trustgate.storage.seal import Sealer
from trustgate.storage.tables import AUTHS, CONSUMERS, GATEWAYS, POLICIES, REGISTRIES

__all__ = ["Page", "Query", "Repository", "Store", "Unit"]


class Unit:
    """One transaction's repositories. `revision` is the new one once the unit is left; None: it wrote nothing."""

    def __init__(self, transaction: Transaction, sealer: Sealer) -> None:
        self.touched: Touched = {}
        self.added: totals.Added = Counter()
        self.revision: int | None = None
        self.gateways: Repository[Gateway] = Repository(GATEWAYS, transaction, sealer, self.touched, self.added)
        self.registries: Repository[Registry] = Repository(REGISTRIES, transaction, sealer, self.touched, self.added)
        self.consumers: Repository[Consumer] = Repository(CONSUMERS, transaction, sealer, self.touched, self.added)
        self.auths: Repository[Auth] = Repository(AUTHS, transaction, sealer, self.touched, self.added)
        self.policies: Repository[Policy] = Repository(POLICIES, transaction, sealer, self.touched, self.added)


class Store:
    """Hands out units of work over one database."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[Unit]:
        """Open a unit that may write. Units are serial: what one has read stays true until it is left."""
        async with self._database.transaction() as transaction:
            unit = Unit(transaction, self._sealer)
            yield unit
            if unit.touched:
                await totals.write(transaction, unit.added)
                unit.revision = await changelog.append(transaction, unit.touched)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Unit]:
        """Open a unit that can only read, from one state of the database; it waits for no writer."""
        async with self._database.transaction(write=False) as transaction:
            yield Unit(transaction, self._sealer)
