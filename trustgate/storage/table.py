"""How a record lies in its table: what we look up by is a column, a list of ids is a link, the rest is a document.

A value is stored once. Every statement is put together here, at import, from the constants of tables.py; values only
ever travel as parameters.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from trustgate.config.records import Record
from trustgate.storage.database import Row, Unreadable, Value
from trustgate.storage.seal import Sealer, is_sealed

R = TypeVar("R", bound=Record)

NOTHING: Mapping[str, Any] = {}


class Column(Struct, frozen=True):
    """A field that is looked up, sorted or filtered by. `folded` adds a case-folded twin to search and sort by."""

    name: str
    kind: Literal["plain", "flag", "time"] = "plain"
    folded: bool = False

    @property
    def key(self) -> str:
        """The column to sort by."""
        return f"{self.name}_folded" if self.folded else self.name

    @property
    def searched(self) -> str:
        """What to search in; a column without a folded twin holds ASCII, which LOWER folds everywhere."""
        return self.key if self.folded else f"LOWER({self.name})"


class Link:
    """A list field of `entity` that lives in a junction table, in order; `weighted` items carry a weight."""

    def __init__(self, *, entity: str, field: str, table: str, owner: str, other: str, weighted: bool = False) -> None:
        self.entity, self.field, self.owner, self.other, self.weighted = entity, field, owner, other, weighted
        weight, mark = (", weight", ", :weight") if weighted else ("", "")
        names = {"table": table, "owner": owner, "other": other, "field": field, "weight": weight, "mark": mark}
        self.select_all = _write("SELECT {owner}, {other}{weight} FROM {table} ORDER BY {owner}, position", names)
        self.select = _write(
            "SELECT {owner}, {other}{weight} FROM {table} WHERE {owner} IN :owners ORDER BY {owner}, position", names
        )
        self.insert = _write(
            "INSERT INTO {table} (gateway_id, {owner}, {other}, position{weight})"
            " VALUES (:gateway_id, :owner, :other, :position{mark})",
            names,
        )
        self.clear = _write("DELETE FROM {table} WHERE gateway_id = :gateway_id AND {owner} = :owner", names)
        self.owners = _write("SELECT {owner} AS id, gateway_id FROM {table} WHERE {other} = :id", names)
        self.holds = _write("id IN (SELECT {owner} FROM {table} WHERE {other} = :{field})", names)

    def rows(self, record: Record) -> list[Row]:
        """Return the junction rows that say what the record says."""
        base: Row = {"gateway_id": gateway_of(record), "owner": record.id}
        items = enumerate(getattr(record, self.field))
        if self.weighted:
            return [base | {"other": it.registry_id, "weight": it.weight, "position": i} for i, it in items]
        return [base | {"other": it, "position": i} for i, it in items]

    def agrees(self, stored: Sequence[Row], wanted: Sequence[Row]) -> bool:
        """Say whether the stored junction rows, in order, already are the wanted ones."""
        return [(row[self.other], row.get("weight")) for row in stored] == [
            (row["other"], row.get("weight")) for row in wanted
        ]

    def item(self, row: Row) -> Any:
        """Return the list item that a junction row holds."""
        return {"registry_id": row[self.other], "weight": row["weight"]} if self.weighted else row[self.other]


LinkRows = tuple[Link, Sequence[Row]]


def collect(loaded: Iterable[LinkRows]) -> Mapping[str, Mapping[str, list[Any]]]:
    """Return the link fields that junction rows hold: id → field → items."""
    found: dict[str, dict[str, list[Any]]] = {}
    for link, rows in loaded:
        for row in rows:
            found.setdefault(row[link.owner], {}).setdefault(link.field, []).append(link.item(row))
    return found


class Table(Generic[R]):
    """One record type and its table. `referrers` are the links of other entities that point here."""

    def __init__(
        self,
        name: str,
        entity: str,
        record: type[R],
        *,
        columns: tuple[Column, ...],
        links: tuple[Link, ...] = (),
        referrers: tuple[Link, ...] = (),
    ) -> None:
        self.name, self.entity, self.record, self.links, self.referrers = name, entity, record, links, referrers
        self.columns = {column.name: column for column in columns}
        self.owned = "gateway_id" in self.columns
        self._flags = [column.name for column in columns if column.kind == "flag"]
        self._times = [column.name for column in columns if column.kind == "time"]
        self._write_statements()
        self._write_conditions()

    def _write_statements(self) -> None:
        stored = [*self.columns, *(column.key for column in self.columns.values() if column.folded), "document"]
        parts = {
            "table": self.name,
            "columns": ", ".join(stored),
            "values": ", ".join(map(":{}".format, stored)),
            "sets": ", ".join(map("{0} = :{0}".format, stored)),
            "gateway": "gateway_id" if self.owned else "id",
            "read": ", ".join([*self.columns, "document"]),
        }
        self.select = _write("SELECT {read} FROM {table}", parts)
        self.select_some = _write("SELECT {read} FROM {table} WHERE id IN :ids", parts)
        self.count = _write("SELECT COUNT(*) AS total FROM {table}", parts)
        self.insert = _write("INSERT INTO {table} ({columns}) VALUES ({values})", parts)
        self.update = _write("UPDATE {table} SET {sets} WHERE id = :id AND {gateway} = :{gateway}", parts)
        self.delete = _write("DELETE FROM {table}", parts)
        self.returning = _write("RETURNING id, {gateway} AS gateway_id", parts)

    def _write_conditions(self) -> None:
        self.equal = {name: f"{name} = :{name}" for name in self.columns} | {li.field: li.holds for li in self.links}
        self.among = {name: f"{name} IN :{name}" for name in self.columns}
        self.like = {name: f"{column.searched} LIKE :search ESCAPE '\\'" for name, column in self.columns.items()}
        self.order = {
            (name, descending): f"ORDER BY {column.key}{' DESC' if descending else ''}, id"
            for name, column in self.columns.items()
            for descending in (False, True)
        }

    def counted_under(self, gateway_id: str) -> str:
        """Return under which gateway a record is counted: gateways themselves under none."""
        return gateway_id if self.owned else ""

    def encode(self, record: R, sealer: Sealer) -> dict[str, Value]:
        """Return the row that holds the record, with its secrets sealed."""
        document = msgspec.to_builtins(record)
        row: dict[str, Value] = {}
        for name, column in self.columns.items():
            document.pop(name, None)
            row[name] = _to_column(column, getattr(record, name))
            if column.folded:
                row[column.key] = fold(getattr(record, name))
        for link in self.links:
            document.pop(link.field, None)
        for field in record.sealed:
            if field in document:
                document[field] = sealer.seal(_dump(document[field]), self.name, record.id, field)
        return row | {"document": _dump(document)}

    def decode(self, row: Row, links: Mapping[str, Any], sealer: Sealer) -> R:
        """Return the record that a row and its links hold. Raises Unreadable, or CannotOpen for a sealed value."""
        try:
            fields = msgspec.json.decode(row["document"])
            for field in self.record.sealed:
                if is_sealed(fields.get(field)):
                    fields[field] = msgspec.json.decode(sealer.open(fields[field], self.name, row["id"], field))
            return self._convert(fields, row, links)
        except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as fault:
            # The fault's own words may quote the contents, and those may be secret.
            raise Unreadable(f"{self.entity} {row['id']} does not decode ({type(fault).__name__})") from None

    def outline(self, row: Row, links: Mapping[str, Any], **known: Any) -> R:
        """Return the record that the columns alone make, with what is `known` besides: its document cannot be read."""
        return self._convert(dict(known), row, links)

    def _convert(self, fields: dict[str, Any], row: Row, links: Mapping[str, Any]) -> R:
        fields.update(row)
        fields.update(links)
        for name in self._flags:
            fields[name] = fields[name] == 1
        for name in self._times:
            fields[name] = _trim(fields[name])
        return msgspec.convert(fields, self.record)


def gateway_of(record: Record) -> str:
    """Return the gateway that a record belongs to; a gateway belongs to itself."""
    return str(getattr(record, "gateway_id", record.id))


def fold(text: str) -> str:
    """Make text comparable without regard to case or to how its accents are encoded, the same on every database."""
    return unicodedata.normalize("NFKC", text).casefold()


def _to_column(column: Column, value: Any) -> Value:
    match column.kind:
        case "flag":
            return int(value)
        case "time":
            return _pad(value)
        case "plain":
            return _plain(column, value)


def _plain(column: Column, value: Value) -> Value:
    if isinstance(value, str) and "\0" in value:  # Postgres cannot store it, so no database of ours does
        raise ValueError(f"{column.name} must not contain a NUL character")
    return value


def _pad(time: str) -> str:
    """Write all nine digits of a second's fraction: only then text sorts as time does."""
    if not time.endswith("Z"):
        return time
    whole, _, fraction = time[:-1].partition(".")
    return f"{whole}.{fraction:0<9}Z"


def _trim(time: str) -> str:
    return time[:-1].rstrip("0").rstrip(".") + "Z" if "." in time else time


def _dump(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _write(template: str, names: Mapping[str, str]) -> str:
    """Fill a statement's template with identifiers of our own."""
    return template.format_map(names)
