"""Pictures, documents, sound and film in Bedrock's blocks.

Bedrock takes the data itself or an object in S3, so an address of any other kind is a CannotSay: pairs fetch nothing.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_bedrock.formats import (
    AUDIO,
    DOCUMENTS,
    IMAGES,
    S3,
    VIDEOS,
    format_of_name,
    split_data_url,
)
from trustgate.providers.pairs.reading import an_object, string

_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_LONGEST_NAME: Final = 190
"""Characters of a document's name, which may have 200: a number may have to be put behind it."""


def _source(data: str) -> Json:
    return {"s3Location": {"uri": data}} if data.startswith(S3) else {"bytes": data}


def _sourced(url: Any, formats: Mapping[str, str], path: str) -> Json:
    """Return format and source of what is at a URL."""
    url = string(url, path)
    kind, data = split_data_url(url)
    if kind in formats:
        return {"format": formats[kind], "source": {"bytes": data}}
    if kind or not url.startswith(S3):
        what = f"{kind[:80]} there" if kind else "an address"
        raise CannotSay(path, f"Bedrock does not take {what}: send {', '.join(formats)} as a data URL, or use s3://.")
    if not (word := format_of_name(formats, url)):
        raise CannotSay(path, f"The address must end in the format, which is one of {', '.join(formats.values())}.")
    return {"format": word, "source": {"s3Location": {"uri": url}}}


class Media:
    """Says parts that are more than text; `path` is where a part stands. All of it may raise CannotSay.

    Bedrock wants a name for each document that no other in the request has, and of few characters.
    """

    __slots__ = ("_losses", "_names")

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._names: set[str] = set()

    def image(self, part: Json, path: str) -> Json:
        """`image_url` → an image block."""
        path += ".image_url"
        found = an_object(part.get("image_url"), path)
        if found.get("detail") not in (None, "auto"):
            self._losses.drop("messages.content.image_url.detail")
        return {"image": _sourced(found.get("url"), IMAGES, f"{path}.url")}

    def video(self, part: Json, path: str) -> Json:
        """`video_url` → a video block."""
        path += ".video_url"
        return {"video": _sourced(an_object(part.get("video_url"), path).get("url"), VIDEOS, f"{path}.url")}

    def audio(self, part: Json, path: str) -> Json:
        """`input_audio` → an audio block."""
        path += ".input_audio"
        found = an_object(part.get("input_audio"), path)
        word = string(found.get("format"), f"{path}.format")
        if word not in AUDIO:
            raise CannotSay(f"{path}.format", f"Bedrock takes no audio of the format {word[:40]!r}.")
        return {"audio": {"format": word, "source": _source(string(found.get("data"), f"{path}.data"))}}

    def document(self, part: Json, path: str) -> Json:
        """`file` → a document block."""
        path += ".file"
        file = an_object(part.get("file"), path)
        word, source = _document(file, path)
        document: Json = {"format": word, "name": self._name(file), "source": source}
        if context := file.get("context"):
            document["context"] = string(context, f"{path}.context")
        if (citations := file.get("citations")) is not None:
            document["citations"] = {"enabled": bool(an_object(citations, f"{path}.citations").get("enabled"))}
        return {"document": document}

    def _name(self, file: Json) -> str:
        title, filename = file.get("title"), file.get("filename")
        wanted = title if isinstance(title, str) and title else _stem(filename) if isinstance(filename, str) else ""
        name = _UNNAMEABLE.sub(" ", wanted[:_LONGEST_NAME]).strip() or "document"
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name} ({number})"
        self._names.add(unique)
        return unique


def _stem(filename: str) -> str:
    stem, dot, ending = filename.rpartition(".")
    return stem if dot and format_of_name(DOCUMENTS, f".{ending}") else filename


def _document(file: Json, path: str) -> tuple[str, Json]:
    """Return format and source of a document."""
    if (url := file.get("file_url")) is not None:
        found = _sourced(url, DOCUMENTS, f"{path}.file_url")
        return found["format"], found["source"]
    if file.get("file_data") is None:
        raise CannotSay(f"{path}.file_id", "Bedrock cannot fetch a file by its id: send its data.")
    path += ".file_data"
    told = string(file["file_data"], path)
    kind, data = split_data_url(told)
    filename = file.get("filename")
    named = format_of_name(DOCUMENTS, filename) if isinstance(filename, str) else ""
    word = DOCUMENTS.get(kind) or named
    if not word or (kind and kind not in DOCUMENTS and kind not in _UNSAYING):
        raise CannotSay(path, f"Bedrock takes no documents of the type {kind[:80] or 'that this has'!r}.")
    return word, {"bytes": data or told}


_UNSAYING: Final = frozenset(("application/octet-stream", "text/x-markdown"))
"""Media types beside which the ending of the name tells the format."""
