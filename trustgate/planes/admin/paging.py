"""Which part of a list, in which order: the query parameters that the lists share, and what storage makes of them."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from trustgate.contract.errors import Refused
from trustgate.storage.store import Query

LARGEST: Final = 200

Order = Literal["asc", "desc"]


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which page, and how many items it holds."""

    page: Annotated[int, Meta(ge=1)] = 1
    size: Annotated[int, Meta(ge=1, description="More than 200 is taken as 200.")] = 20

    @property
    def limit(self) -> int:
        """The size of a page in force."""
        return min(self.size, LARGEST)


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    """A page of what contains a text, in any case."""

    search: Annotated[str, Meta(description="A part of the name, in any case.")] = ""
    name: Annotated[str, Meta(description="The same as `search`, which wins.")] = ""

    @property
    def text(self) -> str:
        """The text to look for."""
        return self.search or self.name


def to_query(
    form: PageQuery,
    *,
    gateway_id: str | None = None,
    where: Mapping[str, Any],
    search: str = "",
    search_in: tuple[str, ...] = ("name",),
    sort: str | None = None,
    order: Order | None = None,
) -> Query:
    """Return what to ask the store; None in `where` is no condition. Raises Refused."""
    if order and not sort:
        raise Refused("invalid_sort", "invalid sort parameter: order needs sort beside it", status=422)
    return Query(
        gateway_id=gateway_id,
        where={name: value for name, value in where.items() if value is not None},
        search=search or (form.text if isinstance(form, SearchQuery) else ""),
        search_in=search_in,
        sort=sort or "",
        descending=order == "desc",
        offset=(form.page - 1) * form.limit,
        limit=form.limit,
    )
