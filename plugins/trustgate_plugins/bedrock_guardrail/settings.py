"""What a guardrail of Bedrock can be told."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from trustgate import GuardSettings, Secret, Signing, check_url

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)


class AwsCredentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access keys, or a role that this host's own identity assumes."""

    aws_region: Annotated[
        str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-\d{1,2}$", description="The region of the guardrail.")
    ] = "us-east-1"
    access_key_id: Annotated[Secret, Meta(max_length=256, description="The id of an access key.")] = ""
    secret_access_key: Annotated[Secret, Meta(max_length=256, description="Its secret.")] = ""
    session_token: Annotated[Secret, Meta(max_length=4096, description="The token of keys that expire.")] = ""
    use_role: Annotated[bool, Meta(description="Whether `role_arn` is assumed.")] = False
    role_arn: Annotated[str, Meta(max_length=600, description="The ARN of a role to assume.")] = ""


class BedrockGuardrailSettings(GuardSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A guardrail of Amazon Bedrock judges what is asked and answered, and masks what it is told to."""

    title: ClassVar[str] = "Bedrock guardrail"
    group = "Guardrails"

    guardrail_id: Annotated[str, Meta(min_length=1, max_length=2048, description="The guardrail, by its id or ARN.")]
    version: Annotated[
        str, Meta(pattern=r"^(DRAFT|[1-9][0-9]{0,7})$", description="Its version: a number, or `DRAFT`.")
    ] = "DRAFT"
    pii_action: Annotated[
        Literal["block", "anonymize"],
        Meta(description="What becomes of what the guardrail would only mask: refused, or masked."),
    ] = "block"
    credentials: Annotated[AwsCredentials, Meta(description="By what its calls are signed.")]
    endpoint: Annotated[
        str, Meta(max_length=2048, description="Where Bedrock is asked, where that is not its public address.")
    ] = ""
    window: Annotated[
        int, Meta(ge=0, le=4000, description="How many characters at the end of a live stream it can still mask.")
    ] = 100
    message: Annotated[str, Meta(max_length=1000, description="What a refused caller is told.")] = (
        "This was refused by a guardrail."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.credentials
        if self.endpoint:
            check_url("endpoint", self.endpoint)
        if bool(given.access_key_id and given.secret_access_key) == given.use_role:
            raise ValueError(
                "`credentials` needs either access_key_id with secret_access_key, or use_role with role_arn"
            )
        if given.use_role and not _ROLE.fullmatch(given.role_arn):
            raise ValueError("`credentials.role_arn` is no ARN of a role: arn:aws:iam::123456789012:role/name")

    def hold_back(self) -> int:
        """What can still be masked."""
        return self.window if self.pii_action == "anonymize" else 0

    @cached_property
    def url(self) -> str:
        """Where the guardrail is applied."""
        region = self.credentials.aws_region
        suffix = ".cn" if region.startswith("cn-") else ""
        base = self.endpoint.rstrip("/") or f"https://bedrock-runtime.{region}.amazonaws.com{suffix}"
        return f"{base}/guardrail/{quote(self.guardrail_id, safe='')}/version/{self.version}/apply"

    @cached_property
    def signing(self) -> Signing:
        """By what calls are signed."""
        given = self.credentials
        return Signing(
            region=given.aws_region,
            service="bedrock",
            access_key_id=given.access_key_id,
            secret_access_key=given.secret_access_key,
            session_token=given.session_token,
            role=given.role_arn if given.use_role else "",
        )
