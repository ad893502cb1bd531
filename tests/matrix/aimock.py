"""aimock, a mock that others have written, as a second opinion of what the providers' formats are.

https://aimock.copilotkit.dev. Version 1.43 looks into less than our own mocks do (it drops the pictures of requests for
Cohere and Bedrock, and checks no key), so that it is asked for words and tools only. Strict SDKs refuse some of what it
says: its responses lack required fields, its Gemini ends calls with a reason that Gemini does not have, its Converse
stream starts text blocks with nothing in them, and its streams are cut within characters beyond U+FFFF, which is why
there are none in what it says here.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Final

from . import npm
from .model import TIME, WEATHER
from .talk import Call, Target

TEXT: Final = 'Guten Tag, "Málaga"! 3 < 4 \\ — naïve café'
CALLS: Final = (
    Call(WEATHER.name, {"city": 'Málaga "centro"', "days": 3, "options": {"units": ["C", "mm"], "limit": None}}),
    Call(TIME.name, {"city": "Rome"}),
)
INVALID: Final[frozenset[Target]] = frozenset(("openai_responses", "gemini", "bedrock"))
"""Where the SDK of the provider's own dialect refuses what aimock says, with or without a gateway between."""


@contextlib.contextmanager
def running_aimock() -> Iterator[str]:
    """Run it for a while, and give its address."""
    calls = [[call.name, call.arguments] for call in CALLS]
    usage = {"prompt_tokens": 41, "completion_tokens": 13, "total_tokens": 54, "input_tokens": 41, "output_tokens": 13}
    gemini = {"promptTokenCount": 41, "candidatesTokenCount": 13, "totalTokenCount": 54}
    said = json.dumps({"text": TEXT, "calls": calls, "usage": {**usage, **gemini}})
    command = [npm.node(), "aimock.mjs", said]
    process = subprocess.Popen(command, cwd=npm.FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
