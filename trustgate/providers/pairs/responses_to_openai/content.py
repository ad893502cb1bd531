"""Parts of content of Responses as the hub has them.

https://platform.openai.com/docs/api-reference/responses/create#input
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trustgate.providers.hub import CannotSay, Json, Losses
from trustgate.providers.pairs.reading import an_object, objects, string

_FILE: Final = ("filename", "file_data", "file_id", "file_url")
_BREAKPOINT: Final = "prompt_cache_breakpoint"


def to_content(content: Any, path: str, losses: Losses) -> str | list[Json]:
    """Return what is said to a model. Raises CannotSay."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise CannotSay(path, "This must be a string or a list of parts.")
    return [_part(part, f"{path}.{at}", losses) for at, part in enumerate(objects(content, path))]


def _part(part: Json, path: str, losses: Losses) -> Json:
    kind = part.get("type")
    to_part = _PARTS.get(kind) if isinstance(kind, str) else None
    if to_part is None:
        raise CannotSay(f"{path}.type", f"There is no content of the type {str(kind)[:40]!r} here.")
    told = to_part(part, path, losses)
    if part.get(_BREAKPOINT) is not None:
        told[_BREAKPOINT] = an_object(part[_BREAKPOINT], f"{path}.{_BREAKPOINT}")
    return told


def _text(part: Json, path: str, losses: Losses) -> Json:
    return {"type": "text", "text": string(part.get("text"), f"{path}.text")}


def _image(part: Json, path: str, losses: Losses) -> Json:
    if part.get("image_url") is None and part.get("file_id") is not None:
        raise CannotSay(
            f"{path}.file_id", "A picture by the id of a file can be said to Responses alone: send its data."
        )
    image: Json = {"url": string(part.get("image_url"), f"{path}.image_url")}
    if part.get("detail") is not None:
        image["detail"] = string(part["detail"], f"{path}.detail")
    return {"type": "image_url", "image_url": image}


def _file(part: Json, path: str, losses: Losses) -> Json:
    if part.get("detail") is not None:
        losses.drop("input.content.detail")
    file = {name: string(part[name], f"{path}.{name}") for name in _FILE if part.get(name) is not None}
    if file.keys() <= {"filename"}:
        raise CannotSay(path, "A file must have file_data, file_id or file_url.")
    return {"type": "file", "file": file}


def _audio(part: Json, path: str, losses: Losses) -> Json:
    path += ".input_audio"
    audio = an_object(part.get("input_audio"), path)
    told = {name: string(audio.get(name), f"{path}.{name}") for name in ("data", "format")}
    return {"type": "input_audio", "input_audio": told}


_PARTS: Final[Mapping[str, Callable[[Json, str, Losses], Json]]] = {
    "input_text": _text,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


def to_said(content: Any, path: str, losses: Losses) -> tuple[str | list[Json], str]:
    """Return what a model said: its text, in parts where it has several, and its refusal. Raises CannotSay."""
    if isinstance(content, str):
        return content, ""
    texts: list[Json] = []
    refusals: list[str] = []
    for at, part in enumerate(objects(content, path)):
        if part.get("type") == "output_text":
            if part.get("annotations"):
                losses.drop("input.content.annotations")
            texts.append({"type": "text", "text": string(part.get("text"), f"{path}.{at}.text")})
        elif part.get("type") == "refusal":
            refusals.append(string(part.get("refusal"), f"{path}.{at}.refusal"))
        else:
            raise CannotSay(f"{path}.{at}.type", "What a model said must be of the type output_text or refusal.")
    return (texts[0]["text"] if len(texts) == 1 else texts or ""), "".join(refusals)
