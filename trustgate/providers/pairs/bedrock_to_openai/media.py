"""Bedrock's pictures, documents, sound and film as the hub's parts. Data becomes a data URL.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.openai_to_bedrock.formats import AUDIO, DOCUMENTS, IMAGES, S3, VIDEOS, media_type
from trustgate.providers.pairs.reading import an_object, string

MEDIA: Final = ("image", "document", "video", "audio")


def to_part(kind: str, block: Json, path: str, losses: Losses) -> Json:
    """Return the part that a block of one of `MEDIA` is. Raises CannotSay."""
    path += f".{kind}"
    found = an_object(block.get(kind), path)
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _url(found, IMAGES, path, losses)}}
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": _url(found, VIDEOS, path, losses)}}
    return _document(found, path, losses) if kind == "document" else _audio(found, path, losses)


def _source(found: Json, path: str, losses: Losses) -> tuple[str, str]:
    """Return the base64, and the address in S3: one of the two is empty."""
    source = an_object(found.get("source"), f"{path}.source")
    if (data := source.get("bytes")) is not None:
        return string(data, f"{path}.source.bytes"), ""
    place = f"{path}.source.s3Location"
    location = an_object(source.get("s3Location"), place)
    if location.get("bucketOwner") is not None:
        losses.drop("messages.content.source.s3Location.bucketOwner")
    uri = string(location.get("uri"), f"{place}.uri")
    if not uri.startswith(S3):
        raise CannotSay(f"{place}.uri", "This must begin with s3://.")
    return "", uri


def _url(found: Json, formats: Mapping[str, str], path: str, losses: Losses) -> str:
    kind = _kind(found, formats, path)
    data, uri = _source(found, path, losses)
    return uri or f"data:{kind};base64,{data}"


def _kind(found: Json, formats: Mapping[str, str], path: str) -> str:
    word = string(found.get("format"), f"{path}.format")
    if not (kind := media_type(formats, word)):
        raise CannotSay(f"{path}.format", f"The format must be one of {', '.join(dict.fromkeys(formats.values()))}.")
    return kind


def _audio(found: Json, path: str, losses: Losses) -> Json:
    word = string(found.get("format"), f"{path}.format")
    if word not in AUDIO:
        raise CannotSay(f"{path}.format", f"The format must be one of {', '.join(sorted(AUDIO))}.")
    data, uri = _source(found, path, losses)
    return {"type": "input_audio", "input_audio": {"data": data or uri, "format": word}}


def _document(found: Json, path: str, losses: Losses) -> Json:
    name = string(found.get("name"), f"{path}.name")
    source = an_object(found.get("source"), f"{path}.source")
    if (text := source.get("text")) is not None:
        written = b64encode(string(text, f"{path}.source.text").encode("utf-8", "replace")).decode()
        file: Json = {"filename": f"{name}.txt", "file_data": f"data:text/plain;base64,{written}"}
    elif source.get("content") is not None:
        raise CannotSay(f"{path}.source.content", "A document in pieces can be said to Bedrock alone.")
    else:
        url = _url(found, DOCUMENTS, path, losses)
        file = {"filename": f"{name}.{found['format']}", "file_url" if url.startswith(S3) else "file_data": url}
    if context := found.get("context"):
        file["context"] = string(context, f"{path}.context")
    if (citations := found.get("citations")) is not None:
        file["citations"] = {"enabled": bool(an_object(citations, f"{path}.citations").get("enabled"))}
    return {"type": "file", "file": file}
