"""The hub's parts of content as Responses has them.

https://platform.openai.com/docs/guides/images-vision and https://platform.openai.com/docs/guides/pdf-files
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, objects, string

_FILE: Final = ("file_data", "file_id", "file_url", "filename")
_BREAKPOINT: Final = "prompt_cache_breakpoint"
"""Chat and Responses have it in one form. https://platform.openai.com/docs/guides/prompt-caching"""


def parts(content: Any, path: str, losses: Losses, *, media: bool) -> str | list[Json]:
    """Return what is said to a model; without `media` it can be nothing but text. Raises CannotSay."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise CannotSay(path, "This must be a string or a list of parts.")
    return [_part(part, f"{path}.{at}", losses, media) for at, part in enumerate(objects(content, path))]


def _part(part: Json, path: str, losses: Losses, media: bool) -> Json:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        told: Json = {"type": "input_text", "text": string(part.get(kind), f"{path}.{kind}")}
    else:
        to_part = _MEDIA.get(kind) if media and isinstance(kind, str) else None
        if to_part is None:
            raise unsaid(part, path)
        told = to_part(an_object(part.get(str(kind)), f"{path}.{kind}"), f"{path}.{kind}", losses)
    if part.get("cache_control") is not None:
        losses.drop("messages.content.cache_control")
    if part.get(_BREAKPOINT) is not None:
        told[_BREAKPOINT] = part[_BREAKPOINT]
    return told


def unsaid(part: Json, path: str) -> CannotSay:
    """Return what to raise for a part of a type that cannot stand here."""
    kind = part.get("type")
    where = f"{path}.{kind}" if isinstance(kind, str) and kind in part else f"{path}.type"
    return CannotSay(where, f"Responses has no content of the type {str(kind)[:40]!r} here.")


def _image(image: Json, path: str, losses: Losses) -> Json:
    url = string(image.get("url"), f"{path}.url")
    return {"type": "input_image", "image_url": url, "detail": image.get("detail") or "auto"}


def _file(file: Json, path: str, losses: Losses) -> Json:
    for name in ("title", "context", "citations"):
        if file.get(name) is not None:
            losses.drop(f"messages.content.file.{name}")
    told: Json = {"type": "input_file"}
    told.update((name, string(file[name], f"{path}.{name}")) for name in _FILE if file.get(name) is not None)
    if told.keys() <= {"type", "filename"}:
        raise CannotSay(path, "A file must have file_data, file_id or file_url.")
    if "file_data" in told and isinstance(title := file.get("title"), str):
        told.setdefault("filename", title)
    return told


def _audio(audio: Json, path: str, losses: Losses) -> Json:
    told = {name: string(audio.get(name), f"{path}.{name}") for name in ("data", "format")}
    return {"type": "input_audio", "input_audio": told}


_MEDIA: Final[Mapping[str, Callable[[Json, str, Losses], Json]]] = {
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}


def output_parts(message: Json, path: str, losses: Losses) -> str | list[Json]:
    """Return what a model said: a text, or parts where it is more than one or a refusal. Raises CannotSay."""
    content, refusal = message.get("content"), message.get("refusal")
    if not refusal and (content is None or isinstance(content, str)):
        return content or ""
    told: list[Json] = []
    if isinstance(content, list):
        path += ".content"
        told = [_output_part(part, f"{path}.{at}", losses) for at, part in enumerate(objects(content, path))]
    elif content:
        told = [{"type": "output_text", "text": string(content, f"{path}.content")}]
    if refusal:
        told.append({"type": "refusal", "refusal": string(refusal, f"{path}.refusal")})
    return told


def _output_part(part: Json, path: str, losses: Losses) -> Json:
    kind = part.get("type")
    if kind not in ("text", "refusal"):
        raise unsaid(part, path)
    if part.get("cache_control") is not None:
        losses.drop("messages.content.cache_control")
    said = string(part.get(kind), f"{path}.{kind}")
    return {"type": "output_text", "text": said} if kind == "text" else {"type": "refusal", "refusal": said}
