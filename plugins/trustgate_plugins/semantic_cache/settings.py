"""What a cache of answers can be told, and everything that follows from it and not from a request."""

import re
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import Duration, PolicySettings, seconds

HASHING = "hashing"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_BYPASS = "`bypass_header` is not a header's name"


class Embedding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who makes the vectors by which texts are compared."""

    registry: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="A registry of this gateway, by name or id, that makes embeddings; `hashing` is built in, "
            "needs nobody, and knows words but no meanings.",
        ),
    ] = HASHING
    model: Annotated[str, Meta(max_length=255, description="The model that the registry is asked for.")] = ""
    timeout: Annotated[Duration, Meta(description="How long it may take; the answer is then not cached.")] = "2s"


class SemanticCacheSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Answers a question that was answered before, in the same words or in others, without asking a provider."""

    title: ClassVar[str] = "Semantic cache"
    group = "Routing"
    on_error = "allow"
    rewrites: ClassVar[bool] = False
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request", "post_response"})

    mode: Annotated[
        Literal["exact", "semantic", "both"],
        Meta(
            description="Compare what the user said last exactly, by similarity, or exactly and then by similarity. "
            "All else is always compared exactly."
        ),
    ] = "both"
    scope: Annotated[
        Literal["consumer", "global"],
        Meta(description="Whose answers are told: those to the same consumer, or to any of this gateway."),
    ] = "consumer"
    similarity_threshold: Annotated[
        float, Meta(gt=0, le=1, description="How similar two texts have to be, as the cosine of their vectors.")
    ] = 0.95
    match_words: Annotated[
        bool | None,
        Meta(
            description="Two texts have to have the same words, but for those that say nothing (the, is, please). "
            "Without it: with the embedder `hashing` only."
        ),
    ] = None
    ttl: Annotated[Duration, Meta(description="For how long an answer is told again.")] = "24h"
    ttl_seconds: Annotated[
        Annotated[int, Meta(gt=0, le=31_536_000)] | None, Meta(description="The same in seconds; it wins over `ttl`.")
    ] = None
    embedding: Annotated[Embedding, Meta(description="Who makes the vectors by which texts are compared.")] = (
        Embedding()
    )
    vector_store: Annotated[
        Literal["memory", "in_memory", "redis", "pgvector"] | None,
        Meta(
            description="Where vectors are kept: in this process, in Redis, or in Postgres. Without it: in Redis where "
            "there is one, else in this process."
        ),
    ] = None
    cache_only_on_status: Annotated[
        tuple[Annotated[int, Meta(ge=200, le=299)], ...],
        Meta(description="Keep answers of these statuses; empty is any from 200 to 299."),
    ] = ()
    bypass_header: Annotated[
        str,
        Meta(description="A request with this header, or `Cache-Control: no-cache`, is not answered from the cache."),
    ] = "X-Cache-Bypass"
    skip_if_tools_present: Annotated[bool, Meta(description="Let requests that offer tools pass.")] = True
    skip_if_streaming: Annotated[bool, Meta(description="Let requests that ask for a stream pass.")] = False
    ignored_fields: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(
            max_length=16,
            description="Top-level fields of requests in which two requests may differ, such as `user` or `metadata`.",
        ),
    ] = ()
    max_answer_bytes: Annotated[
        int, Meta(gt=0, le=64 * 1024 * 1024, description="Answers that are larger are not kept.")
    ] = 1024 * 1024

    def __post_init__(self) -> None:
        if seconds(self.ttl) <= 0:
            raise ValueError("`ttl` has to be longer than nothing")
        if seconds(self.embedding.timeout) <= 0:
            raise ValueError("`embedding.timeout` has to be longer than nothing")
        if not _HEADER_NAME.fullmatch(self.bypass_header):
            raise ValueError(_BYPASS)
        if self.embedding.registry == HASHING and self.embedding.model:
            raise ValueError("`embedding.model` is for a registry: the embedder `hashing` has none")
        if self.embedding.registry != HASHING and not self.embedding.model:
            raise ValueError("`embedding.model` is missing: which model makes the vectors?")

    def takes(self) -> float:
        """A lookup may wait for the embedder, and for the stores besides."""
        return seconds(self.embedding.timeout) + 1.0 if self.compares and self.asks else 0.0

    @property
    def asks(self) -> bool:
        """Whether somebody else makes the vectors."""
        return self.embedding.registry != HASHING

    @property
    def compares(self) -> bool:
        """Whether texts are compared by similarity."""
        return self.mode != "exact"

    @property
    def words_count(self) -> bool:
        """Whether two texts have to have the same words."""
        return not self.asks if self.match_words is None else self.match_words

    @cached_property
    def keeps(self) -> float:
        """For how many seconds an answer is kept."""
        return float(self.ttl_seconds) if self.ttl_seconds else seconds(self.ttl)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Top-level fields that are no part of what is compared."""
        return frozenset(("stream", "stream_options", *self.ignored_fields))
