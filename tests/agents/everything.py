"""A server that has something of everything, in all revisions: `python -m tests.agents.everything PORT`.

It is made with the official SDK, for the official conformance tests and for ours. What its tools are called and say is
what those tests look for.
"""

import asyncio
import base64
import struct
import sys
import zlib
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

STATELESS: Final = "2026-07-28"


def _png() -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")).decode()


def _wav() -> str:
    samples = b"\0\0" * 8
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    return base64.b64encode(head + struct.pack("<4sI", b"data", len(samples)) + samples).decode()


PNG, WAV = _png(), _wav()
ANYTHING: Final = {"type": "object"}
FILE: Final = {"name": "x", "uri": "test://embedded-resource"}
FORM: Final = {
    "type": "object",
    "properties": {"username": {"type": "string"}, "email": {"type": "string"}},
    "required": ["username", "email"],
}
DEFAULTS: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
    "required": [],
}
_TITLED: Final = [{"const": f"value{n}", "title": name} for n, name in ((1, "First"), (2, "Second"), (3, "Third"))]
ENUMS: Final = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _TITLED},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
    },
    "required": [],
}
TEXT: Final = {"type": "text", "text": "This is a simple text response for testing."}
IMAGE: Final = {"type": "image", "data": PNG, "mimeType": "image/png"}
AUDIO: Final = {"type": "audio", "data": WAV, "mimeType": "audio/wav"}
EMBEDDED: Final = {
    "type": "resource",
    "resource": {
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    },
}
MIXED: Final = {
    "type": "resource",
    "resource": {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": '{"test":"data"}'},
}
PLAIN: Final[Mapping[str, list[Any]]] = {
    "test_simple_text": [TEXT],
    "test_image_content": [IMAGE],
    "test_audio_content": [AUDIO],
    "test_embedded_resource": [EMBEDDED],
    "test_multiple_content_types": [{"type": "text", "text": "Multiple content types test:"}, IMAGE, MIXED],
}
TOOLS: Final = (
    *PLAIN,
    *("test_tool_with_logging", "test_tool_with_progress", "test_error_handling", "test_sampling"),
    *("test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums", "slow", "echo"),
)
INPUTS: Final[Mapping[str, Any]] = {
    "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    "test_elicitation": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    "echo": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def told(text: str) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": [{"type": "text", "text": text}]})


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    tools = [
        {"name": name, "description": f"The tool {name}.", "inputSchema": INPUTS.get(name, ANYTHING)} for name in TOOLS
    ]
    return types.ListToolsResult.model_validate({"tools": tools})


async def call_tool(ctx: Any, params: Any) -> Any:
    name, given, session = params.name, params.arguments or {}, ctx.session
    if name in PLAIN:
        return types.CallToolResult.model_validate({"content": PLAIN[name]})
    match name:
        case "echo":
            return told(given.get("text", ""))
        case "test_tool_with_logging":
            for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
                await session.send_log_message("info", text, related_request_id=ctx.request_id)
                await asyncio.sleep(0.05)
            return told("Tool with logging executed successfully")
        case "test_tool_with_progress":
            for progress in (0, 50, 100):
                await session.report_progress(progress, 100, f"Completed step {progress} of 100")
                await asyncio.sleep(0.05)
            return told("done")
        case "slow":
            await session.report_progress(1, 2, "half of it")
            await asyncio.sleep(float(given.get("seconds", 1)))
            return told("at last")
        case "test_error_handling":
            text = {"type": "text", "text": "This tool intentionally returns an error for testing"}
            return types.CallToolResult.model_validate({"content": [text], "isError": True})
        case "test_sampling":
            asked = {"role": "user", "content": {"type": "text", "text": given["prompt"]}}
            answer = await session.create_message(
                [types.SamplingMessage.model_validate(asked)], max_tokens=100, related_request_id=ctx.request_id
            )
            return told(f"LLM response: {getattr(answer.content, 'text', '')}")
        case "test_elicitation":
            answer = await session.elicit_form(given["message"], FORM, related_request_id=ctx.request_id)
            return told(f"User response: action={answer.action}, content={answer.content}")
        case "test_elicitation_sep1034_defaults" | "test_elicitation_sep1330_enums":
            schema = DEFAULTS if name.endswith("defaults") else ENUMS
            answer = await session.elicit_form("Please fill in", schema, related_request_id=ctx.request_id)
            return told(f"Elicitation completed: action={answer.action}, content={answer.content}")
    raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")


RESOURCES: Final[Mapping[str, dict[str, str]]] = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Watched resource content"},
}


async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    found = [{"uri": uri, "name": uri[7:], "mimeType": each["mimeType"]} for uri, each in RESOURCES.items()]
    return types.ListResourcesResult.model_validate({"resources": found})


async def list_templates(ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
    found = [{"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"}]
    return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": found})


async def read_resource(ctx: Any, params: Any) -> types.ReadResourceResult:
    uri = str(params.uri)
    content = RESOURCES.get(uri)
    if content is None and uri.startswith("test://template/") and uri.endswith("/data"):
        id_ = uri.removeprefix("test://template/").removesuffix("/data")
        text = f'{{"id":"{id_}","templateTest":true,"data":"Data for ID: {id_}"}}'
        content = {"mimeType": "application/json", "text": text}
    if content is None:
        code = types.INVALID_PARAMS if ctx.protocol_version == STATELESS else -32002
        raise MCPError(code, "Resource not found", {"uri": uri})
    return types.ReadResourceResult.model_validate({"contents": [{"uri": uri, **content}]})


async def subscribe(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


PROMPTS: Final[Mapping[str, tuple[str, ...]]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
}


async def list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    found = [
        {
            "name": name,
            "description": f"The prompt {name}.",
            "arguments": [{"name": each, "description": each, "required": True} for each in arguments],
        }
        for name, arguments in PROMPTS.items()
    ]
    return types.ListPromptsResult.model_validate({"prompts": found})


async def get_prompt(ctx: Any, params: Any) -> types.GetPromptResult:
    given = params.arguments or {}
    said: dict[str, list[Any]] = {
        "test_simple_prompt": [{"type": "text", "text": "This is a simple prompt for testing."}],
        "test_prompt_with_arguments": [
            {"type": "text", "text": f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"}
        ],
        "test_prompt_with_embedded_resource": [
            {
                "type": "resource",
                "resource": {
                    "uri": given.get("resourceUri", "test://x"),
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                },
            },
            {"type": "text", "text": "Please process the embedded resource above."},
        ],
        "test_prompt_with_image": [IMAGE, {"type": "text", "text": "Please analyze the image above."}],
    }
    if params.name not in said:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    messages = [{"role": "user", "content": content} for content in said[params.name]]
    return types.GetPromptResult.model_validate({"messages": messages})


async def complete(ctx: Any, params: Any) -> types.CompleteResult:
    values = [each for each in ("paris", "park", "party") if each.startswith(params.argument.value)]
    return types.CompleteResult.model_validate({"completion": {"values": values, "total": len(values)}})


async def set_level(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


def make(name: str = "everything") -> Any:
    """Return the server."""
    return Server(
        name,
        version="1.0.0",
        instructions=f"This is {name}.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=subscribe,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
    )


def main() -> None:
    """Serve on a port of loopback until ended."""
    app = make().streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
