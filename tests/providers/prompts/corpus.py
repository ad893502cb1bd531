"""Requests and answers of every dialect: those that translation is tested with."""

import json
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[2] / "golden"
OPERATIONS = {
    "openai": "chat_completions",
    "responses": "responses",
    "anthropic": "messages",
    "gemini": "generate_content",
    "bedrock": "converse",
    "cohere": "cohere_chat",
}


@cache
def requests() -> list[tuple[str, str, dict[str, Any]]]:
    """Operation, name of the case, and request."""
    found = []
    for path in sorted(GOLDEN.glob("*/request.*.json")):
        dialect = path.parent.name.partition("_to_")[0]
        if dialect in OPERATIONS and "embeddings" not in path.parent.name:
            case = json.loads(path.read_text())
            if "refused" not in case:  # those are about bad input
                found.append((OPERATIONS[dialect], f"{path.parent.name}/{path.stem}", case["given"]))
    return found


@cache
def answers() -> list[tuple[str, str, dict[str, Any]]]:
    """Operation, name of the case, and answer, but for odd ones: those have places of other shapes than promised."""
    found = []
    for path in sorted(GOLDEN.glob("*/answer.*.json")):
        dialect = path.parent.name.partition("_to_")[2]
        odd = path.parent.name.startswith("completions") or ".odd" in path.name
        if dialect in OPERATIONS and not odd:
            found.append(
                (OPERATIONS[dialect], f"{path.parent.name}/{path.stem}", json.loads(path.read_text())["given"])
            )
    return found


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a place."""
    for step in path:
        value = value[step]
    return value


def strings(value: Any) -> list[str]:
    """Every string in a value that looks like something said: it has a space in it."""
    if isinstance(value, str):
        return [value] if " " in value.strip() and not value.startswith("data:") else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in inner for text in strings(child)]
