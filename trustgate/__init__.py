"""TrustGate: a gateway for LLM and agent traffic. This module is what a plugin imports."""

from trustgate.contract.context import (
    AnswerView,
    Body,
    Caller,
    Chosen,
    Chunk,
    Operation,
    Origin,
    Outcome,
    RequestContext,
)
from trustgate.contract.cost import Cost
from trustgate.contract.hookspecs import hookimpl
from trustgate.contract.policy import Duration, PolicyRef, PolicySettings, Secret, seconds
from trustgate.contract.ports import (
    Allowance,
    Limiter,
    Reservation,
    Services,
    Standing,
    StateUnavailable,
    Take,
    Want,
)
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, ChunkVerdict, Deny, Proceed, Rewrite, Verdict

__version__ = "0.1.0"

__all__ = [
    "Allowance",
    "Answer",
    "AnswerView",
    "Body",
    "Caller",
    "Chosen",
    "Chunk",
    "ChunkVerdict",
    "Cost",
    "Deny",
    "Duration",
    "Limiter",
    "Operation",
    "Origin",
    "Outcome",
    "PolicyRef",
    "PolicySettings",
    "Proceed",
    "RequestContext",
    "Reservation",
    "Rewrite",
    "Secret",
    "Services",
    "Standing",
    "StateUnavailable",
    "Take",
    "Usage",
    "Verdict",
    "Want",
    "hookimpl",
    "seconds",
]
