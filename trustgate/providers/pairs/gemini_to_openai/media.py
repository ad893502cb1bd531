"""Gemini's data and files as the hub's parts. Data becomes a data URL.

https://ai.google.dev/api/caching#Blob and #FileData
"""

from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.gemini_to_openai.reading import named
from trustgate.providers.pairs.openai_to_gemini.media import type_of_name
from trustgate.providers.pairs.reading import string

_STANDARD: Final = str.maketrans("-_", "+/")
"""Google takes base64 in either alphabet, and its own client sends that of URLs. Others know the standard one."""
_FILMS: Final = ("https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/")
"""Where a film is by an address alone: https://ai.google.dev/gemini-api/docs/video-understanding#youtube"""
_FORMATS: Final = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-aiff": "aiff"}
"""Subtypes of audio that have other names as OpenAI's formats."""
_ENDINGS: Final = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md"}


def in_standard(data: str) -> str:
    """Return base64 in its standard alphabet."""
    return data.translate(_STANDARD) if "-" in data or "_" in data else data


def to_data_url(given: Any, path: str) -> str:
    """`inlineData` → a data URL. Raises CannotSay."""
    blob = named(given, path)
    kind = string(blob.get("mimeType"), f"{path}.mimeType")
    if "/" not in kind or "," in kind:
        raise CannotSay(f"{path}.mimeType", "This must be a media type, such as image/png.")
    return f"data:{kind};base64,{in_standard(string(blob.get('data'), f'{path}.data'))}"


def to_inline(given: Any, path: str) -> Json:
    """`inlineData` → a part of its kind. Raises CannotSay."""
    url = to_data_url(given, path)
    kind = url[5:].partition(";")[0]
    family, _, subtype = kind.lower().partition("/")
    if family == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    if family == "video":
        return {"type": "video_url", "video_url": {"url": url}}
    if family == "audio":
        audio = {"data": url.partition(",")[2], "format": _FORMATS.get(subtype, subtype)}
        return {"type": "input_audio", "input_audio": audio}
    name = f"document.{_ENDINGS.get(kind.lower(), subtype)}"
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def to_elsewhere(given: Any, path: str, losses: Losses) -> Json:
    """`fileData` → a part with its address. The hub has no place for its media type, unless the address tells it."""
    file = named(given, path)
    uri = string(file.get("fileUri"), f"{path}.fileUri")
    kind = file.get("mimeType")
    told = type_of_name(uri)
    if kind is not None and string(kind, f"{path}.mimeType") != told:
        losses.drop("contents.parts.fileData.mimeType")
    family = "video" if uri.startswith(_FILMS) else (kind or told).partition("/")[0]
    if family in ("image", "video"):
        return {"type": f"{family}_url", f"{family}_url": {"url": uri}}
    return {"type": "file", "file": {"file_url": uri}}
