"""Counting the tokens of a request where no provider of the caller does it: an estimate, and said to be one."""

import msgspec

from trustgate.contract.context import Body
from trustgate.providers.estimate import estimate_prompt, prompt_texts


def estimated_count(operation: str, body: Body) -> bytes:
    """Return how many tokens a request has, as the dialect of the operation says it."""
    tokens = estimate_prompt(prompt_texts(body.json()))
    match operation:
        case "count_tokens":
            return msgspec.json.encode({"totalTokens": tokens})
        case "responses_input_tokens":
            return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": tokens})
        case _:
            return msgspec.json.encode({"input_tokens": tokens})
