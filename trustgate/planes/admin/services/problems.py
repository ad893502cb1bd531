"""Every way in which a service says no, as `Refused` values with the codes of the published contract."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from trustgate.config.records import Record
from trustgate.contract.errors import Refused
from trustgate.planes.admin.services.work import Work
from trustgate.storage.database import Dangling, Taken
from trustgate.storage.store import Repository

R = TypeVar("R", bound=Record)
T = TypeVar("T")


def invalid(message: str) -> Refused:
    """What was sent cannot be taken; the message names the field and says what can."""
    return Refused("validation_failed", f"validation failed: {message}", status=422)


def not_found() -> Refused:
    """There is no such thing, or not for this caller: the two look the same on purpose."""
    return Refused("not_found", "", status=404)


def conflict(message: str) -> Refused:
    """What is asked contradicts what is there."""
    return Refused("conflict", f"{message}: resource conflict", status=409)


def already_exists(entity: str, column: str) -> Refused:
    """A unique value is taken."""
    return Refused(
        "already_exists",
        f"{entity}: resource already exists: the {column} is already taken, choose another",
        status=409,
    )


def not_served(what: str) -> Refused:
    """A field or value of the published API that has no effect here is refused rather than taken and forgotten."""
    return invalid(f"{what} is not supported by this version: leave it out")


def found(record: T | None) -> T:
    """Return the record. Raises Refused when there is none."""
    if record is None:
        raise not_found()
    return record


@contextmanager
def saving(entity: str) -> Iterator[None]:
    """Turn what storage refuses into what a caller understands."""
    try:
        yield
    except Taken as fault:
        column = next((name for name in fault.columns if name != "gateway_id"), "id")
        raise already_exists(entity, column) from None
    except Dangling:  # what it refers to was checked in this same unit, so it can only be the gateway that is gone
        raise not_found() from None


async def save(work: Work, repository: Repository[R], entity: str, *, before: R, after: R) -> R:
    """Write a changed record and return it as stored; an unchanged one is not written and makes no revision."""
    if after == before:
        return before
    stamped = msgspec.structs.replace(after, updated_at=work.tools.now())
    with saving(entity):
        stored = await repository.replace(stamped)
    if not stored:
        raise not_found()
    return stamped
