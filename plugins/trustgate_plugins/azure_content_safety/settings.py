"""What Azure AI Content Safety can be told."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from trustgate import GuardSettings, Secret, check_url

Category = Literal["Hate", "Violence", "SelfHarm", "Sexual"]
Severity = Annotated[int, Meta(ge=1, le=7)]
FOUR = (2, 4, 6)
"""The severities above 0 that there are with four levels."""
PATH = "/contentsafety/text:analyze?api-version=2024-09-01"


class AzureContentSafetySettings(GuardSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Azure AI Content Safety judges what is asked and answered, by categories and severities."""

    title: ClassVar[str] = "Azure AI Content Safety"
    group = "Guardrails"
    rewrites: ClassVar[bool] = False

    api_key: Annotated[Secret, Meta(min_length=1, max_length=512, description="A key of the resource.")]
    endpoint: Annotated[
        str,
        Meta(
            max_length=2048,
            description="The resource (`https://name.cognitiveservices.azure.com`), or the whole URL of text:analyze.",
        ),
    ]
    category_severity: Annotated[
        dict[Category, Severity],
        Meta(
            min_length=1,
            description="From which severity on a category is refused: 2, 4 or 6 with four levels, 1 to 7 with eight.",
        ),
    ]
    output_type: Annotated[
        Literal["FourSeverityLevels", "EightSeverityLevels"], Meta(description="How finely severities are told.")
    ] = "FourSeverityLevels"
    message: Annotated[str, Meta(max_length=1000, description="What a refused caller is told.")] = (
        "This was refused by a content policy."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url("endpoint", self.endpoint)
        if not self.api_key.isascii() or not self.api_key.isprintable():
            raise ValueError("`api_key` holds what no key can have")
        for category, severity in self.category_severity.items():
            if self.output_type == "FourSeverityLevels" and severity not in FOUR:
                raise ValueError(f"`category_severity` has {severity} for {category}: with four levels use 2, 4 or 6")

    @cached_property
    def url(self) -> str:
        """Where texts are analysed."""
        whole = "text:analyze" in self.endpoint
        return self.endpoint if whole else self.endpoint.rstrip("/") + PATH
