"""The API's own description, for programs and for people. The page is self-contained and obeys a strict policy."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from trustgate.planes.admin.operation import Ask, Nothing, Operation, serving
from trustgate.planes.admin.plane import AdminServices

_FOLDER: Final = Path(__file__).parent / "page"
_TAG: Final = "Documentation"


async def _document(_: AdminServices, __: Ask[Nothing, Nothing]) -> dict[str, Any]:
    from trustgate.planes.admin.openapi import document  # noqa: PLC0415 - it is made from the table, which holds us

    return document()


async def _page(_: AdminServices, __: Ask[Nothing, Nothing]) -> str:
    return _read("index.html")


async def _script(_: AdminServices, __: Ask[Nothing, Nothing]) -> str:
    return _read("page.js")


async def _style(_: AdminServices, __: Ask[Nothing, Nothing]) -> str:
    return _read("page.css")


@lru_cache(maxsize=8)
def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _text(kind: str) -> str:
    return f"text/{kind}; charset=utf-8"


OPERATIONS: Final[tuple[Operation, ...]] = (
    serving("GET", "/openapi.json", _document, name="openapi", summary="This API as OpenAPI 3.1", tag=_TAG),
    serving("GET", "/docs", _page, name="docs", summary="This API as a page to try it", tag=_TAG, media=_text("html")),
    serving(
        "GET",
        "/docs/page.js",
        _script,
        name="docsScript",
        summary="The page's script",
        tag=_TAG,
        media=_text("javascript"),
    ),
    serving(
        "GET", "/docs/page.css", _style, name="docsStyle", summary="The page's style", tag=_TAG, media=_text("css")
    ),
)
