"""The server's secret key: given, or in development made once and kept beside the data, for its owner's eyes only."""

import os
import secrets
from pathlib import Path

from trustgate.settings import Settings
from trustgate.variables import BadSetting

FILE = "server-secret.key"


def server_secret(settings: Settings) -> str:
    """Return the key that signs tokens and seals secrets. Raises BadSetting in production when there is none."""
    if settings.secret_key:
        return settings.secret_key
    if settings.production:
        raise BadSetting(
            f"SERVER_SECRET_KEY is not set, which APP_ENV={settings.app_env} does not accept: "
            "use at least 32 random bytes, for example the output of `openssl rand -hex 32`"
        )
    return _kept(settings.data_dir / FILE)


def _kept(path: Path) -> str:
    """Make the key unless it is there. Linking a finished file is atomic: of two processes both read the same key."""
    if not path.exists():
        make_folder(path.parent)
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def make_folder(folder: Path) -> None:
    """Make the data folder. Raises BadSetting."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"TRUSTGATE_DATA_DIR is {folder}, which cannot be made ({error.strerror}): "
            "use a folder that this user may write"
        ) from error
