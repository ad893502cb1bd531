"""`trustgate apply` and `trustgate export`: a file, an admin API (over HTTP, or this installation's own), and words."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from trustgate.planes.admin.container import Admin
from trustgate.planes.admin.tokens import mint_token
from trustgate.planes.declared import Api, BadFile, apply, checked, export, read
from trustgate.settings import Settings
from trustgate.storage.database import StorageError
from trustgate.storage.migrate import pending
from trustgate.variables import BadSetting

Fail = Callable[[int, str], None]
TOKEN_SECONDS = 600
PATIENCE = 60.0


async def apply_file(
    settings: Settings, path: Path, *, url: str, dry: bool, prune: bool, tell: Callable[[str], None], fail: Fail
) -> None:
    """Make a gateway as the file has it, and tell each thing that differs."""
    try:
        file = checked(_loaded(path))
        number, left = 0, 0
        async with _api(settings, url) as api:
            async for step in apply(api, file, dry=dry, prune=prune):
                tell(str(step))
                number += step.sign != "?"
                left += step.sign == "?"
    except (BadFile, StorageError) as error:
        fail(1, str(error))
        return
    if left:
        tell(f"{left} not in the file stay: --prune removes them")
    tell("nothing differs" if not number else f"{number} differ: nothing was changed" if dry else f"{number} changed")


async def exported(settings: Settings, slug: str, *, url: str, fail: Fail) -> str:
    """Return a gateway as a file."""
    try:
        async with _api(settings, url) as api:
            gateway = await read(api, slug)
    except (BadFile, StorageError) as error:
        fail(1, str(error))
        raise
    if gateway.view is None:
        fail(1, f"there is no gateway {slug}, or not for this token")
    text: str = yaml.safe_dump(export(gateway), sort_keys=False, allow_unicode=True, width=120)
    return text


def _loaded(path: Path) -> Any:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} cannot be read: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadFile(f"{path} is no YAML: {' '.join(str(error).split())}") from error


@asynccontextmanager
async def _api(settings: Settings, url: str) -> AsyncIterator[Api]:
    if url:
        if not settings.admin_token:
            raise BadSetting("TRUSTGATE_ADMIN_TOKEN is not set: --url needs a token of that installation in it")
        headers = {"authorization": f"Bearer {settings.admin_token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
            yield Api(client)
        return
    ground = Admin(settings=settings)
    database = ground.database()
    await database.open()
    try:
        if await pending(database):
            raise BadFile("the database is not up to date: run `trustgate migrate`, or start a plane")
        token = mint_token(ground.secret(), subject="apply", lifetime_seconds=TOKEN_SECONDS)
        transport = httpx.ASGITransport(ground.admin_app())
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://admin", headers=headers) as client:
            yield Api(client)
    finally:
        await database.aclose()
