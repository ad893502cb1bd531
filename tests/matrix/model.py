"""The model behind every mock: it does what its prompt says, and computes what proves that it was told everything."""

import hashlib
import json

from .talk import Asked, Call, Picture, Said, Tool

TEXT = 'Guten Tag, "Málaga"! 3 < 4 & 5 > 2 \\ 🌍\n\tdone — naïve café'
CITY = {"city": 'Málaga "centro" 🌍', "days": 3, "options": {"units": ["C", "mm"], "exact": True, "limit": None}}
WEATHER = Tool(
    "get_weather",
    "Get the weather of a city.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "options": {
                "type": "object",
                "properties": {
                    "units": {"type": "array", "items": {"type": "string"}},
                    "exact": {"type": "boolean"},
                    "limit": {"type": ["number", "null"]},
                },
            },
        },
        "required": ["city"],
    },
)
TIME = Tool(
    "get_time",
    "Get the time of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
STEP = Tool(
    "step",
    "Take a step with a number.",
    {
        "type": "object",
        "properties": {"number": {"type": "integer"}, "after": {"type": "string"}},
        "required": ["number", "after"],
    },
)
ROUNDS = 19
"""How often the agent's model asks for tools before it answers: the answer is its twentieth turn."""


def speak(asked: Asked) -> Said:
    """Return what the model says to a prompt."""
    prompt = asked.prompt
    if prompt.startswith("agent"):
        return _take_turn(asked)
    if prompt.startswith("one tool"):
        return Said(calls=(Call(WEATHER.name, CITY, "call_1"),), finish="tool_calls")
    if prompt.startswith("two tools"):
        calls = (Call(WEATHER.name, CITY, "call_1"), Call(TIME.name, {"city": "Rome"}, "call_2"))
        return Said(calls=calls, finish="tool_calls")
    if prompt.startswith("look"):
        return Said(", ".join(map(picture_seen, asked.pictures)) or "nothing to see")
    if prompt.startswith("too long"):
        return Said("I was just about to", finish="length")
    return Said(TEXT)


def _take_turn(asked: Asked) -> Said:
    """One or two calls a round, whose arguments depend on every result so far; in the end a digest of all of them."""
    so_far = _digest(json.dumps([_unwrapped(result) for result in asked.results]).encode())
    if asked.rounds == ROUNDS:
        return Said(f"{len(asked.results)} results: {so_far}")
    number = len(asked.results)
    calls = tuple(
        Call(STEP.name, {"number": number + ahead, "after": so_far}, f"call_{number + ahead}")
        for ahead in range(1 + asked.rounds % 2)
    )
    return Said(calls=calls, finish="tool_calls")


def _unwrapped(result: str) -> str:
    """Results of a caller that speaks Gemini are objects: to other targets they are JSON in a text."""
    return str(json.loads(result)["result"]) if result.startswith("{") else result


def picture_seen(picture: Picture) -> str:
    """Return what the model says of a picture: only who has all of its bytes can say it."""
    return f"{picture.media_type} {_digest(picture.data)}"


def take_step(call: Call) -> str:
    """Run the agent's tool."""
    assert call.name == STEP.name, call
    return f"step {call.arguments['number']} → {_digest(json.dumps(call.arguments, sort_keys=True).encode())}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
