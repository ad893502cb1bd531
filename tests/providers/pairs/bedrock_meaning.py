"""What a Converse request means, whichever of several ways it says it, and what a stream of either dialect adds up to.

The normalisations of a translation there and back, beside the losses that are reported:

- the results of tools stand first in their turn; an assistant's thoughts first, its calls last
- turns of one role are one turn, texts that follow one another one text, and empty texts none
- a result that is JSON is its text; that it is a success goes without saying, and so does the choice `auto`
- a document's text is its bytes, and its name has no character but those that Bedrock documents
- a schema without a name is named `response`, and its spaces are none
- Claude's own `output_config` is Converse's `outputConfig`; effort `high` is what adaptive thinking has anyway
"""

import base64
import json
from collections.abc import Iterable

from trustgate.providers.hub import Json


def meaning(body: Json) -> Json:
    """Return the request with one way to say each thing."""
    said = {name: value for name, value in body.items() if value not in (None, {}, [])}
    messages: list[Json] = []
    for message in body.get("messages", ()):
        blocks = [_block(block) for block in message["content"]]
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": message["role"], "content": blocks})
    said["messages"] = [{**message, "content": _ordered(message["content"])} for message in messages]
    if "toolConfig" in said:
        said["toolConfig"] = {
            name: value for name, value in said["toolConfig"].items() if value not in (None, {"auto": {}})
        }
    additional = dict(said.pop("additionalModelRequestFields", {}))
    output = {**said.pop("outputConfig", {}), **additional.pop("output_config", {})}
    if output.get("effort") == "high" and additional.get("thinking") == {"type": "adaptive"}:
        del output["effort"]
    if output:
        said["outputConfig"] = _output(output)
    if additional:
        said["additionalModelRequestFields"] = additional
    return said


def _output(output: Json) -> Json:
    said = dict(output)
    if "textFormat" in output:
        schema = output["textFormat"]["structure"]["jsonSchema"]
        said["textFormat"] = {"name": "response", **schema, "schema": json.loads(schema["schema"])}
    return said


def _block(block: Json) -> Json:
    if "toolResult" in block:
        result = {name: value for name, value in block["toolResult"].items() if name != "type"}
        if result.get("status") == "success":
            del result["status"]
        parts = [_block(part) for part in result["content"]]
        return {"toolResult": {**result, "content": _merged(parts)}}
    if "json" in block:
        return {"text": json.dumps(block["json"], separators=(",", ":"), ensure_ascii=False)}
    if "document" in block:
        return {"document": _document(block["document"])}
    if "toolUse" in block:
        return {"toolUse": {name: value for name, value in block["toolUse"].items() if name != "type"}}
    return block


def _document(document: Json) -> Json:
    source = document["source"]
    if "text" in source:
        source = {"bytes": base64.b64encode(source["text"].encode()).decode()}
    return {"format": "txt", **document, "name": document["name"].replace("_", " "), "source": source}


_FIRST = {"toolResult": 0, "reasoningContent": 1, "toolUse": 3}


def _ordered(blocks: list[Json]) -> list[Json]:
    """Cache points stay behind what they are behind."""
    groups: list[list[Json]] = []
    for block in blocks:
        if "cachePoint" in block and groups:
            groups[-1].append(block)
        else:
            groups.append([block])
    groups.sort(key=lambda group: _FIRST.get(next(iter(group[0])), 2))
    return _merged([block for group in groups for block in group])


def _merged(blocks: Iterable[Json]) -> list[Json]:
    merged: list[Json] = []
    for block in blocks:
        if merged and "text" in block and "text" in merged[-1]:
            merged[-1] = {"text": merged[-1]["text"] + block["text"]}
        elif block.get("text") != "":
            merged.append(block)
    return merged


def hub_message(chunks: Iterable[Json]) -> Json:
    """Return the message, finish reason and usage that the hub's chunks add up to."""
    told: Json = {"content": "", "calls": {}, "thoughts": [], "finish": None, "usage": None, "citations": []}
    for chunk in chunks:
        told["usage"] = chunk.get("usage") or told["usage"]
        for choice in chunk["choices"]:
            told["finish"] = choice["finish_reason"] or told["finish"]
            _add(told, choice["delta"])
    return {**told, "calls": list(told["calls"].values())}


def _add(told: Json, delta: Json) -> None:
    told["content"] += delta.get("content") or ""
    told["citations"] += delta.get("citations") or []
    for call in delta.get("tool_calls") or ():
        known = told["calls"].setdefault(call["index"], {"id": call.get("id"), "name": "", "arguments": ""})
        known["name"] += call["function"].get("name", "")
        known["arguments"] += call["function"].get("arguments", "")
    for block in delta.get("thinking_blocks") or ():
        _think(told["thoughts"], block)


def _think(thoughts: list[Json], block: Json) -> None:
    if block["type"] == "redacted_thinking":
        thoughts.append(block)
        return
    if not thoughts or thoughts[-1]["type"] != "thinking" or thoughts[-1]["signature"]:
        thoughts.append({"type": "thinking", "thinking": "", "signature": ""})
    thoughts[-1]["thinking"] += block["thinking"]
    thoughts[-1]["signature"] += block.get("signature", "")


def bedrock_message(events: Iterable[Json]) -> Json:
    """Return the answer that a ConverseStream's events add up to."""
    blocks: dict[int, Json] = {}
    answer: Json = {}
    for event in events:
        for name, said in event.items():
            if name == "contentBlockStart":
                blocks[said["contentBlockIndex"]] = {"toolUse": {**said["start"]["toolUse"], "input": ""}}
            elif name == "contentBlockDelta":
                _grow(blocks.setdefault(said["contentBlockIndex"], {}), said["delta"])
            elif name in ("messageStop", "metadata"):
                answer |= said
    return {**answer, "content": [_finished(blocks[index]) for index in sorted(blocks)]}


def _grow(block: Json, delta: Json) -> None:
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    elif "reasoningContent" in delta:
        _reason(block, delta["reasoningContent"])
    elif "citation" in delta:
        block.setdefault("citations", []).append(delta["citation"])
    else:
        block["text"] = block.get("text", "") + delta["text"]


def _reason(block: Json, said: Json) -> None:
    if "redactedContent" in said:
        block["reasoningContent"] = said
        return
    thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
    for name, value in said.items():
        thought[name] = thought.get(name, "") + value


def _finished(block: Json) -> Json:
    if "toolUse" in block:
        return {"toolUse": {**block["toolUse"], "input": json.loads(block["toolUse"]["input"] or "{}")}}
    if "citations" in block:
        return {"citationsContent": {"content": [{"text": block["text"]}], "citations": block["citations"]}}
    return block


def cut(text: str, pieces: int) -> list[str]:
    """Cut a text into at most so many pieces."""
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)]


Events = list[tuple[str, Json]]


def stream_of(answer: Json, pieces: int) -> Events:
    """Return the events in which Bedrock would stream a whole answer."""
    events: Events = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(answer["output"]["message"]["content"]):
        if "toolUse" in block:
            call = {name: value for name, value in block["toolUse"].items() if name != "input"}
            events.append(("contentBlockStart", {"start": {"toolUse": call}, "contentBlockIndex": index}))
        events += [
            ("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in _deltas(block, pieces)
        ]
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    events.append(("messageStop", {"stopReason": answer["stopReason"]}))
    events.append(("metadata", {"usage": answer["usage"], "metrics": {"latencyMs": 1}}))
    return [(name, {name: said}) for name, said in events]


def _deltas(block: Json, pieces: int) -> list[Json]:
    if "toolUse" in block:
        said = json.dumps(block["toolUse"]["input"], separators=(",", ":"), ensure_ascii=False)
        return [{"toolUse": {"input": piece}} for piece in cut(said, pieces)] if block["toolUse"]["input"] else []
    if "citationsContent" in block:
        cited = block["citationsContent"]
        texts = [{"text": piece} for part in cited["content"] for piece in cut(part["text"], pieces)]
        return [*({"citation": citation} for citation in cited["citations"]), *texts]
    if "reasoningContent" not in block:
        return [{"text": piece} for piece in cut(block["text"], pieces)]
    reasoning = block["reasoningContent"]
    if "redactedContent" in reasoning:
        return [{"reasoningContent": reasoning}]
    thought = reasoning["reasoningText"]
    spoken: list[Json] = [{"reasoningContent": {"text": piece}} for piece in cut(thought["text"], pieces)]
    signed = "signature" in thought
    return [*spoken, {"reasoningContent": {"signature": thought["signature"]}}] if signed else spoken
