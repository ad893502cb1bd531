"""Which models may be asked for, and everything that follows from it and not from a request."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import PolicySettings, one_of

Model = Annotated[str, Meta(min_length=1, max_length=255)]


class ModelAllowlistSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Lets only listed models be asked for: others are refused, or another one is asked in their place."""

    title: ClassVar[str] = "Model allowlist"
    group = "Routing"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request", "pre_call"})

    allowed_models: Annotated[
        tuple[Model, ...], Meta(min_length=1, description="Names of models; `*` is any run of characters in them.")
    ]
    behavior_on_disallowed: Annotated[
        Literal["reject", "substitute"], Meta(description="What becomes of a request for any other model.")
    ] = "reject"
    substitute_with: Annotated[
        str, Meta(max_length=255, description="The model that is asked in the place of one that is not allowed.")
    ] = ""
    default_model: Annotated[
        str, Meta(max_length=255, description="The model of requests that name none, or `auto`.")
    ] = ""

    def __post_init__(self) -> None:
        if (self.behavior_on_disallowed == "substitute") != bool(self.substitute_with):
            raise ValueError("`substitute_with` goes with `behavior_on_disallowed` = substitute, and is needed there")
        for field in ("substitute_with", "default_model"):
            model = getattr(self, field)
            if model and not self.allows(model):
                raise ValueError(f"`{field}` is {model!r}, which `allowed_models` does not allow")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """All names in one expression, in which nothing but `*` is special."""
        return one_of(self.allowed_models)

    def allows(self, model: str) -> bool:
        """Say whether a model may be asked for."""
        return self.pattern.fullmatch(model) is not None
