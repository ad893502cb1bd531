"""Gemini's generateContent as policies read and change it. https://ai.google.dev/api/generate-content

Its JSON takes names in camel case and in snake case alike (https://protobuf.dev/programming-guides/json/), and callers
send both.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import structs

from trustgate.contract.edits import REMOVED, Edits, Inserted, Path
from trustgate.contract.prompt import Function, OfferedTool, Prompt, Role
from trustgate.providers.prompts.gather import Gathered, a_list, a_name, an_object, fields
from trustgate.providers.prompts.tools import Place, joined, taken_away

_SYSTEM: Final = ("systemInstruction", "system_instruction")
_DECLARED: Final = ("functionDeclarations", "function_declarations")
_CONFIG: Final = ("toolConfig", "tool_config")
_CALLING: Final = ("functionCallingConfig", "function_calling_config")
_NAMES: Final = ("allowedFunctionNames", "allowed_function_names")
_COUNTED: Final = ("generateContentRequest", "generate_content_request")
"""How a request is wrapped whose tokens are to be counted."""
_DATA: Final = ("inlineData", "inline_data", "fileData", "file_data")


def named(value: Any, names: Sequence[str]) -> str:
    """Return under which of its names a field stands; the first where it stands under none."""
    return next((name for name in names if isinstance(value, dict) and value.get(name) is not None), names[0])


def field(value: Any, *names: str) -> Any:
    """Return a field under whichever of its names it stands."""
    return fields(value).get(named(value, names))


class GenerateLens:
    """Reads requests to generate content."""

    def read(self, body: Any) -> Prompt:
        """Return what a parsed body says. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        wrapped = named(asked, _COUNTED)
        if asked.get(wrapped) is not None:
            return _unwrapped(self.read(asked[wrapped]), wrapped)
        system = named(asked, _SYSTEM)
        found.within("system")
        gather_parts(found, asked.get(system), (system,))
        contents = _each("contents", asked.get("contents"), "contents")
        for index, (path, content) in enumerate(contents):
            found.within("assistant" if fields(content).get("role") == "model" else "user", index)
            gather_parts(found, content, path)
        gather_tools(found, asked)
        config = field(asked, "generationConfig", "generation_config")
        allowed = a_list(field(_calling(asked), *_NAMES), "the allowed functions")
        return found.prompt(
            messages=contents,
            max_output=field(config, "maxOutputTokens", "max_output_tokens"),
            choices=field(config, "candidateCount", "candidate_count"),
            tool_choice=allowed[0] if len(allowed) == 1 else "",
        )

    def with_tools(self, body: Any, functions: Sequence[Function]) -> Edits:
        """Return the edits that offer these functions too. Raises Unreadable."""
        tools = an_object(body, "the body").get("tools")
        offered = [_declared(each) for each in functions]
        for path, tool in _each("tools", tools, "tools"):
            name = named(tool, _DECLARED)
            declared = fields(tool).get(name)
            if declared and isinstance(declared, list):
                return {(*path, name, len(declared)): Inserted(*offered)}
        entry = {_DECLARED[0]: offered}
        if isinstance(tools, dict):
            return {("tools",): [tools, entry]}
        return {("tools", len(tools)): Inserted(entry)} if tools else {("tools",): [entry]}

    def without_tools(self, body: Any, drop: Callable[[OfferedTool], bool], *, keep_empty: bool = False) -> Edits:
        """Return the edits that take tools away; a list of functions that is left empty goes. Raises Unreadable."""
        asked, found = an_object(body, "the body"), Gathered()
        gather_tools(found, asked)
        edits, gone = taken_away(
            found.tools, drop, lists=[("tools",)], beside=[(name,) for name in _CONFIG], keep_empty=keep_empty
        )
        if not edits or ("tools",) in edits:
            return edits
        for at, tool in enumerate(asked["tools"] if isinstance(asked["tools"], list) else ()):
            mine = [each.path for each in found.tools if each.path[:2] == ("tools", at)]
            if mine and all(path in edits for path in mine) and len(fields(tool)) == 1:
                edits = {path: value for path, value in edits.items() if path not in mine} | {("tools", at): REMOVED}
        return edits | _choice_among(asked, gone)

    def with_system(self, body: Any, text: str, place: Place) -> Edits:
        """Return the edits that put a text before, behind or in the place of the system's. Raises Unreadable."""
        asked = an_object(body, "the body")
        name = named(asked, _SYSTEM)
        system = asked.get(name)
        parts = fields(system).get("parts")
        if isinstance(parts, list) and parts and place != "instead":
            return {(name, "parts", 0 if place == "before" else len(parts)): Inserted({"text": text})}
        old = system if isinstance(system, str) else ""
        return {(name,): {"parts": [{"text": joined(text, old, place)}]}}

    def with_conversation(self, body: Any, messages: Sequence[tuple[Role, str]]) -> Edits:
        """Return the edits that put other messages in the place of all; what the system says stands outside them."""
        system = [{"text": text} for role, text in messages if role == "system"]
        said = [
            {"role": "model" if role == "assistant" else "user", "parts": [{"text": text}]}
            for role, text in messages
            if role != "system"
        ]
        name = named(body, _SYSTEM)
        return {(name,): {"parts": system} if system else REMOVED, ("contents",): said}


def gather_parts(found: Gathered, content: Any, path: Path) -> None:
    """What one content says: its parts, or what stands in their place."""
    if content is None:
        return
    if not isinstance(content, dict):
        found.anything(path, content)
        return
    for place, part in _each("parts", content.get("parts"), "parts"):
        _gather_part(found, part, (*path, *place))


def _gather_part(found: Gathered, part: Any, path: Path) -> None:
    said = fields(part)
    if data := next((name for name in _DATA if said.get(name) is not None), ""):
        media = a_name(field(said[data], "mimeType", "mime_type")).partition("/")[0]
        kind = media if media in ("image", "audio", "video") else "file"
        found.attachment(path, kind, field(said[data], "fileUri", "file_uri"))
    elif isinstance(said.get("text"), str):
        found.text((*path, "text"), said["text"], "thought" if said.get("thought") is True else "text")
    elif (call := field(said, "functionCall", "function_call")) is not None:
        place = (*path, named(said, ("functionCall", "function_call")))
        made = fields(call)
        found.call(path, made.get("id"), made.get("name"), made.get("args"), (*place, "args"))
    elif (response := field(said, "functionResponse", "function_response")) is not None:
        _gather_response(found, fields(response), path, named(said, ("functionResponse", "function_response")))
    else:
        found.unknown(path, part)


def _gather_response(found: Gathered, response: dict[str, Any], path: Path, name: str) -> None:
    found.result(path, response.get("id") or response.get("name"), response.get("name"))
    role, found.role = found.role, "tool"
    found.anything((*path, name, "response"), response.get("response"), "tool_result")
    found.role = role


def gather_tools(found: Gathered, asked: dict[str, Any]) -> None:
    """The tools that a request offers: functions are declared in lists, everything else is the provider's own."""
    given = asked.get("tools")
    for path, tool in _each("tools", given, "tools"):
        offered = an_object(tool, "a tool")
        for name, value in offered.items():
            if name not in _DECLARED:
                found.tool((*path, name), name, builtin=True)
                continue
            for place, function in _each(name, value, "the declared functions"):
                found.tool((*path, *place), an_object(function, "a function").get("name"))


def _each(name: str, value: Any, what: str) -> list[tuple[Path, Any]]:
    """The items of a list with their places; a single one is taken for a list of one."""
    if isinstance(value, dict):
        return [((name,), value)]
    return [((name, at), item) for at, item in enumerate(a_list(value, what))]


def _unwrapped(prompt: Prompt, name: str) -> Prompt:
    pieces = tuple(structs.replace(piece, path=(name, *piece.path)) for piece in prompt.pieces)
    return structs.replace(prompt, pieces=pieces)


def _calling(asked: dict[str, Any]) -> Any:
    return field(field(asked, *_CONFIG), *_CALLING)


def _choice_among(asked: dict[str, Any], gone: frozenset[str]) -> dict[Path, Any]:
    """Of the functions that the model may call those go that are gone; where none is left, so does the insistence."""
    config = named(asked, _CONFIG)
    calling = named(asked.get(config), _CALLING)
    names = named(_calling(asked), _NAMES)
    allowed = a_list(fields(_calling(asked)).get(names), "the allowed functions")
    places = [at for at, name in enumerate(allowed) if name in gone]
    if places and len(places) == len(allowed):
        return {(config, calling): REMOVED}
    return {(config, calling, names, at): REMOVED for at in places}


def _declared(function: Function) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": function.name, "description": function.description}
    return {**declared, "parametersJsonSchema": dict(function.parameters)} if function.parameters else declared


LENS: Final = GenerateLens()
