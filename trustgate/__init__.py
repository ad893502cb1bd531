"""TrustGate: a gateway for LLM and agent traffic. This module is what a plugin imports."""

from trustgate.contract.context import AnswerView, Body, Caller, Chunk, Operation, RequestContext
from trustgate.contract.hookspecs import hookimpl
from trustgate.contract.policy import Duration, PolicyRef, PolicySettings, Secret, seconds
from trustgate.contract.ports import Allowance, Limiter, Services, StateUnavailable
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, ChunkVerdict, Deny, Proceed, Rewrite, Verdict

__version__ = "0.1.0"

__all__ = [
    "Allowance",
    "Answer",
    "AnswerView",
    "Body",
    "Caller",
    "Chunk",
    "ChunkVerdict",
    "Deny",
    "Duration",
    "Limiter",
    "Operation",
    "PolicyRef",
    "PolicySettings",
    "Proceed",
    "RequestContext",
    "Rewrite",
    "Secret",
    "Services",
    "StateUnavailable",
    "Usage",
    "Verdict",
    "hookimpl",
    "seconds",
]
