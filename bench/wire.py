"""What the load generator sends and the mock upstream answers: one small completion, or one stream of 101 chunks."""

import json

MODEL = "gpt-4o-mini"
MARK = b"The bench says hello"
TOKEN = b"tok-"
CHUNKS = 101
CHUNK_GAP = 0.005
DONE = b"data: [DONE]\n\n"

QUESTION = (
    "Summarise in one sentence why a gateway should be cheap, measured in microseconds of processor time per request."
)
ANSWER = f"{MARK.decode()}: what a gateway spends on a request, nobody else on that machine can spend. " + (
    "It is counted once per call, calls are many, and the sum is what the bill of a fleet is made of."
)


def request_body(*, stream: bool) -> bytes:
    """Return the chat completion request that every gateway is asked to forward."""
    messages = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": QUESTION}]
    fields: dict[str, object] = {"model": MODEL, "messages": messages, "max_tokens": 64}
    return json.dumps(fields | {"stream": True} if stream else fields).encode()


def completion() -> bytes:
    """Return the whole answer, about 0.6 KB, with usage."""
    message: dict[str, object] = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 38, "completion_tokens": 40, "total_tokens": 78}
    fields = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1700000000, "model": MODEL}
    return json.dumps(fields | {"choices": [choice], "usage": usage, "system_fingerprint": "fp_bench"}).encode()


def stream_chunks() -> list[bytes]:
    """Return the events of one stream: 100 with text, then one that finishes and carries usage."""
    return [*(_chunk({"content": f"{TOKEN.decode()}{n} "}) for n in range(CHUNKS - 1)), _chunk({}, last=True)]


def _chunk(delta: dict[str, str], *, last: bool = False) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if last else None}
    fields = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1700000000, "model": MODEL}
    usage = {"usage": {"prompt_tokens": 38, "completion_tokens": 100, "total_tokens": 138}} if last else {}
    return b"data: " + json.dumps(fields | {"choices": [choice]} | usage).encode() + b"\n\n"


def flaw(body: bytes, *, stream: bool) -> str:
    """Return what is wrong with an answer's body, or an empty string when it is the one expected."""
    if not stream:
        return "" if MARK in body else "not the completion"
    if body.count(TOKEN) != CHUNKS - 1:
        return f"{body.count(TOKEN)} of {CHUNKS - 1} pieces of the stream"
    return "" if b"[DONE]" in body[-64:] else "no end of the stream"
