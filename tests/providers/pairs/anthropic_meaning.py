"""What Anthropic's requests, and the hub's chunks, mean: what two of them must have in common to say the same.

`normal` states what is normalised when a request goes inwards and outwards again, beside the losses that are reported:

- model and stream are set by whoever calls;
- a list with one plain text is that text; text of nothing but blanks, and a turn without anything, is left out;
- in a turn of the user the results of tools come first, and turns that follow results join theirs;
- in a turn of the assistant thoughts come first, then text, then calls; plain texts beside cited ones are one;
- a cache mark on a call stands on the last block of its turn, that of the request on the last block of all;
- messages of the system within the conversation stand before it;
- documents with data have a title; tools have no type; what is false anyway is not said;
- an effort without thinking is thinking, as much as a model that is not known can be told; with thinking it is lost,
  and a temperature of 1 is not said, for there is no other;
- what the assistant is to go on with does not end in blanks.
"""

from collections.abc import Iterable
from typing import Any

from trustgate.providers.hub import Json
from trustgate.providers.pairs.openai_to_anthropic.thinking import BUDGETS

LOST = frozenset(
    ("container", "context_management", "mcp_servers", "inference_geo", "speed", "diagnostics", "model", "stream")
)
ELSEWHERE_UNSAYABLE = frozenset(
    (
        *("server_tool_use", "web_search_tool_result", "bash_code_execution_tool_result", "tool_search_tool_result"),
        *("mcp_tool_use", "mcp_tool_result", "advisor_tool_result", "container_upload", "tool_reference"),
        *("tool_addition", "search_result", "compaction"),
    )
)
"""Blocks that only Anthropic has."""


def unsayable(asked: Json) -> bool:
    """Whether there is something in the conversation that can be said to Anthropic alone."""
    return any(_is_unsayable(block) for message in asked["messages"] for block in _list(message.get("content")))


def _is_unsayable(block: Json) -> bool:
    source = block.get("source")
    is_file = block["type"] == "image" and isinstance(source, dict) and source.get("type") == "file"
    inner = _list(block.get("content")) if block["type"] == "tool_result" else []
    return is_file or block["type"] in ELSEWHERE_UNSAYABLE or any(_is_unsayable(each) for each in inner)


def _list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def normal(asked: Json) -> Json:
    """Return what comes back of a request."""
    told = {name: value for name, value in asked.items() if name not in LOST and value is not None}
    system = _texts(told.pop("system", []))
    turns: list[Json] = []
    follows = False
    for message in asked["messages"]:
        if message["role"] == "system":
            system += _texts(message["content"])
            continue
        blocks = _user(message) if message["role"] == "user" else _assistant(message)
        results = [block for block in blocks if block["type"] == "tool_result"]
        if follows and message["role"] == "user":
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": message["role"], "content": blocks})
        is_only_results = bool(results) and len(results) == len(blocks)
        follows = message["role"] == "user" and (is_only_results or (follows and not blocks))
    if mark := told.pop("cache_control", None):
        last = turns[-1]["content"]
        last[-1] = {"cache_control": mark, **last[-1]}
    if turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        last = turns[-1]["content"]
        last[-1] = {**last[-1], "text": last[-1]["text"].rstrip()}
    told["messages"] = [{**turn, "content": _plain(turn["content"])} for turn in turns]
    if system:
        told["system"] = _plain(system)
    _tools(told)
    return _configured(told)


def _texts(content: Any) -> list[Json]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _plain(blocks: list[Json]) -> Any:
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks


def _user(message: Json) -> list[Json]:
    blocks = [_document(block) for block in _texts(message["content"])]
    results = [_result(block) for block in blocks if block["type"] == "tool_result"]
    return [*results, *(block for block in blocks if block["type"] != "tool_result")]


def _result(block: Json) -> Json:
    told = {name: value for name, value in block.items() if value is not False and name != "content"}
    content = block.get("content")
    said = content if isinstance(content, str) else _plain([_document(each) for each in _texts(content or [])])
    return {**told, "content": said} if said else told


def _document(block: Json) -> Json:
    if block["type"] != "document" or "title" in block or block["source"]["type"] not in ("base64", "text"):
        return block
    return {**block, "title": f"document.{'pdf' if block['source']['type'] == 'base64' else 'txt'}"}


def _assistant(message: Json) -> list[Json]:
    blocks = _texts(message["content"])
    order = {"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}
    blocks.sort(key=lambda block: order[block["type"]])
    marks = [block["cache_control"] for block in blocks if block["type"] == "tool_use" and "cache_control" in block]
    blocks = [_unmarked(block) if block["type"] == "tool_use" else block for block in blocks]
    texts = [block for block in blocks if block["type"] == "text"]
    if any(block.get("citations") for block in texts) and not any("cache_control" in block for block in texts):
        blocks = _joined(blocks)
    blocks = [_uncited(block) for block in blocks]
    if marks:
        blocks[-1] = {**blocks[-1], "cache_control": marks[-1]}
    return blocks


def _unmarked(block: Json) -> Json:
    return {name: value for name, value in block.items() if name != "cache_control"}


def _uncited(block: Json) -> Json:
    return {name: value for name, value in block.items() if name != "citations" or value}


def _joined(blocks: list[Json]) -> list[Json]:
    told: list[Json] = []
    for block in blocks:
        last = told[-1] if told else {}
        if block["type"] == last.get("type") == "text" and not block.get("citations") and not last.get("citations"):
            told[-1] = {"type": "text", "text": last["text"] + block["text"]}
        else:
            told.append(block)
    return told


def _tools(told: Json) -> None:
    given = told.pop("tools", None) or []
    kept = ("name", "description", "input_schema", "strict", "cache_control")
    tools = [
        {name: tool[name] for name in kept if tool.get(name) not in (None, False)}
        for tool in given
        if tool.get("type") in (None, "custom")
    ]
    if tools:
        told["tools"] = tools
    choice = told.pop("tool_choice", None)
    if not choice or not tools or (choice["type"] == "tool" and choice["name"] not in [tool["name"] for tool in tools]):
        return
    told["tool_choice"] = {name: value for name, value in choice.items() if value is not False}
    if choice["type"] == "none":
        told["tool_choice"] = {"type": "none"}


def _configured(told: Json) -> Json:
    config = told.pop("output_config", None) or {}
    if "effort" in config and "thinking" not in told:
        told["thinking"] = {"type": "enabled", "budget_tokens": BUDGETS[config["effort"]]}
    if "thinking" in told and told.get("temperature") == 1:
        del told["temperature"]
    output = config.get("format") or told.pop("output_format", None)
    if output:
        told["output_config"] = {"format": output}
    return told


class Folded:
    """What a list of the hub's chunks says: the message and the choice that it adds up to."""

    def __init__(self, chunks: Iterable[Json]) -> None:
        self.message: Json = {"role": "assistant", "content": "", "refusal": None}
        self.finish: Json = {}
        self.usage: Json | None = None
        self.tier: str | None = None
        self._is_thinking = False
        for chunk in chunks:
            self.usage = chunk.get("usage") or self.usage
            self.tier = chunk.get("service_tier") or self.tier
            for choice in chunk["choices"]:
                self._fold(choice["delta"])
                if choice["finish_reason"]:
                    self.finish = {name: choice[name] for name in choice if name not in ("index", "delta")}
        if self.message.get("tool_calls") and not self.message["content"]:
            self.message["content"] = None

    def _fold(self, delta: Json) -> None:
        self.message["content"] += delta.get("content") or ""
        if refusal := delta.get("refusal"):
            self.message["refusal"] = (self.message["refusal"] or "") + refusal
        if reasoning := delta.get("reasoning_content"):
            self.message["reasoning_content"] = self.message.get("reasoning_content", "") + reasoning
        for block in delta.get("thinking_blocks", ()):
            self._think(block)
        self.message.setdefault("citations", []).extend(delta.get("citations", ()))
        if not self.message["citations"]:
            del self.message["citations"]
        for call in delta.get("tool_calls", ()):
            self._call(call)

    def _think(self, block: Json) -> None:
        blocks = self.message.setdefault("thinking_blocks", [])
        if block["type"] == "redacted_thinking":
            blocks.append(block)
            self._is_thinking = False
            return
        if not self._is_thinking:
            blocks.append({"type": "thinking", "thinking": "", "signature": ""})
        blocks[-1] = {**blocks[-1], "thinking": blocks[-1]["thinking"] + block["thinking"]}
        self._is_thinking = not block.get("signature")
        if signature := block.get("signature"):
            blocks[-1] = {**blocks[-1], "signature": signature}

    def _call(self, call: Json) -> None:
        calls = self.message.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
