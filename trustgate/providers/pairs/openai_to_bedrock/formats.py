"""Media types and Bedrock's short words for them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ImageBlock.html, ..._DocumentBlock.html,
..._VideoBlock.html and ..._AudioBlock.html
"""

from collections.abc import Mapping
from typing import Final

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."

IMAGES: Final[Mapping[str, str]] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
DOCUMENTS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    f"{_OFFICE}wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
VIDEOS: Final[Mapping[str, str]] = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/mpg": "mpg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
AUDIO: Final = frozenset(
    ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm")
)
ENDINGS: Final[Mapping[str, str]] = {"jpg": "jpeg", "htm": "html", "3gp": "three_gp", "markdown": "md"}
"""Endings of file names that are not Bedrock's words themselves."""
S3: Final = "s3://"


def media_type(formats: Mapping[str, str], word: str) -> str:
    """Return the media type of Bedrock's word, empty where there is none."""
    return next((kind for kind, each in formats.items() if each == word), "")


def split_data_url(url: str) -> tuple[str, str]:
    """Return the media type and the base64 of a data URL; both empty for a URL of any other kind."""
    head, _, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        return "", ""
    return head[5:-7].partition(";")[0].lower(), data


def format_of_name(formats: Mapping[str, str], name: str) -> str:
    """Return Bedrock's word for the ending of a file's name or address, empty where there is none."""
    ending = name.rpartition("/")[2].rpartition(".")[2].lower()
    word = ENDINGS.get(ending, ending)
    return word if word in formats.values() else ""
