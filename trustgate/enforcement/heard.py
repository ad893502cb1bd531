"""What policies said: what is heeded of a verdict, and what a stage's verdicts come to together."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trustgate.contract.upstream import Header
from trustgate.contract.verdict import Answer, Deny, Proceed, Quota, Rewrite
from trustgate.enforcement.chain import CannotDecide, Link
from trustgate.enforcement.told import add_headers, add_quota, write_quotas
from trustgate.enforcement.trail import Trail, failed, note

GO_ON: Final = Proceed()
_KINDS: Final[Mapping[str, frozenset[object]]] = {
    "pre_request": frozenset((Proceed, Answer, Deny)),
    "pre_call": frozenset((Proceed, Deny)),
    "pre_response": frozenset((Proceed, Answer, Deny)),
    "on_chunk": frozenset((Rewrite, Deny)),
    "post_response": frozenset((Proceed, Answer, Deny, Rewrite)),
    "refund": frozenset((Proceed, Answer, Deny, Rewrite)),
}
"""What a stage understands. After the last byte nothing is left to decide, and nothing is heeded."""


class Heard:
    """What the links of one stage came to."""

    __slots__ = ("_headers", "_quotas", "body", "by", "model", "stop")

    def __init__(self) -> None:
        self._headers: list[Header] = []
        self._quotas: list[Quota] = []
        self.stop: Answer | Deny | None = None
        self.by = ""
        self.body: bytes | bytearray | None = None
        self.model = ""

    def heed(self, verdict: Any, link: Link) -> bool:
        """Take in what a link said. Returns whether that ends it."""
        if type(verdict) is not Proceed:
            self.stop = verdict if isinstance(verdict, Answer | Deny) else None
            self.by = link.policy.slug
            return self.stop is not None
        if verdict.quota is not None:
            add_quota(self._quotas, verdict.quota)
        if verdict.headers:
            add_headers(self._headers, verdict.headers)
        self.body, self.model = verdict.body, verdict.model
        return False

    def told(self) -> Sequence[Header]:
        """Return what the caller is told in headers. Whoever ends it says how things stand."""
        headers = write_quotas(self._headers, self._quotas) if self._quotas else self._headers
        if self.stop is None or not headers or not self.stop.headers:
            return headers
        names = {name for name, _ in self.stop.headers}
        return [header for header in headers if header[0] not in names]


def noted(link: Link, verdict: Any, started: float, trail: Trail, *, throttled: bool = False) -> Any:
    """Note what a policy said and return what is heeded of it."""
    kind = type(verdict)
    if verdict is not None and kind not in _KINDS[link.stage]:
        error = CannotDecide(f"it returned {kind.__name__}, which is no verdict of this stage")
        return failed(link, error, started, trail)
    if kind is Proceed and not link.rewrites and (verdict.body is not None or verdict.model):
        error = CannotDecide("it rewrote something, which its settings say that it never does")
        return failed(link, error, started, trail)
    note(link, verdict, started, trail, throttled=throttled)
    if verdict is None:
        return GO_ON
    observes = link.policy.mode == "observe"
    if (kind is Proceed or (kind is Deny and observes)) and verdict.kept is not None:
        trail.kept[link.policy.id] = verdict.kept
    return GO_ON if observes else verdict
