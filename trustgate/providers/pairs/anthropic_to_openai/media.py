"""Anthropic's pictures and documents as the hub's parts. Data becomes a data URL.

https://platform.claude.com/docs/en/build-with-claude/vision and /pdf-support
"""

from base64 import b64encode
from typing import Final

from trustgate.providers.hub import CannotSay, Json
from trustgate.providers.pairs.openai_to_anthropic.media import IMAGES, PDF
from trustgate.providers.pairs.reading import an_object, string

_STAND_IN: Final = "~payload."
"""How the stand-in of a large payload begins (payload.py): nothing that could be encoded."""


def to_image(block: Json, path: str) -> Json:
    """An image block → `image_url`. Raises CannotSay."""
    path += ".source"
    source = an_object(block.get("source"), path)
    if source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": string(source.get("url"), f"{path}.url")}}
    if source.get("type") != "base64":
        raise CannotSay(f"{path}.type", "A picture by the id of a file can be said to Anthropic alone: send its data.")
    kind = string(source.get("media_type"), f"{path}.media_type")
    if kind not in IMAGES:
        raise CannotSay(f"{path}.media_type", "This must be image/jpeg, image/png, image/gif or image/webp.")
    data = string(source.get("data"), f"{path}.data")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def to_file(block: Json, path: str) -> Json:
    """A document block → `file`. Raises CannotSay."""
    file = _file(an_object(block.get("source"), f"{path}.source"), f"{path}.source")
    for name in ("title", "context"):
        if block.get(name) is not None:
            file[name] = string(block[name], f"{path}.{name}")
    if block.get("citations") is not None:
        file["citations"] = an_object(block["citations"], f"{path}.citations")
    if "filename" in file and (title := file.get("title")):
        ending = file["filename"][-4:]
        file["filename"] = title if title.lower().endswith(ending) else title + ending
    return {"type": "file", "file": file}


def _file(source: Json, path: str) -> Json:
    """Return the file. OpenAI insists on a name beside data, so that there is one where the document has no title."""
    kind = source.get("type")
    if kind == "base64":
        if source.get("media_type") != PDF:
            raise CannotSay(f"{path}.media_type", f"This must be {PDF}.")
        data = string(source.get("data"), f"{path}.data")
        return {"filename": "document.pdf", "file_data": f"data:{PDF};base64,{data}"}
    if kind == "text":
        return {"filename": "document.txt", "file_data": f"data:text/plain;base64,{_encoded(source, path)}"}
    if kind == "url":
        return {"file_url": string(source.get("url"), f"{path}.url")}
    if kind == "file":
        return {"file_id": string(source.get("file_id"), f"{path}.file_id")}
    raise CannotSay(f"{path}.type", f"A document of the type {str(kind)[:40]!r} can be said to Anthropic alone.")


def _encoded(source: Json, path: str) -> str:
    text = string(source.get("data"), f"{path}.data")
    if text.startswith(_STAND_IN):
        raise CannotSay(f"{path}.data", "A word of more than 64 KiB is no text that could be translated.")
    return b64encode(text.encode("utf-8", "replace")).decode()
