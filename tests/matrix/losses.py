"""What becomes of a parameter on its way to a target, asked of a running gateway."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Final, Literal

import httpx

from .callers import PLAIN
from .gateway import Place
from .parameters import PARAMETERS
from .raw import post
from .talk import TARGETS, Json, Target
from .upstream import Providers

Fate = Literal["carried", "dropped", "refused", "silent"]


HARMLESS: Final[Mapping[tuple[str, Target], str]] = {
    ("tool_choice: none", "bedrock"): "Converse has no such choice: the tools are not offered",
    ("tool_choice: NONE", "bedrock"): "as above",
    ("toolConfig: NONE", "bedrock"): "as above",
    **dict.fromkeys([("include: reasoning", target) for target in TARGETS], "it is about the answer, which has it"),
}
"""What leaves no trace in a request though it is heeded, and why."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`told` is what X-AG-Dropped-Params says, or the refusal. `silent` is what must not be: lost, and not told."""

    fate: Fate
    told: str = ""


class Probe:
    """Asks, and looks at what the provider has been sent. Its upstream answers whatever it is asked."""

    def __init__(self, place: Place, providers: Providers) -> None:
        self._place = place
        self._providers = providers
        self._client = httpx.Client(timeout=15, trust_env=False, verify=PLAIN)
        self._plain: dict[tuple[Target, Target], Json] = {}

    def __enter__(self) -> "Probe":
        self._providers.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._providers.think()

    def outcome(self, caller: Target, target: Target, fields: Json) -> Outcome:
        """Ask with these fields, and say what has become of them."""
        answer, sent = self._sent(caller, target, fields)
        if answer.status_code == 400:
            return Outcome("refused", answer.text)
        assert answer.status_code == 200, (caller, target, fields, answer.text)
        if told := answer.headers.get("x-ag-dropped-params"):
            return Outcome("dropped", told)
        if (caller, target) not in self._plain:
            self._plain[caller, target] = self._sent(caller, target, {})[1]
        return Outcome("silent" if sent == self._plain[caller, target] else "carried")

    def _sent(self, caller: Target, target: Target, fields: Json) -> tuple[httpx.Response, Json]:
        self._providers.seen.clear()
        answer = post(self._client, caller, self._place.door(target), fields)
        seen = self._providers.seen
        return answer, json.loads(seen[-1].body) if seen else {}


def outcomes(probe: Probe, caller: Target) -> Mapping[str, Mapping[Target, Outcome]]:
    """Return what becomes of each parameter of a caller at each target of another dialect."""
    others = [target for target in TARGETS if target != caller]
    found = {
        name: {target: probe.outcome(caller, target, fields) for target in others}
        for name, fields in PARAMETERS[caller].items()
    }
    for name, target in HARMLESS:
        if name in found and found[name].get(target) == Outcome("silent"):
            found[name][target] = Outcome("carried")
    return found
