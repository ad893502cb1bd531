"""What OpenAI's moderation can be told."""

from typing import Annotated, ClassVar

from msgspec import Meta, field

from trustgate import GuardSettings, Secret

Score = Annotated[float, Meta(ge=0, le=1)]


class OpenAIModerationSettings(GuardSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """OpenAI's moderation judges what is asked and answered, by categories."""

    title: ClassVar[str] = "OpenAI moderation"
    group = "Guardrails"
    rewrites: ClassVar[bool] = False

    api_key: Annotated[Secret, Meta(min_length=1, max_length=512, description="A key of OpenAI's API.")]
    model: Annotated[str, Meta(min_length=1, max_length=128, description="The moderation model.")] = (
        "omni-moderation-latest"
    )
    categories: Annotated[
        tuple[str, ...],
        Meta(description="The categories that count, such as `violence` or `self-harm`; without it all."),
    ] = ()
    thresholds: Annotated[
        dict[str, Score], Meta(description="From which score on a category is refused, each from 0 to 1.")
    ] = field(default_factory=dict)
    block_on_flagged: Annotated[
        bool, Meta(description="Refuse what OpenAI itself flags in a category without a threshold of its own.")
    ] = True
    message: Annotated[str, Meta(max_length=1000, description="What a refused caller is told.")] = (
        "This was refused by a content policy."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("`api_key` holds what no key can have")
        if not self.thresholds and not self.block_on_flagged:
            raise ValueError("nothing would be refused: give `thresholds`, or leave `block_on_flagged` on")
        if unknown := set(self.thresholds) - set(self.categories) if self.categories else set():
            raise ValueError(f"`thresholds` has {sorted(unknown)[0]}, which is not among `categories`")
