"""Every parameter of every dialect, with a value that is not its default: what a translation may lose."""

from collections.abc import Mapping
from typing import Any, Final

from .model import WEATHER
from .talk import Json, Target

_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_FUNCTION: Final[Json] = {"name": WEATHER.name, "description": WEATHER.description, "parameters": _SCHEMA}
_CHAT_TOOL: Final[Json] = {"type": "function", "function": _FUNCTION}
_CHAT_TOOLS: Final[Json] = {"tools": [_CHAT_TOOL]}
_NAMED_SCHEMA: Final[Json] = {"name": "place", "schema": _SCHEMA, "strict": True}
_PDF: Final = "JVBERi0xLjQKJSVFT0YK"
_WAV: Final = "UklGRiQAAABXQVZFZm10IA=="
_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/Ci20AAAAAElFTkSuQmCC"
_PNG_URL: Final = f"data:image/png;base64,{_PNG}"


def _chat(*parts: Json) -> Json:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}, *parts]}]}


def _items(*parts: Json) -> Json:
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello!"}, *parts]}]}


def _parts(*parts: Json) -> Json:
    return {"contents": [{"role": "user", "parts": [{"text": "Hello!"}, *parts]}]}


def _blocks(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": [{"text": "Hello!"}, *blocks]}]}


_OPENAI: Final[Mapping[str, Json]] = {
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_completion_tokens": 100},
    "n": {"n": 2},
    "stop": {"stop": ["END", "STOP"]},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "seed": {"seed": 7},
    "user": {"user": "user-7"},
    "safety_identifier": {"safety_identifier": "user-7"},
    "prompt_cache_key": {"prompt_cache_key": "key-7"},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "response_format: json_object": {"response_format": {"type": "json_object"}},
    "response_format: json_schema": {"response_format": {"type": "json_schema", "json_schema": _NAMED_SCHEMA}},
    "tools": _CHAT_TOOLS,
    "tools.function.strict": {"tools": [{"type": "function", "function": {**_FUNCTION, "strict": True}}]},
    "tools: custom": {"tools": [{"type": "custom", "custom": {"name": "shell"}}]},
    "tool_choice: required": {**_CHAT_TOOLS, "tool_choice": "required"},
    "tool_choice: none": {**_CHAT_TOOLS, "tool_choice": "none"},
    "tool_choice: function": {
        **_CHAT_TOOLS,
        "tool_choice": {"type": "function", "function": {"name": WEATHER.name}},
    },
    "parallel_tool_calls": {**_CHAT_TOOLS, "parallel_tool_calls": False},
    "reasoning_effort": {"reasoning_effort": "high"},
    "verbosity": {"verbosity": "low"},
    "service_tier": {"service_tier": "priority"},
    "store": {"store": True},
    "metadata": {"metadata": {"team": "seven"}},
    "prediction": {"prediction": {"type": "content", "content": "Hello, Bob!"}},
    "audio": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "web_search_options": {"web_search_options": {"search_context_size": "low"}},
    "messages.name": {"messages": [{"role": "user", "name": "Bob", "content": "Hello!"}]},
    "messages.content: image_url": _chat({"type": "image_url", "image_url": {"url": _PNG_URL}}),
    "messages.content: image_url by address": _chat(
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    ),
    "messages.content.image_url.detail": _chat({"type": "image_url", "image_url": {"url": _PNG_URL, "detail": "low"}}),
    "messages.content: file": _chat(
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}}
    ),
    "messages.content: input_audio": _chat({"type": "input_audio", "input_audio": {"data": _WAV, "format": "wav"}}),
}

_RESPONSES_TOOLS: Final[Json] = {"tools": [{"type": "function", **_FUNCTION, "strict": False}]}
_RESPONSES: Final[Mapping[str, Json]] = {
    "instructions": {"instructions": "Be terse."},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "max_output_tokens": {"max_output_tokens": 100},
    "top_logprobs": {"top_logprobs": 2},
    "text.format: json_object": {"text": {"format": {"type": "json_object"}}},
    "text.format: json_schema": {"text": {"format": {"type": "json_schema", **_NAMED_SCHEMA}}},
    "text.verbosity": {"text": {"verbosity": "low"}},
    "reasoning.effort": {"reasoning": {"effort": "high"}},
    "reasoning.summary": {"reasoning": {"summary": "auto"}},
    "tools": _RESPONSES_TOOLS,
    "tools.strict": {"tools": [{"type": "function", **_FUNCTION, "strict": True}]},
    "tools: web_search": {"tools": [{"type": "web_search"}]},
    "tools: custom": {"tools": [{"type": "custom", "name": "shell"}]},
    "tool_choice: required": {**_RESPONSES_TOOLS, "tool_choice": "required"},
    "tool_choice: none": {**_RESPONSES_TOOLS, "tool_choice": "none"},
    "tool_choice: function": {**_RESPONSES_TOOLS, "tool_choice": {"type": "function", "name": WEATHER.name}},
    "parallel_tool_calls": {**_RESPONSES_TOOLS, "parallel_tool_calls": False},
    "max_tool_calls": {**_RESPONSES_TOOLS, "max_tool_calls": 3},
    "include: reasoning": {"include": ["reasoning.encrypted_content"]},
    "include: logprobs": {"include": ["message.output_text.logprobs"]},
    "truncation": {"truncation": "auto"},
    "store": {"store": True},
    "metadata": {"metadata": {"team": "seven"}},
    "user": {"user": "user-7"},
    "safety_identifier": {"safety_identifier": "user-7"},
    "prompt_cache_key": {"prompt_cache_key": "key-7"},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "service_tier": {"service_tier": "priority"},
    "background": {"background": True},
    "previous_response_id": {"previous_response_id": "resp_7"},
    "conversation": {"conversation": "conv_7"},
    "prompt": {"prompt": {"id": "pmpt_7"}},
    "input.content: input_image": _items({"type": "input_image", "image_url": _PNG_URL, "detail": "auto"}),
    "input.content: input_file": _items(
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_PDF}"}
    ),
}

_ANTHROPIC_TOOL: Final[Json] = {"name": WEATHER.name, "description": WEATHER.description, "input_schema": _SCHEMA}
_ANTHROPIC_TOOLS: Final[Json] = {"tools": [_ANTHROPIC_TOOL]}
_CACHED: Final[Json] = {"cache_control": {"type": "ephemeral"}}


def _anthropic(*blocks: Json, **first: Any) -> Json:
    return {"messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "Hello!", **first}]}]}


_ANTHROPIC: Final[Mapping[str, Json]] = {
    "system": {"system": "Be terse."},
    "system.cache_control": {"system": [{"type": "text", "text": "Be terse.", **_CACHED}]},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 7},
    "stop_sequences": {"stop_sequences": ["END", "STOP"]},
    "tools": _ANTHROPIC_TOOLS,
    "tools.cache_control": {"tools": [{**_ANTHROPIC_TOOL, **_CACHED}]},
    "tools.strict": {"tools": [{**_ANTHROPIC_TOOL, "strict": True}]},
    "tools: web_search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "tool_choice: any": {**_ANTHROPIC_TOOLS, "tool_choice": {"type": "any"}},
    "tool_choice: none": {**_ANTHROPIC_TOOLS, "tool_choice": {"type": "none"}},
    "tool_choice: tool": {**_ANTHROPIC_TOOLS, "tool_choice": {"type": "tool", "name": WEATHER.name}},
    "tool_choice.disable_parallel_tool_use": {
        **_ANTHROPIC_TOOLS,
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    },
    "thinking": {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}},
    "output_config.effort": {"output_config": {"effort": "high"}},
    "output_config.format": {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
    "metadata.user_id": {"metadata": {"user_id": "user-7"}},
    "service_tier": {"service_tier": "standard_only"},
    "cache_control": _CACHED,
    "container": {"container": "container_7"},
    "inference_geo": {"inference_geo": "us"},
    "speed": {"speed": "fast"},
    "messages.content.cache_control": _anthropic(**_CACHED),
    "messages.content: image": _anthropic(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}}
    ),
    "messages.content: image by address": _anthropic(
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    ),
    "messages.content: document": _anthropic(
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": _PDF}}
    ),
    "messages.content.citations": _anthropic(
        {
            **{"type": "document", "citations": {"enabled": True}},
            "source": {"type": "base64", "media_type": "application/pdf", "data": _PDF},
        }
    ),
}

_GEMINI_TOOL: Final[Json] = {
    "name": WEATHER.name,
    "description": WEATHER.description,
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}
_GEMINI_TOOLS: Final[Json] = {"tools": [{"functionDeclarations": [_GEMINI_TOOL]}]}


def _generation(**fields: Any) -> Json:
    return {"generationConfig": fields}


_GEMINI: Final[Mapping[str, Json]] = {
    "systemInstruction": {"systemInstruction": {"parts": [{"text": "Be terse."}]}},
    "generationConfig.temperature": _generation(temperature=0.5),
    "generationConfig.topP": _generation(topP=0.5),
    "generationConfig.topK": _generation(topK=7),
    "generationConfig.maxOutputTokens": _generation(maxOutputTokens=100),
    "generationConfig.stopSequences": _generation(stopSequences=["END", "STOP"]),
    "generationConfig.candidateCount": _generation(candidateCount=2),
    "generationConfig.presencePenalty": _generation(presencePenalty=0.5),
    "generationConfig.frequencyPenalty": _generation(frequencyPenalty=0.5),
    "generationConfig.seed": _generation(seed=7),
    "generationConfig.responseLogprobs": _generation(responseLogprobs=True),
    "generationConfig.logprobs": _generation(responseLogprobs=True, logprobs=2),
    "generationConfig.responseMimeType": _generation(responseMimeType="application/json"),
    "generationConfig.responseSchema": _generation(
        responseMimeType="application/json",
        responseSchema={"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
    ),
    "generationConfig.responseJsonSchema": _generation(responseMimeType="application/json", responseJsonSchema=_SCHEMA),
    "generationConfig.responseModalities": _generation(responseModalities=["TEXT", "IMAGE"]),
    "generationConfig.thinkingConfig.thinkingBudget": _generation(thinkingConfig={"thinkingBudget": 2048}),
    "generationConfig.thinkingConfig.thinkingLevel": _generation(thinkingConfig={"thinkingLevel": "HIGH"}),
    "generationConfig.thinkingConfig.includeThoughts": _generation(thinkingConfig={"includeThoughts": True}),
    "generationConfig.mediaResolution": _generation(mediaResolution="MEDIA_RESOLUTION_LOW"),
    "generationConfig.speechConfig": _generation(speechConfig={"languageCode": "en-US"}),
    "safetySettings": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]},
    "cachedContent": {"cachedContent": "cachedContents/7"},
    "serviceTier": {"serviceTier": "priority"},
    "tools": _GEMINI_TOOLS,
    "tools.googleSearch": {"tools": [{"googleSearch": {}}]},
    "tools.codeExecution": {"tools": [{"codeExecution": {}}]},
    "toolConfig: ANY": {**_GEMINI_TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    "toolConfig: NONE": {**_GEMINI_TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
    "toolConfig.allowedFunctionNames": {
        **_GEMINI_TOOLS,
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [WEATHER.name]}},
    },
    "contents.parts: inlineData": _parts({"inlineData": {"mimeType": "image/png", "data": _PNG}}),
    "contents.parts: fileData": _parts({"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}),
    "contents.parts: a document": _parts({"inlineData": {"mimeType": "application/pdf", "data": _PDF}}),
    "contents.parts: sound": _parts({"inlineData": {"mimeType": "audio/wav", "data": _WAV}}),
}

_COHERE: Final[Mapping[str, Json]] = {
    "temperature": {"temperature": 0.5},
    "p": {"p": 0.5},
    "k": {"k": 7},
    "max_tokens": {"max_tokens": 100},
    "stop_sequences": {"stop_sequences": ["END", "STOP"]},
    "seed": {"seed": 7},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "logprobs": {"logprobs": True},
    "response_format: json_object": {"response_format": {"type": "json_object"}},
    "response_format.json_schema": {"response_format": {"type": "json_object", "json_schema": _SCHEMA}},
    "tools": _CHAT_TOOLS,
    "tool_choice: REQUIRED": {**_CHAT_TOOLS, "tool_choice": "REQUIRED"},
    "tool_choice: NONE": {**_CHAT_TOOLS, "tool_choice": "NONE"},
    "strict_tools": {**_CHAT_TOOLS, "strict_tools": True},
    "documents": {"documents": [{"id": "a", "data": {"text": "Rome is old."}}]},
    "citation_options": {"citation_options": {"mode": "FAST"}},
    "safety_mode": {"safety_mode": "STRICT"},
    "thinking": {"thinking": {"type": "enabled", "token_budget": 2048}},
    "priority": {"priority": 7},
    "messages.content: image_url": _chat({"type": "image_url", "image_url": {"url": _PNG_URL}}),
}

_BEDROCK_TOOLS: Final[Json] = {
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    **{"name": WEATHER.name, "description": WEATHER.description},
                    "inputSchema": {"json": _SCHEMA},
                }
            }
        ]
    }
}
_CACHE_POINT: Final[Json] = {"cachePoint": {"type": "default"}}


def _tool_choice(choice: Json) -> Json:
    return {"toolConfig": {**_BEDROCK_TOOLS["toolConfig"], "toolChoice": choice}}


_BEDROCK: Final[Mapping[str, Json]] = {
    "system": {"system": [{"text": "Be terse."}]},
    "system.cachePoint": {"system": [{"text": "Be terse."}, _CACHE_POINT]},
    "inferenceConfig.maxTokens": {"inferenceConfig": {"maxTokens": 100}},
    "inferenceConfig.temperature": {"inferenceConfig": {"temperature": 0.5}},
    "inferenceConfig.topP": {"inferenceConfig": {"topP": 0.5}},
    "inferenceConfig.stopSequences": {"inferenceConfig": {"stopSequences": ["END", "STOP"]}},
    "toolConfig.tools": _BEDROCK_TOOLS,
    "toolConfig.tools.cachePoint": {"toolConfig": {"tools": [*_BEDROCK_TOOLS["toolConfig"]["tools"], _CACHE_POINT]}},
    "toolConfig.toolChoice: any": _tool_choice({"any": {}}),
    "toolConfig.toolChoice: tool": _tool_choice({"tool": {"name": WEATHER.name}}),
    "additionalModelRequestFields.top_k": {"additionalModelRequestFields": {"top_k": 7}},
    "additionalModelRequestFields.thinking": {
        "inferenceConfig": {"maxTokens": 4096},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
    },
    "additionalModelResponseFieldPaths": {"additionalModelResponseFieldPaths": ["/usage"]},
    "guardrailConfig": {"guardrailConfig": {"guardrailIdentifier": "g7", "guardrailVersion": "1"}},
    "performanceConfig": {"performanceConfig": {"latency": "optimized"}},
    "requestMetadata": {"requestMetadata": {"team": "seven"}},
    "serviceTier": {"serviceTier": {"type": "priority"}},
    "outputConfig": {
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": '{"type":"object","properties":{}}', "name": "place"}},
            }
        }
    },
    "promptVariables": {"promptVariables": {"name": {"text": "Bob"}}},
    "messages.content.cachePoint": _blocks(_CACHE_POINT),
    "messages.content: image": _blocks({"image": {"format": "png", "source": {"bytes": _PNG}}}),
    "messages.content: document": _blocks({"document": {"format": "pdf", "name": "a", "source": {"bytes": _PDF}}}),
}

PARAMETERS: Final[Mapping[Target, Mapping[str, Json]]] = {
    "openai": _OPENAI,
    "openai_responses": _RESPONSES,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
    "cohere": _COHERE,
    "bedrock": _BEDROCK,
}
"""By name as documents say it: the fields of a request that sets it."""
