"""What providers check of a conversation: every call is answered, right behind it, and nothing else is."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..talk import Asked, Call, Picture


class BadRequest(Exception):
    """The provider would refuse this request with 400; the message says why."""


def check_fields(body: Mapping[str, object], known: frozenset[str], where: str = "the request") -> None:
    """Refuse fields that the provider does not have. Raises BadRequest."""
    if unknown := sorted(set(body) - known):
        raise BadRequest(f"{where} has unknown fields: {', '.join(unknown)}")


class History:
    """Takes a conversation turn by turn. What it finds wrong it raises as BadRequest."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self.prompt = ""
        self.pictures: list[Picture] = []
        self.calls: list[Call] = []
        self.answers: list[str] = []
        self.rounds = 0
        self._open: list[Call] = []
        self._asked = 0

    def user(self, text: str, pictures: Sequence[Picture] = ()) -> None:
        """The user speaks; no call may be left open."""
        self.settle("a message of the user")
        self.prompt = text or self.prompt
        self.pictures += pictures

    def assistant(self, calls: Sequence[Call]) -> None:
        """The model has spoken; its calls are to be answered next."""
        self.settle("a message of the assistant")
        self.calls += calls
        self._open = list(calls)
        self._asked = len(self.calls) - len(calls)
        self.rounds += bool(calls)
        self.answers += [""] * len(calls)

    def result(self, id_: str, text: str) -> None:
        """A tool has answered the call of this id."""
        place = next((place for place, call in enumerate(self._open) if call.id == id_), None)
        if place is None:
            raise BadRequest(f"a result is for {id_!r}, which the turn before it does not call")
        call = self._open.pop(place)
        self.answers[self._place(call)] = text

    def named(self, name: str, text: str) -> None:
        """A tool has answered the first open call of this name, where calls have no ids."""
        call = next((call for call in self._open if call.name == name), None)
        if call is None:
            raise BadRequest(f"a result is for {name!r}, which the turn before it does not call")
        self._open = [each for each in self._open if each is not call]
        self.answers[self._place(call)] = text

    def settle(self, before: str) -> None:
        """Nothing may be open."""
        if self._open:
            raise BadRequest(f"{before} comes before the results of {[call.id for call in self._open]}")

    def asked(self, *, model: str, streamed: bool, tools: Mapping[str, Any]) -> Asked:
        """Return the request; `tools` are schemas by name. The last word must not be the model's."""
        self.settle("the end")
        for name, schema in tools.items():
            if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
                raise BadRequest(f"the schema of {name} is none")
        if self.rounds and not tools:
            raise BadRequest("the conversation has calls, and the request offers no tools")
        return Asked(
            model=model,
            streamed=streamed,
            prompt=self.prompt,
            system="\n".join(self.system),
            pictures=tuple(self.pictures),
            calls=tuple(self.calls),
            results=tuple(self.answers),
            rounds=self.rounds,
            tools=tuple(tools),
        )

    def _place(self, call: Call) -> int:
        return next(place for place in range(self._asked, len(self.calls)) if self.calls[place] is call)
