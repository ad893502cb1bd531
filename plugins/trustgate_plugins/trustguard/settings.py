"""What TrustGuard can be told by a policy; where it is and who asks is said by the process (`TRUSTGUARD_*`)."""

from typing import Annotated, ClassVar

from msgspec import Meta

from trustgate import GuardSettings

UUID = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"


class TrustGuardSettings(GuardSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """TrustGuard judges what is asked and answered: it blocks, reports, or transforms."""

    title: ClassVar[str] = "TrustGuard"
    group = "Guardrails"

    collector_id: Annotated[str, Meta(pattern=UUID, description="The collector whose policies judge, a UUID.")]
    window: Annotated[
        int, Meta(ge=0, le=4000, description="How many characters at the end of a live stream it can still transform.")
    ] = 100
    message: Annotated[str, Meta(max_length=1000, description="What a refused caller is told.")] = (
        "This was refused by a guardrail."
    )

    def hold_back(self) -> int:
        """What can still be transformed."""
        return self.window
