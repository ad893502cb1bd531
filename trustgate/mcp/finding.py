"""For agents with many tools: two tools in the place of all, one that finds tools and one that calls what was found."""

import re
from collections.abc import Sequence
from typing import Any, Final

from trustgate.mcp.messages import INVALID_PARAMS, Json, Wrong, encode, params
from trustgate.mcp.naming import Offer

SEARCH, CALL = "search_tools", "call_tool"
MOST: Final = 20
USUAL: Final = 5
BYTES_A_TOKEN: Final = 4
"""About: what a tool's description costs a model depends on the model."""
_WORD: Final = re.compile(r"[a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
TOOLS: Final[Sequence[Json]] = (
    {
        "name": SEARCH,
        "description": "Finds tools by what they do. Search before you call: the answer has each tool's name, what it "
        "does and the schema of its arguments.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What the tool should do, in a few words."},
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
            },
            "required": ["query"],
        },
    },
    {
        "name": CALL,
        "description": f"Calls a tool that {SEARCH} has found.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "The tool's name."},
                "arguments": {"type": "object", "description": "Its arguments, by its own schema."},
            },
            "required": ["name"],
        },
    },
)


def found(offers: Sequence[Offer], given: Any) -> Json:
    """Return the result of a search: the tools that fit best. Raises Wrong for a search without words."""
    arguments = given if isinstance(given, dict) else {}
    query, limit = arguments.get("query"), arguments.get("limit", USUAL)
    if not isinstance(query, str) or not query.strip():
        raise Wrong(INVALID_PARAMS, f"{SEARCH} needs a query: say what the tool should do.")
    limit = max(1, min(MOST, limit)) if isinstance(limit, int) else USUAL
    wanted = set(_words(query))
    ranked = sorted(
        ((_fits(wanted, offer), -at, offer) for at, offer in enumerate(offers)), key=lambda each: each[:2], reverse=True
    )
    items = [
        {name: offer.item[name] for name in ("name", "title", "description", "inputSchema") if name in offer.item}
        for fits, _, offer in ranked[:limit]
        if fits
    ]
    told = {"tools": items, "total": len(offers)}
    return {"content": [{"type": "text", "text": encode(told).decode()}], "structuredContent": told}


def unwrapped(message: Json) -> Json:
    """Return the call that a call of `call_tool` stands for. Raises Wrong where it names no tool."""
    given = params(message)
    inner = given.get("arguments") if isinstance(given.get("arguments"), dict) else {}
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or inner["name"] in (SEARCH, CALL):
        raise Wrong(INVALID_PARAMS, f"{CALL} needs the name of a tool that {SEARCH} has found.")
    arguments = inner.get("arguments", {})
    return {**message, "params": {**given, "name": inner["name"], "arguments": arguments}}


def saved(offers: Sequence[Offer]) -> int:
    """Return about how many tokens a model is spared by seeing two tools instead of all."""
    whole = sum(len(encode(offer.item)) for offer in offers)
    return max(0, (whole - sum(len(encode(tool)) for tool in TOOLS)) // BYTES_A_TOKEN)


def _words(text: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub(" ", text).lower())


def _fits(wanted: set[str], offer: Offer) -> int:
    """Return how well a tool fits: its name counts more than what is said of it, and parts of words count too."""
    name, said = set(_words(offer.exposed)), set(_words(str(offer.item.get("description", ""))))
    score = 0
    for word in wanted:
        score += 4 * (word in name) + 2 * (word in said)
        score += any(len(word) > 3 and (word in other or (len(other) > 3 and other in word)) for other in name | said)
    return score
