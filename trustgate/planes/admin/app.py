"""The admin plane: the table behind its doors. `admin_app(AdminServices(...))` is all of it."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from trustgate.planes.admin import dispatch
from trustgate.planes.admin.middleware import Cors, Doorway, Guard
from trustgate.planes.admin.plane import AdminServices, Build
from trustgate.planes.admin.services.work import Tools
from trustgate.planes.admin.table import OPERATIONS

__all__ = ["AdminServices", "Build", "Tools", "admin_app"]


def admin_app(services: AdminServices) -> ASGIApp:
    """Return the plane as an ASGI application. It owns nothing: whoever made the services closes them."""
    return Starlette(
        routes=dispatch.routes(OPERATIONS, services),
        exception_handlers={404: dispatch.not_found, 405: dispatch.not_allowed},
        middleware=[
            Middleware(Doorway),
            Middleware(Cors, settings=services.cors),
            Middleware(Guard, secret=services.secret),
        ],
    )
