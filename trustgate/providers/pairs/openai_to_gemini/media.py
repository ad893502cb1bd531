"""Pictures, sound, film and documents in Gemini's parts: data as `inlineData`, what is elsewhere as `fileData`.

https://ai.google.dev/gemini-api/docs/image-understanding, /audio, /video-understanding and /document-processing
"""

from collections.abc import Callable, Mapping
from typing import Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, string

_IMAGES: Final = frozenset(("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"))
_AUDIO: Final[Mapping[str, str]] = {
    **{word: f"audio/{word}" for word in ("wav", "mp3", "aiff", "aac", "ogg", "flac", "m4a", "mp4", "opus", "webm")},
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "pcm": "audio/pcm",
    "pcm16": "audio/pcm",
}
"""OpenAI's formats, and what others put there → media types that Google names."""
_ENDINGS: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "xml": "text/xml",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "flv": "video/x-flv",
    "3gp": "video/3gpp",
}
_BASE64: Final = ";base64"


def type_of_name(name: str) -> str:
    """Return the media type that the ending of a file's name or address tells, none where it tells nothing."""
    path = name.partition("?")[0].partition("#")[0].rpartition("/")[2]
    return _ENDINGS.get(path.rpartition(".")[2].lower(), "") if "." in path else ""


def split_data_url(url: str) -> tuple[str, str]:
    """Return media type, with its parameters, and base64 of a data URL; two empty strings for any other."""
    head, _, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(_BASE64):
        return "", ""
    return head[5 : -len(_BASE64)], data


def _say_image(part: Json, path: str, losses: Losses) -> Json:
    path += ".image_url"
    found = an_object(part.get("image_url"), path)
    if found.get("detail") not in (None, "auto"):
        losses.drop("messages.content.image_url.detail")
    url = string(found.get("url"), f"{path}.url")
    if not url.startswith("data:"):
        return _elsewhere(url)
    kind, data = split_data_url(url)
    kind = kind.lower().replace("image/jpg", "image/jpeg")
    if kind not in _IMAGES:
        raise CannotSay(f"{path}.url", "Gemini takes an address, or a data URL with a PNG, JPEG, WebP, HEIC or HEIF.")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _say_video(part: Json, path: str, losses: Losses) -> Json:
    path += ".video_url"
    url = string(an_object(part.get("video_url"), path).get("url"), f"{path}.url")
    return _inline(url, f"{path}.url") if url.startswith("data:") else _elsewhere(url)


def _say_audio(part: Json, path: str, losses: Losses) -> Json:
    path += ".input_audio"
    found = an_object(part.get("input_audio"), path)
    word = string(found.get("format"), f"{path}.format")
    if word not in _AUDIO:
        raise CannotSay(f"{path}.format", f"Gemini takes no audio of the format {word[:40]!r}.")
    return {"inlineData": {"mimeType": _AUDIO[word], "data": string(found.get("data"), f"{path}.data")}}


def _say_file(part: Json, path: str, losses: Losses) -> Json:
    """`filename` tells the type where nothing else does; OpenAI insists on one, and Gemini has no place for it."""
    path += ".file"
    file = an_object(part.get("file"), path)
    for name in ("title", "context", "citations"):
        if file.get(name) is not None and file[name] != {"enabled": False}:
            losses.drop(f"messages.content.file.{name}")
    if (url := file.get("file_url")) is not None:
        return _elsewhere(string(url, f"{path}.file_url"))
    if file.get("file_data") is None:
        raise CannotSay(f"{path}.file_id", "Gemini cannot fetch a file by OpenAI's id: send its data, or an address.")
    data = string(file["file_data"], f"{path}.file_data")
    if data.startswith("data:"):
        return _inline(data, f"{path}.file_data")
    filename = file.get("filename")
    kind = type_of_name(filename) if isinstance(filename, str) else ""
    if not kind:
        raise CannotSay(f"{path}.file_data", "Gemini must know the media type: send a data URL.")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _inline(url: str, path: str) -> Json:
    kind, data = split_data_url(url)
    if not kind:
        raise CannotSay(path, "Gemini takes a data URL with a media type and base64.")
    return {"inlineData": {"mimeType": kind, "data": data}}


def _elsewhere(url: str) -> Json:
    """Google finds out for itself what is at an address that does not tell."""
    kind = type_of_name(url)
    return {"fileData": {"mimeType": kind, "fileUri": url} if kind else {"fileUri": url}}


MEDIA: Final[Mapping[str, Callable[[Json, str, Losses], Json]]] = {
    "image_url": _say_image,
    "video_url": _say_video,
    "input_audio": _say_audio,
    "file": _say_file,
}
"""Types of the hub's parts that are more than text, and how to say them. All of them raise CannotSay."""
