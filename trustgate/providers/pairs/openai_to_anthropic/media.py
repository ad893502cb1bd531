"""Pictures and documents in Anthropic's blocks.

https://platform.claude.com/docs/en/build-with-claude/vision and /pdf-support. Data goes as base64, what is elsewhere by
its address or by the id that Anthropic's Files API gave it.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, string

IMAGES: Final[Mapping[str, str]] = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
"""Media types that Anthropic takes, and one that is often written for another."""
PDF: Final = "application/pdf"
_BASE64: Final = ";base64"


def split_data_url(url: str) -> tuple[str, str]:
    """Return media type and base64 of a data URL, two empty strings for any other."""
    if not url.startswith("data:"):
        return "", ""
    head, _, data = url[5:].partition(",")
    return (head.partition(";")[0].lower(), data) if head.endswith(_BASE64) else ("", "")


def image(part: Json, path: str, losses: Losses) -> Json:
    """`image_url` → an image block. Raises CannotSay."""
    path += ".image_url"
    found = an_object(part.get("image_url"), path)
    if found.get("detail") not in (None, "auto"):
        losses.drop("messages.content.image_url.detail")
    url = string(found.get("url"), f"{path}.url")
    if url.startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, data = split_data_url(url)
    if kind not in IMAGES:
        raise CannotSay(f"{path}.url", "Anthropic takes an address, or a data URL with a JPEG, PNG, GIF or WebP.")
    return {"type": "image", "source": {"type": "base64", "media_type": IMAGES[kind], "data": data}}


def document(part: Json, path: str) -> Json:
    """`file` → a document block. Raises CannotSay."""
    path += ".file"
    file = an_object(part.get("file"), path)
    told: Json = {"type": "document", "source": _source(file, path)}
    title = file.get("title") or file.get("filename")
    if title is not None:
        told["title"] = string(title, f"{path}.title" if file.get("title") else f"{path}.filename")
    if (context := file.get("context")) is not None:
        told["context"] = string(context, f"{path}.context")
    if (citations := file.get("citations")) is not None:
        told["citations"] = an_object(citations, f"{path}.citations")
    return told


def _source(file: Json, path: str) -> Json:
    if (url := file.get("file_url")) is not None:
        return {"type": "url", "url": string(url, f"{path}.file_url")}
    if (data := file.get("file_data")) is not None:
        return _data(string(data, f"{path}.file_data"), file.get("filename"), f"{path}.file_data")
    return {"type": "file", "file_id": string(file.get("file_id"), f"{path}.file_id")}


def _data(told: str, filename: Any, path: str) -> Json:
    kind, data = split_data_url(told)
    if kind == PDF or (not told.startswith("data:") and isinstance(filename, str) and filename.endswith(".pdf")):
        return {"type": "base64", "media_type": PDF, "data": data or told}
    if kind.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _text(data, path)}
    raise CannotSay(path, "Anthropic takes a data URL with a PDF or with text: send other documents as text.")


def _text(data: str, path: str) -> str:
    """Text goes to Anthropic as text: the one thing that is taken out of its base64, and only while it is small."""
    try:
        return b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise CannotSay(path, "This is not base64 of at most 64 KiB with text in UTF-8: send it as text.") from error
