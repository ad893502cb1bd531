"""Golden files: what each pair makes of requests, answers and streams. `make golden` rewrites, review reads the diff.

tests/golden/<pair>/<what>.<case>.json, where `what` is request, answer, stream or error.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from trustgate.contract.context import Dialect
from trustgate.providers.faults import read_fault
from trustgate.providers.hub import CannotSay, Inward, Losses, Moment, Outward
from trustgate.relay.render import error_object

GOLDEN = Path(__file__).parents[1] / "golden"
MOMENT = Moment(id="0123456789abcdef0123456789abcdef", created=1_700_000_000, model="asked-model")
REWRITE = os.environ.get("GOLDEN") == "rewrite"
FILES = sorted(GOLDEN.glob("*/*.json"))
CASES = {"plain", "tools", "parallel_tools", "schema", "reasoning", "refusal", "length_stop"}
ERRORS = {"plain", "context_length", "bad_key", "rate_limited", "overloaded"}
DIALECTS: dict[str, Dialect] = {
    "anthropic": "anthropic",
    "gemini": "gemini",
    "responses": "openai_responses",
    "bedrock": "bedrock",
    "cohere": "cohere",
}
PAIRS = ("anthropic", "gemini", "responses", "bedrock", "cohere")


def heard(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a provider's error: outwards it is heard by a caller of OpenAI's, inwards it is OpenAI's own."""
    dialect = DIALECTS[name.removesuffix("_to_openai")] if name.endswith("_to_openai") else "openai"
    headers = ((b"x-amzn-errortype", given["errortype"].encode()),) if "errortype" in given else ()
    fault = read_fault(given["status"], json.dumps(given["body"]).encode(), headers)
    assert fault is not None
    return {"gives": {"status": fault.status, "body": error_object(fault, dialect, MOMENT.id)}}


def made(pair: Outward | Inward, what: str, case: dict[str, Any]) -> dict[str, Any]:
    if what == "request":
        losses = Losses()
        try:
            request = pair.request(case["given"], losses)
        except CannotSay as refused:
            return {"refused": {"param": refused.param, "message": refused.message}}
        return {"gives": request, "losses": list(losses.paths)}
    if what == "answer":
        return {"gives": pair.answer(case["given"], case["asked"], MOMENT)}
    stream = pair.stream(case["asked"], MOMENT)
    if isinstance(pair, Outward):
        gives: list[Any] = [list(stream.feed(*event)) for event in case["given"]]
    else:
        gives = [[list(event) for event in stream.feed(chunk)] for chunk in case["given"]]  # type: ignore[call-arg]
    end = [list(event) if isinstance(event, tuple) else event for event in stream.end()]
    return {"gives": gives, "end": end}


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
def test_golden(path: Path) -> None:
    case = json.loads(path.read_text())
    before = json.dumps(case)
    pair = importlib.import_module(f"trustgate.providers.pairs.{path.parent.name}").PAIR
    what = path.stem.partition(".")[0]
    made_of_it = heard(path.parent.name, case["given"]) if what == "error" else made(pair, what, case)
    found = json.loads(json.dumps(made_of_it))
    assert json.dumps(case) == before, "a translation changed what it was given"
    given = {name: case[name] for name in ("asked", "given") if name in case}
    if REWRITE:
        path.write_text(json.dumps({**given, **found}, indent=2, ensure_ascii=False) + "\n")
        return
    assert found == {name: value for name, value in case.items() if name not in given}


@pytest.mark.parametrize("dialect", PAIRS)
@pytest.mark.parametrize("direction", ["openai_to_{}", "{}_to_openai"])
@pytest.mark.parametrize("what", ["request", "answer", "stream", "error"])
def test_every_pair_shows_every_case(dialect: str, direction: str, what: str) -> None:
    there = {path.stem.partition(".")[2] for path in (GOLDEN / direction.format(dialect)).glob(f"{what}.*.json")}
    wanted = ERRORS if what == "error" else CASES | ({"image"} if what == "request" else set())
    assert wanted <= there
