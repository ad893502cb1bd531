"""Secrets are sealed before they reach a database, a backup or a disk: AES-256-GCM under a key from SERVER_SECRET_KEY.

The sealed text is bound to the place it belongs to (table, row, field), so it cannot be moved to another row and opened
there. The form carries its version: `sealed:v1:` and base64 of nonce, ciphertext and tag.
"""

import base64
import binascii
import os

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trustgate.storage.database import CannotOpen

_PREFIX = "sealed:v1:"
_NONCE_BYTES = 12


class Sealer:
    """Seals and opens text for named places. Safe to share between threads."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("SERVER_SECRET_KEY is empty: nothing can be sealed without it")
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"trustgate-vault").derive(secret.encode())
        self._cipher = AESGCM(key)

    def seal(self, text: str, *place: str) -> str:
        """Return the text sealed for that place."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), _bound_to(place))
        return _PREFIX + base64.b64encode(sealed).decode()

    def open(self, sealed: str, *place: str) -> str:
        """Return what was sealed for that place. Raises CannotOpen."""
        try:
            raw = base64.b64decode(sealed.removeprefix(_PREFIX), validate=True)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound_to(place)).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise CannotOpen(_cannot_open(place)) from None


def is_sealed(value: object) -> bool:
    """Say whether a stored value is sealed. A field that was declared secret later is still in clear in old rows."""
    return isinstance(value, str) and value.startswith(_PREFIX)


def _bound_to(place: tuple[str, ...]) -> bytes:
    """Encode a place without ambiguity: `("a", "b")` and `("ab",)` must differ."""
    return msgspec.json.encode(place)


def _cannot_open(place: tuple[str, ...]) -> str:
    return (
        f"the sealed value of {' / '.join(place)} cannot be opened: was SERVER_SECRET_KEY changed, or the row copied "
        "from elsewhere? Start with the secret that sealed it, or write the record's secrets again."
    )
