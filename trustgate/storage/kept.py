"""The last good configuration, sealed in a file of its own: what a data plane serves that starts without its database.

The file is written whole beside its place and then moved there, so that it is never half of one.
"""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from trustgate.config.records import AnyRecord, Auth, Consumer, Gateway, Policy, Registry
from trustgate.config.snapshot import Snapshot, build
from trustgate.storage.database import CannotOpen, Unreadable
from trustgate.storage.seal import Sealer

PLACE: Final = ("snapshot", "file")
FORM: Final = 1
"""Which form of file this program writes. One of another form is as good as none."""
AT_ONCE: Final = 500
"""Records that are encoded before somebody else has a turn."""


class Kept(Struct, frozen=True, kw_only=True):
    """What the file holds: everything at one revision."""

    form: int
    revision: int
    gateways: list[Gateway] = []
    registries: list[Registry] = []
    consumers: list[Consumer] = []
    auths: list[Auth] = []
    policies: list[Policy] = []


class KeptSnapshot:
    """The file. Its content opens with the secret that sealed it and with no other."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self._path = path
        self._sealer = sealer

    @property
    def is_there(self) -> bool:
        """Whether something was kept."""
        return self._path.is_file()

    async def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the one that is there. Raises OSError."""
        encoder = msgspec.json.Encoder()
        tenants = list(snapshot.tenants.values())
        parts = [b'{"form":%d,"revision":%d,"gateways":' % (FORM, snapshot.revision)]
        parts.append(encoder.encode([tenant.gateway for tenant in tenants]))
        for name in ("registries", "consumers", "auths", "policies"):
            records = [record for tenant in tenants for record in getattr(tenant, name).values()]
            encoded: list[bytes] = []
            for start in range(0, len(records), AT_ONCE):
                encoded.append(encoder.encode(records[start : start + AT_ONCE])[1:-1])
                await asyncio.sleep(0)
            parts.append(b',"%b":[%b]' % (name.encode(), b",".join(encoded)))
        parts.append(b"}")
        await asyncio.to_thread(self._put, b"".join(parts))

    def read(self) -> Snapshot | None:
        """Return what was kept, None where there is nothing. Raises CannotOpen, Unreadable."""
        try:
            sealed = self._path.read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise CannotOpen(f"the kept configuration {self._path} cannot be read: {type(error).__name__}") from error
        raw = self._sealer.open(sealed, *PLACE)
        try:
            kept = msgspec.json.decode(raw, type=Kept)
        except msgspec.DecodeError as error:
            raise Unreadable(f"the kept configuration {self._path} is of another version of this program") from error
        if kept.form != FORM:
            return None
        records: list[AnyRecord] = [*kept.gateways, *kept.registries, *kept.consumers, *kept.auths, *kept.policies]
        return build(kept.revision, records)

    def _put(self, raw: bytes) -> None:
        sealed = self._sealer.seal(raw.decode(), *PLACE)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
