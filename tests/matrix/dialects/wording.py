"""Small pieces of several formats."""

import base64
import json
from collections.abc import Iterator

from ..talk import Json, Picture
from .history import BadRequest


def written(value: object) -> str:
    """Return JSON as providers write it: small, and not only ASCII."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def event(data: Json, name: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {written(data)}\n\n".encode()


def pieces(text: str, size: int = 5) -> Iterator[str]:
    """Cut a text as a stream does: anywhere."""
    return (text[at : at + size] for at in range(0, len(text), size))


def picture_of(url: str) -> Picture:
    """Read a data URL. Raises BadRequest: a mock fetches nothing."""
    head, _, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise BadRequest(f"no data URL: {url[:40]}")
    return checked(head[5:-7], data)


def checked(media_type: str, data: str) -> Picture:
    """Return a picture of a type that every provider takes. Raises BadRequest."""
    if media_type not in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        raise BadRequest(f"unsupported image type {media_type}")
    return Picture(media_type, base64.b64decode(data, validate=True))


def arguments_of(text: object) -> Json:
    """Read the arguments of a call. Raises BadRequest for what is no JSON object in a string."""
    if not isinstance(text, str) or not isinstance(found := json.loads(text or "{}"), dict):
        raise BadRequest(f"arguments are a JSON object in a string, not {text!r}")
    return found


def data_url(picture: Picture) -> str:
    """Return a picture as a data URL."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode()}"
