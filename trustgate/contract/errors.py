"""The one tree of our errors. The fault suggests a status; relay/render.py decides how the caller reads it.

Refused            a caller is told no: by admission, a policy, routing, or because the upstream failed
UpstreamFailure    (contract/upstream.py) an exchange with a provider broke; forwarding turns it into a Refused
"""

from collections.abc import Sequence

from trustgate.contract.upstream import Header


class Refused(Exception):
    """What a caller is told instead of an answer.

    `code` is the stable machine code, `status` the HTTP status, `param` the offending field when there is one.
    `retry` says whether the caller's SDK should try again by itself (`x-should-retry`); None leaves it to the status.
    `source` is who said no: `gateway` or `upstream`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        headers: Sequence[Header] = (),
        param: str | None = None,
        retry: bool | None = None,
        source: str = "gateway",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers
        self.param = param
        self.retry = retry
        self.source = source
