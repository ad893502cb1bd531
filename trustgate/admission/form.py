"""Whether a request has a form that is taken: its headers not too large, its body of the right kind."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from trustgate.contract.context import Operation
from trustgate.contract.errors import Refused
from trustgate.contract.upstream import Header

_JSON: Final = b"application/json"


def check_size(headers: Sequence[Header], limit: int) -> None:
    """Raise Refused (431) for headers of more than `limit` bytes, names and values together."""
    size = sum(map(len, chain.from_iterable(headers)))
    if size > limit:
        raise Refused(
            "headers_too_large",
            f"The headers have {size} bytes; at most {limit} are accepted.",
            status=431,
            retry=False,
        )


_MEDIA: Final = {"json": "application/json", "form": "multipart/form-data"}


def check_media(operation: Operation, headers: Mapping[bytes, bytes]) -> None:
    """Raise Refused (415) for a body of another kind than the operation takes, or an encoded one."""
    if headers.get(b"content-type") == _JSON and operation.body == "json" and b"content-encoding" not in headers:
        return
    wanted = _MEDIA.get(operation.body)
    kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
    if wanted is not None and not kind.endswith(wanted[-4:].encode()):
        raise Refused("unsupported_media_type", f"Send the body as content-type {wanted}.", status=415, retry=False)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refused(
            "unsupported_content_encoding", "Send the body without a content-encoding.", status=415, retry=False
        )
