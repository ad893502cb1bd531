"""Brings a database to this program's schema: plain SQL files, forward only, all pending ones in one transaction.

Rule 1: a file that was applied is never changed; a checksum proves it.
Rule 2: a database that a newer program has migrated is left alone.
Rule 3: a statement ends with a semicolon at the end of a line, and only there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trustgate.storage.database import CannotMigrate, Database, Transaction, Unavailable

_FILE = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_END = re.compile(r";[ \t]*(?:\n|\Z)")

_LEDGER = "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, checksum TEXT NOT NULL)"
_APPLIED = "SELECT name, checksum FROM schema_migrations"
_RECORD = "INSERT INTO schema_migrations (name, checksum) VALUES (:name, :checksum)"


async def migrate(database: Database, folder: Path | None = None) -> list[str]:
    """Apply what is pending and return its names. Raises CannotMigrate; safe when several processes do it at once."""
    files = _read(folder or migrations_folder())
    async with database.transaction() as transaction:  # writers are serial, so nobody else migrates meanwhile
        await transaction.execute(_LEDGER)
        rows = await transaction.fetch(_APPLIED)
        pending = _pending(files, {row["name"]: row["checksum"] for row in rows})
        for name in pending:
            await _apply(transaction, name, files[name])
    return pending


def migrations_folder() -> Path:
    """Return where the files are: beside the package when it was installed from a wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


async def pending(database: Database, folder: Path | None = None) -> list[str]:
    """Return the names of what would be applied, and apply nothing. Raises CannotMigrate."""
    files = _read(folder or migrations_folder())
    try:
        rows = await database.fetch(_APPLIED)
    except Unavailable as error:
        if "has not been set up" not in str(error):
            raise
        rows = []
    return _pending(files, {row["name"]: row["checksum"] for row in rows})


def sql_of(name: str, folder: Path | None = None) -> str:
    """Return the statements of a migration."""
    return _read(folder or migrations_folder())[name]


async def _apply(transaction: Transaction, name: str, text: str) -> None:
    for statement in _END.split(_COMMENT.sub("", text)):
        if statement.strip():
            await transaction.execute(statement)
    await transaction.execute(_RECORD, name=name, checksum=_checksum(text))


def _read(folder: Path) -> Mapping[str, str]:
    """Return the files by name, in order."""
    files = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.sql"))}
    wrong = [name for name in files if not _FILE.fullmatch(name)]
    if wrong or not files or len({name[:4] for name in files}) < len(files):
        raise CannotMigrate(f"{folder} must hold files named NNNN_name.sql, each number once; found {list(files)}")
    return files


def _pending(files: Mapping[str, str], applied: Mapping[str, str]) -> list[str]:
    """Return the names to apply, after making sure that the database's history is the beginning of ours."""
    unknown = sorted(set(applied) - set(files))
    if unknown:
        raise CannotMigrate(_newer(unknown))
    changed = [name for name, checksum in applied.items() if checksum != _checksum(files[name])]
    if changed:
        raise CannotMigrate(_changed(changed))
    pending = [name for name in files if name not in applied]
    if applied and pending and pending[0] < max(applied):
        raise CannotMigrate(f"{pending[0]} would run after {max(applied)}: give the new file the next free number")
    return pending


def _newer(unknown: Sequence[str]) -> str:
    return (
        f"the database was migrated by a newer TrustGate ({', '.join(unknown)}): run that version or a later one, "
        "or restore a backup made before the upgrade"
    )


def _changed(names: Sequence[str]) -> str:
    return (
        f"{', '.join(sorted(names))} differs from what was applied to this database: restore the released file, "
        "and put the change into a new one"
    )


def _checksum(text: str) -> str:
    """Return the checksum of a file's text; `read_text` has made its line ends the same on every system."""
    return hashlib.sha256(text.encode()).hexdigest()
