"""TrustGate: a gateway for LLM and agent traffic. This module is what a plugin imports."""

from trustgate.contract.addresses import check_url
from trustgate.contract.calendar import Calendar, Period, TimeZone, time_zone
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
from trustgate.contract.cost import Cost, PerMillion, PriceRule, UnknownPrice
from trustgate.contract.cost import plain as plain_usd
from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.globs import one_of, vagueness
from trustgate.contract.guarding import (
    GuardSettings,
    Judged,
    Subject,
    judge_answer,
    judge_chunk,
    judge_request,
    judge_window,
)
from trustgate.contract.hookspecs import hookimpl
from trustgate.contract.policy import Duration, PolicyRef, PolicySettings, Secret, seconds
from trustgate.contract.ports import (
    Allowance,
    HttpAnswer,
    Limiter,
    Reservation,
    Services,
    ServiceUnavailable,
    Signing,
    Standing,
    StateUnavailable,
    Take,
    Vectors,
    Want,
)
from trustgate.contract.prompt import (
    AnswerParts,
    Attachment,
    Function,
    OfferedTool,
    Piece,
    Prompt,
    RequestLens,
    Role,
    ToolCall,
    ToolResult,
    Unreadable,
)
from trustgate.contract.usage import Usage
from trustgate.contract.verdict import Answer, ChunkVerdict, Deny, Proceed, Rewrite, Verdict
from trustgate.contract.words import telling_words

__version__ = "0.1.0"

__all__ = [
    "REMOVED",
    "Allowance",
    "Answer",
    "AnswerParts",
    "AnswerView",
    "Attachment",
    "Body",
    "Calendar",
    "Caller",
    "Chosen",
    "Chunk",
    "ChunkVerdict",
    "Cost",
    "Deny",
    "Duration",
    "Edits",
    "Function",
    "GuardSettings",
    "HttpAnswer",
    "Inserted",
    "Judged",
    "Limiter",
    "OfferedTool",
    "Operation",
    "Origin",
    "Outcome",
    "Path",
    "PerMillion",
    "Period",
    "Piece",
    "PolicyRef",
    "PolicySettings",
    "PriceRule",
    "Proceed",
    "Prompt",
    "RequestContext",
    "RequestLens",
    "Reservation",
    "Rewrite",
    "Role",
    "Secret",
    "ServiceUnavailable",
    "Services",
    "Signing",
    "Standing",
    "StateUnavailable",
    "Subject",
    "Take",
    "TimeZone",
    "ToolCall",
    "ToolResult",
    "UnknownPrice",
    "Unreadable",
    "Usage",
    "Vectors",
    "Verdict",
    "Want",
    "check_url",
    "hookimpl",
    "judge_answer",
    "judge_chunk",
    "judge_request",
    "judge_window",
    "one_of",
    "plain_usd",
    "seconds",
    "telling_words",
    "time_zone",
    "vagueness",
]
