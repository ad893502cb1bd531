"""What the id of a model tells of its family: Converse is one, but what stands beside it is each maker's own.

https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html. An id may also be the name that a customer
has given (a provisioned, imported or profiled model): then nothing is known, and callers are taken at their word.
"""

from functools import lru_cache

from msgspec import Struct

from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities, abilities_of


class Family(Struct, frozen=True, kw_only=True):
    """Who made a model, and of which generation it is.

    `claude` is what a Claude takes, None for all others; `nova` the generation of a Nova, 0 for all others;
    `thinks_by` is the field that takes an effort as a word; `is_opaque` says that nothing is known.
    """

    claude: Abilities | None = None
    nova: int = 0
    thinks_by: str = ""
    is_opaque: bool = False

    @property
    def caches(self) -> bool:
        """https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"""
        return self.is_opaque or self.claude is not None or self.nova > 0

    @property
    def knows_failed_tools(self) -> bool:
        """Whether a tool's result may have a status: Claude's and Nova's may."""
        return self.caches

    @property
    def follows_schemas(self) -> bool:
        """https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html"""
        return self.claude.follows_schemas if self.claude else not self.nova

    @property
    def forces_tools(self) -> bool:
        """Whether a choice may insist on a tool."""
        return self.claude is None or self.claude.forces_tools


@lru_cache(maxsize=256)
def family_of(model: str) -> Family:
    """Return the family of a model's id, or of the ARN of a model or of a profile."""
    name = model.lower().rpartition("/")[2]
    if "prompt-router" in model:  # it chooses among several models
        return Family(is_opaque=True)
    if "anthropic.claude" in name:
        return Family(claude=abilities_of(name))
    if "amazon.nova-2" in name:
        return Family(nova=2)
    if "amazon.nova" in name:
        return Family(nova=1)
    thinks_by = "reasoning_effort" if "openai." in name else "reasoning_config" if "qwen." in name else ""
    return Family(thinks_by=thinks_by, is_opaque="." not in name)
