"""How a recorded answer is read, dialect by dialect, without any of the gateway's code."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .program import Json
from .recorded_meaning import (
    ANTHROPIC,
    BEDROCK,
    COHERE,
    FILTER,
    GEMINI,
    LENGTH,
    OPENAI_LIKE,
    STOP,
    TOOLS,
    Meaning,
    Said,
    anthropic_tokens,
    arguments_of,
    tokens_of,
)
from .recorded_pairs import Recording

# OpenAI's chat, and what resembles it.

KNOWN: Mapping[str, tuple[str, str]] = {
    "azure": ("azure", "chat"),
    "cerebras": ("cerebras", "chat"),
    "deepseek": ("deepseek", "chat"),
    "groq": ("groq", "default"),
    "mistral": ("mistral", "default"),
    "openrouter": ("openrouter", "chat"),
    "zai": ("zhipuai", "chat"),
}
"""Hosts that genai-prices knows as providers of their own; the others say what OpenAI says, and are read so."""


def openai_meaning(recording: Recording) -> Meaning:
    """Read OpenAI's chat."""
    objects = recording.events if recording.live else [recording.value]
    merged: dict[int, _Choice] = {}
    for said in objects:
        for position, choice in enumerate(said.get("choices") or ()):
            merged.setdefault(choice.get("index", position), _Choice()).hear(choice)
    stating = [said for said in map(_groq_usage, objects) if said.get("usage")]
    choices = tuple(merged[index].said(live=recording.live) for index in sorted(merged))
    known = KNOWN.get(recording.provider, ("openai", "chat"))
    return Meaning(choices=choices, tokens=tokens_of(stating[-1], *known) if stating else None)


def _groq_usage(said: Json) -> Json:
    """https://console.groq.com/docs/api-reference#chat-create: in streams it stands under `x_groq`."""
    aside = (said.get("x_groq") or {}).get("usage")
    return {**said, "usage": aside} if aside and not said.get("usage") else said


class _Choice:
    """One choice, whole or put together from its pieces."""

    def __init__(self) -> None:
        self.text, self.refusal, self.thoughts = "", "", ""
        self.finish: str | None = None
        self.calls: dict[Any, list[Any]] = {}

    def hear(self, choice: Json) -> None:
        """Take a choice or a piece of one."""
        message = choice.get("message") or choice.get("delta") or {}
        self._say(message.get("content"))
        self.refusal += message.get("refusal") or ""
        self.thoughts += message.get("reasoning_content") or message.get("reasoning") or ""
        for position, call in enumerate(message.get("tool_calls") or ()):
            self._call(call, position if call.get("index") is None else call["index"])
        older = message.get("function_call") or {}
        if older.get("name"):
            self._call({"function": older}, "older")
        self.finish = choice.get("finish_reason") or self.finish

    def _say(self, content: Any) -> None:
        """https://docs.mistral.ai/capabilities/reasoning: a list of parts, some of which are thoughts."""
        if isinstance(content, str):
            self.text += content
            return
        for part in content or ():
            self.text += part.get("text") or ""
            thinking = part.get("thinking") or ()
            self.thoughts += thinking if isinstance(thinking, str) else "".join(each["text"] for each in thinking)

    def _call(self, call: Json, index: Any) -> None:
        tool = call.get("function") or call.get("custom") or {}
        entry = self.calls.setdefault(index, ["", ""])
        entry[0] = tool.get("name") or entry[0]
        piece = tool.get("arguments", tool.get("input"))
        entry[1] = (entry[1] + piece) if isinstance(piece, str) else piece or entry[1]

    def said(self, *, live: bool) -> Said:
        """Return the whole of it. A whole answer without a word for its end has ended all the same."""
        usual = None if live else TOOLS if self.calls else STOP
        return Said(
            text=self.text,
            refusal=self.refusal,
            thoughts=self.thoughts,
            calls=tuple((name, arguments_of(arguments)) for name, arguments in self.calls.values()),
            finish=OPENAI_LIKE[self.finish] if self.finish else usual,
        )


# OpenAI's responses.


def responses_meaning(recording: Recording) -> Meaning:
    """Read a response; a stream says all of it again in its last event."""
    said = recording.value if not recording.live else _last_response(recording.events)
    items = said.get("output") or ()
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    calls = tuple((item["name"], arguments_of(item["arguments"])) for item in items if item["type"] == "function_call")
    customs = tuple((item["name"], item["input"]) for item in items if item["type"] == "custom_tool_call")
    cut = (said.get("incomplete_details") or {}).get("reason")
    usual = TOOLS if calls or customs else STOP
    choice = Said(
        text="".join(part.get("text") or "" for part in parts),
        refusal="".join(part.get("refusal") or "" for part in parts),
        thoughts="\n\n".join(each["text"] for item in items for each in _thoughts_of(item)),
        calls=calls + customs,
        finish={"max_output_tokens": LENGTH, "content_filter": FILTER}[cut] if cut else usual,
    )
    counted = tokens_of(said, "openai", "responses") if said.get("usage") else None
    return Meaning(choices=(choice,), tokens=counted)


def _last_response(events: Iterable[Json]) -> Json:
    ends = ("response.completed", "response.incomplete", "response.failed")
    (last,) = (event["response"] for event in events if event["type"] in ends)
    found: Json = last
    return found


def _thoughts_of(item: Json) -> list[Json]:
    return [*(item.get("summary") or ()), *(item.get("content") or ())] if item["type"] == "reasoning" else []


# Anthropic's messages.


def anthropic_meaning(recording: Recording) -> Meaning:
    """Read a message."""
    return _message_meaning(_merged_message(recording.events) if recording.live else recording.value)


def _message_meaning(said: Json) -> Meaning:
    blocks = said["content"]
    refused = said["stop_reason"] == "refusal"
    choice = Said(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        refusal=((said.get("stop_details") or {}).get("explanation") or "") if refused else "",
        thoughts="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"),
        finish=ANTHROPIC[said["stop_reason"]],
    )
    return Meaning(choices=(choice,), tokens=anthropic_tokens(said["usage"]))


def _merged_message(events: Iterable[Json]) -> Json:
    """https://platform.claude.com/docs/en/build-with-claude/streaming: the counts of message_delta are the final."""
    message: Json = {}
    written: dict[int, str] = {}
    for event in events:
        if event["type"] == "message_start":
            message = {**event["message"], "content": []}
        elif event["type"] == "content_block_start":
            message["content"].append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            _add(message["content"][event["index"]], event["delta"], written, event["index"])
        elif event["type"] == "message_delta":
            final = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            message = {**message, **event["delta"], "usage": {**message["usage"], **final}}
    for index, text in written.items():
        message["content"][index]["input"] = json.loads(text or "{}")
    return message


def _add(block: Json, delta: Json, written: dict[int, str], index: int) -> None:
    for name in ("text", "thinking"):
        if name in delta:
            block[name] += delta[name]
    if "partial_json" in delta:
        written[index] = written.get(index, "") + delta["partial_json"]


# Bedrock's Converse.


def bedrock_meaning(recording: Recording) -> Meaning:
    """Read a Converse answer."""
    said = _merged_converse(recording.events) if recording.live else recording.value
    blocks = said["output"]["message"]["content"]
    cited = [part for block in blocks for part in (block.get("citationsContent") or {}).get("content") or ()]
    thoughts = [(block.get("reasoningContent") or {}).get("reasoningText") or {} for block in blocks]
    choice = Said(
        text="".join(part.get("text") or "" for part in (*blocks, *cited)),
        thoughts="".join(thought.get("text") or "" for thought in thoughts),
        calls=tuple((block["toolUse"]["name"], block["toolUse"]["input"]) for block in blocks if "toolUse" in block),
        finish=BEDROCK[said["stopReason"]],
    )
    return Meaning(choices=(choice,), tokens=tokens_of(said, "aws", "default"))


def _merged_converse(events: Iterable[Json]) -> Json:
    blocks: dict[int, Json] = {}
    said: Json = {}
    for event in events:
        if started := event.get("contentBlockStart"):
            tool = {**started["start"]["toolUse"], "input": ""}
            blocks[started["contentBlockIndex"]] = {"toolUse": tool}
        elif piece := event.get("contentBlockDelta"):
            _add_converse(blocks.setdefault(piece["contentBlockIndex"], {}), piece["delta"])
        elif stopped := event.get("messageStop"):
            said["stopReason"] = stopped["stopReason"]
        elif told := event.get("metadata"):
            said["usage"] = told["usage"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {**said, "output": {"message": {"content": [blocks[index] for index in sorted(blocks)]}}}


def _add_converse(block: Json, delta: Json) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    if thought := (delta.get("reasoningContent") or {}).get("text"):
        told = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
        told["text"] += thought


# Gemini, which is Vertex too.


def gemini_meaning(recording: Recording) -> Meaning:
    """Read what Gemini generated; its streams say usage again and again, and the last word counts."""
    objects = recording.events if recording.live else [recording.value]
    merged: dict[int, Said] = {}
    for said in objects:
        for candidate in said.get("candidates") or ():
            index = candidate.get("index", 0)
            merged[index] = _with_candidate(merged.get(index, Said()), candidate)
    if not merged and any((said.get("promptFeedback") or {}).get("blockReason") for said in objects):
        merged[0] = Said(finish=FILTER)
    usage = [said["usageMetadata"] for said in objects if said.get("usageMetadata")]
    counted = tokens_of({"usageMetadata": _totals(usage[-1])}, "google", "default") if usage else None
    return Meaning(choices=tuple(_ended(merged[index]) for index in sorted(merged)), tokens=counted)


def _totals(usage: Json) -> Json:
    """Return the counts without their modalities, which Vertex tells as numbers to whoever asks for such."""
    return {name: value for name, value in usage.items() if not isinstance(value, list)}


def _with_candidate(said: Said, candidate: Json) -> Said:
    parts = (candidate.get("content") or {}).get("parts") or ()
    texts = [(part.get("text") or "", bool(part.get("thought"))) for part in parts]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    word = candidate.get("finishReason")
    return dataclasses.replace(
        said,
        text=said.text + "".join(text for text, thought in texts if not thought),
        thoughts=said.thoughts + "".join(text for text, thought in texts if thought),
        calls=said.calls + tuple((call["name"], call.get("args") or {}) for call in calls),
        finish=GEMINI[str(word)] if word else said.finish,
    )


def _ended(said: Said) -> Said:
    """Gemini says STOP behind function calls too."""
    return dataclasses.replace(said, finish=TOOLS) if said.calls and said.finish == STOP else said


# Cohere's second version.


def cohere_meaning(recording: Recording) -> Meaning:
    """Read Cohere's chat. What it says before it calls tools, its plan, is said to whoever asked."""
    said = _merged_cohere(recording.events) if recording.live else recording.value
    message = said["message"]
    content = message.get("content") or ()
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    choice = Said(
        text=(message.get("tool_plan") or "") + "".join(part.get("text") or "" for part in content),
        thoughts="".join(part.get("thinking") or "" for part in content),
        calls=tuple((function["name"], arguments_of(function["arguments"])) for function in functions),
        finish=COHERE[said["finish_reason"]],
    )
    return Meaning(choices=(choice,), tokens=tokens_of(said, "cohere", "default"))


def _merged_cohere(events: Iterable[Json]) -> Json:
    plan, part, calls, last = "", {"text": "", "thinking": ""}, [], {}
    for event in events:
        told = (event.get("delta") or {}).get("message") or {}
        plan += told.get("tool_plan") or ""
        for name in part:
            part[name] += (told.get("content") or {}).get(name) or "" if event["type"] != "message-start" else ""
        if event["type"] == "tool-call-start":
            calls.append({"function": dict(told["tool_calls"]["function"])})
        elif event["type"] == "tool-call-delta":
            calls[-1]["function"]["arguments"] += told["tool_calls"]["function"]["arguments"]
        elif event["type"] == "message-end":
            last = event["delta"]
    return {**last, "message": {"tool_plan": plan, "content": [part], "tool_calls": calls}}


READERS: Mapping[str, Callable[[Recording], Meaning]] = {
    "openai": openai_meaning,
    "responses": responses_meaning,
    "anthropic": anthropic_meaning,
    "bedrock": bedrock_meaning,
    "gemini": gemini_meaning,
    "cohere": cohere_meaning,
}
"""How a recording is read, by its dialect."""
