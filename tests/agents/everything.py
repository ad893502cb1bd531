"""A server that has something of everything, in all revisions: `python -m tests.agents.everything PORT`, and over other
ways with `stdio` or `sse PORT`.

It is made with the official SDK, for the official conformance tests and for ours. What its tools are called and say is
what those tests look for.
"""

import asyncio
import base64
import hmac
import struct
import sys
import zlib
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

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


def told(text: str) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": [{"type": "text", "text": text}]})


def _form(message: str, **fields: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in fields.items()},
        "required": list(fields),
    }
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def _sample(text: str, most: int) -> dict[str, Any]:
    asked = [{"role": "user", "content": {"type": "text", "text": text}}]
    return {"method": "sampling/createMessage", "params": {"messages": asked, "maxTokens": most}}


ROOTS: Final = {"method": "roots/list", "params": {}}
NAME: Final = _form("What is your name?", name="string")
ROUNDS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "test_input_required_result_elicitation": [{"user_name": NAME}],
    "test_input_required_result_sampling": [{"capital_question": _sample("What is the capital of France?", 100)}],
    "test_input_required_result_list_roots": [{"client_roots": ROOTS}],
    "test_input_required_result_request_state": [{"confirm": _form("Please confirm", ok="boolean")}],
    "test_input_required_result_multiple_inputs": [
        {"user_name": NAME, "greeting": _sample("Generate a greeting", 50), "client_roots": ROOTS}
    ],
    "test_input_required_result_multi_round": [
        {"step1": _form("Step 1: What is your name?", name="string")},
        {"step2": _form("Step 2: What is your favorite color?", color="string")},
    ],
    "test_input_required_result_tampered_state": [{"confirm": _form("Please confirm", ok="boolean")}],
    "test_input_required_result_capabilities": [{"user_name": NAME, "greeting": _sample("Generate a greeting", 50)}],
}
"""What tools need to know, round by round, before they answer: for the revision without sessions."""
_NEEDS: Final = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_SECRET: Final = b"known to this server alone"


def signed(text: str) -> str:
    """Return a state that nobody else can make."""
    return f"{text}.{hmac.new(_SECRET, text.encode(), 'sha256').hexdigest()}"


def in_rounds(ctx: Any, params: Any, rounds: list[dict[str, Any]]) -> Any:
    """Ask what is still to be known, or answer."""
    known = ctx.session.client_capabilities
    able = {need for method, need in _NEEDS.items() if getattr(known, need, None) is not None}
    state, answers = params.request_state, params.input_responses or {}
    if state is not None and state != signed(state.rpartition(".")[0]):
        raise MCPError(types.INVALID_PARAMS, "The state was changed")
    at = int(state.partition(":")[0]) if state else 0
    while at < len(rounds) and set(rounds[at]) & set(answers):
        missing = set(rounds[at]) - set(answers)
        if missing:
            break
        at += 1
    if at < len(rounds):
        wanted = {
            key: request
            for key, request in rounds[at].items()
            if key not in answers and (_NEEDS[request["method"]] in able or params.name != CAPABLE)
        }
        said = {"resultType": "input_required", "inputRequests": wanted, "requestState": signed(f"{at}:{params.name}")}
        return types.InputRequiredResult.model_validate(said)
    told_of = {key: answer.model_dump(mode="json") for key, answer in answers.items()}
    return told(f"state-ok: {told_of}")


CAPABLE: Final = "test_input_required_result_capabilities"
TOOLS: Final = (
    *PLAIN,
    *ROUNDS,
    *("test_tool_with_logging", "test_tool_with_progress", "test_error_handling", "test_sampling"),
    *("test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums", "slow", "echo"),
    *("test_missing_capability", "test_streaming_elicitation", "test_logging_tool"),
)
INPUTS: Final[Mapping[str, Any]] = {
    "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    "test_elicitation": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    "echo": {"type": "object", "properties": {"text": {"type": "string"}}},
}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    tools = [
        {"name": name, "description": f"The tool {name}.", "inputSchema": INPUTS.get(name, ANYTHING)} for name in TOOLS
    ]
    return types.ListToolsResult.model_validate({"tools": tools})


async def call_tool(ctx: Any, params: Any) -> Any:
    name, given, session = params.name, params.arguments or {}, ctx.session
    if name in PLAIN:
        return types.CallToolResult.model_validate({"content": PLAIN[name]})
    if name in ROUNDS:
        return in_rounds(ctx, params, ROUNDS[name])
    match name:
        case "echo":
            return told(given.get("text", ""))
        case "test_tool_with_logging":
            for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
                await session.send_log_message("info", text, related_request_id=ctx.request_id)
            return told("Tool with logging executed successfully")
        case "test_tool_with_progress":
            for progress in (0, 50, 100):
                await session.report_progress(progress, 100, f"Completed step {progress} of 100")
            return told("done")
        case "slow":
            await session.report_progress(1, 2, "half of it")
            await asyncio.sleep(float(given.get("seconds", 1)))
            return told("at last")
        case "test_error_handling":
            said = {"type": "text", "text": "This tool intentionally returns an error for testing"}
            return types.CallToolResult.model_validate({"content": [said], "isError": True})
        case _:
            return await asking_the_caller(ctx, params)


async def asking_the_caller(ctx: Any, params: Any) -> Any:
    name, given, session = params.name, params.arguments or {}, ctx.session
    match name:
        case "test_missing_capability":
            if getattr(session.client_capabilities, "sampling", None) is None:
                needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
                raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs sampling", needed)
            return told("It is there")
        case "test_streaming_elicitation":
            await session.report_progress(1, 2, "about to ask")
            return in_rounds(ctx, params, [{"user_name": NAME}])
        case "test_logging_tool":
            await session.send_log_message("info", "a line of the log", related_request_id=ctx.request_id)
            return told("logged")
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
    "test_input_required_result_prompt": (),
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


async def get_prompt(ctx: Any, params: Any) -> Any:
    if params.name == "test_input_required_result_prompt":
        if not params.input_responses:
            asked = {"user_context": _form("What context should the prompt use?", context="string")}
            return types.InputRequiredResult.model_validate({"resultType": "input_required", "inputRequests": asked})
        text = {"role": "user", "content": {"type": "text", "text": "In that context."}}
        return types.GetPromptResult.model_validate({"messages": [text]})
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


async def over_stdio() -> None:
    """Serve over standard input and output."""
    server = make()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def over_sse() -> Starlette:
    """Return an app that serves as 2024-11-05 has it."""
    server, transport = make(), SseServerTransport("/messages/")

    async def stream(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", app=transport.handle_post_message)])


def main() -> None:
    """Serve until ended: on a port of loopback, `stdio`, or `sse` and a port."""
    match sys.argv[1:]:
        case ["stdio"]:
            asyncio.run(over_stdio())
        case ["sse", port]:
            uvicorn.run(over_sse(), host="127.0.0.1", port=int(port), log_level="warning")
        case [port]:
            uvicorn.run(make().streamable_http_app(), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
