"""Prompts that the gateway keeps. A named one takes the place of the conversation, then system texts are added."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate import REMOVED, Body, Deny, Path, Proceed, Prompt, RequestContext, Verdict, hookimpl
from trustgate_plugins.prompt_template.mustache import rendered
from trustgate_plugins.prompt_template.settings import ClientVariable, PromptTemplateSettings, TemplateVersion

_REFERENCE: Final = re.compile(r"\{template://([A-Za-z0-9_.-]{1,64})(?:@([A-Za-z0-9_.-]{1,64}))?\}")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}


class _Unfit(Exception):
    """What a caller brings does not fill a template in."""

    def __init__(self, code: str, message: str, param: str = "properties") -> None:
        super().__init__(message)
        self.deny = Deny(code=code, message=message, status=400, param=param, retry=False)


class _Unresolved(Exception):
    """The gateway has no value for a variable."""


@hookimpl
def settings_type() -> type[PromptTemplateSettings]:
    return PromptTemplateSettings


@hookimpl
async def pre_request(ctx: RequestContext, settings: PromptTemplateSettings) -> Verdict:
    if ctx.operation.family != "chat" or ctx.operation.name == "completions":
        return None
    known = _context(ctx, settings)
    try:
        body, used = _named(ctx.body, settings, known)
        for template, parts in zip(settings.inject_templates, settings.injected, strict=True):
            try:
                text = rendered(parts, known, _unresolved(settings))
            except _Unresolved:
                continue
            place = "instead" if template.on_existing_system == "replace" else "before"
            edits = ctx.body.reader().with_system(body.json(), text, place)  # type: ignore[arg-type]
            body = _again(body, edits)
            used.append(template.id)
    except _Unfit as unfit:
        return unfit.deny
    return None if body is ctx.body else Proceed(body=body.raw, details={"templates": used})


def _named(body: Body, settings: PromptTemplateSettings, known: Mapping[str, str]) -> tuple[Body, list[str]]:
    """Put a named template in the place of the conversation. Raises _Unfit."""
    asked = _references(body.prompt())
    if len(asked) > 1:
        raise _Unfit("template_ambiguous", "This request names more than one template: name one.", "messages")
    if not asked:
        if not settings.allow_untemplated_requests:
            message = "This gateway answers only prompts that it keeps: name one as {template://name}."
            raise _Unfit("template_required", message, "messages")
        return body, []
    ((name, label),) = asked
    version = settings.versions.get((name, label or settings.default_label))
    if version is None:
        told = f"{name}@{label or settings.default_label}"
        raise _Unfit("template_not_found", f'This gateway has no template "{told}".', "messages")
    properties = body.json().get("properties")
    given = _checked(version[0], properties if isinstance(properties, dict) else {}, settings)
    values = {**given, **known}
    try:
        text = rendered(version[1], values, _missing(settings))
    except ValueError as error:
        raise _Unfit("template_render_failed", f"The template cannot be filled in: {error}.") from error
    edits = body.reader().with_conversation(body.json(), [("user", text)])
    gone: dict[Path, Any] = {("properties",): REMOVED} if properties is not None else {}
    return _again(body, {**edits, **gone}), [name]


def _again(body: Body, edits: Mapping[Path, Any]) -> Body:
    return Body(body.edited(edits), model=body.model, stream=body.stream, lens=body.lens)


def _references(prompt: Prompt) -> set[tuple[str, str]]:
    return {
        (found[1], found[2] or "")
        for piece in prompt.pieces
        if piece.kind == "text" and "{template://" in piece.text
        for found in _REFERENCE.finditer(piece.text)
    }


def _context(ctx: RequestContext, settings: PromptTemplateSettings) -> dict[str, str]:
    caller = ctx.caller
    told = {
        "gateway": caller.gateway_slug,
        "consumer": caller.consumer_slug,
        "consumer_name": caller.consumer_name,
        "key": caller.auth_name,
    }
    found = {
        name: ctx.header(variable.name) if variable.source == "header" else told[variable.name]
        for name, variable in settings.context_variables.items()
    }
    return {name: _safe(value, settings) for name, value in found.items() if value}


def _unresolved(settings: PromptTemplateSettings) -> Any:
    """What becomes of a variable that the gateway cannot fill in."""

    def missing(name: str) -> str:
        if settings.on_missing_context_variable == "empty_string":
            return ""
        if settings.on_missing_context_variable == "skip_injection":
            raise _Unresolved
        variable = settings.context_variables.get(name)
        needed = f"the header {variable.name}" if variable and variable.source == "header" else f'"{name}"'
        raise _Unfit("template_variable_unresolved", f"The prompts of this gateway need {needed}.", "headers")

    return missing


def _missing(settings: PromptTemplateSettings) -> Any:
    """What becomes of a variable that neither the caller nor the gateway fills in."""
    unresolved = _unresolved(settings)

    def missing(name: str) -> str:
        if name in settings.context_variables:
            try:
                return str(unresolved(name))
            except _Unresolved:
                return ""
        if settings.on_missing_client_variable == "empty_string":
            return ""
        raise _Unfit("template_variable_missing", f'The template needs "{name}" in `properties`.')

    return missing


def _checked(
    version: TemplateVersion, properties: Mapping[str, Any], settings: PromptTemplateSettings
) -> dict[str, Any]:
    """Return the caller's values, made harmless. Raises _Unfit for one that is missing or is not what it has to be."""
    for name, wanted in version.required_variables.items():
        value = properties.get(name)
        if value is None:
            if settings.on_missing_client_variable == "error":
                raise _Unfit("template_variable_missing", f'The template needs "{name}" in `properties`.')
            continue
        if problem := _problem(value, wanted):
            raise _Unfit("template_variable_invalid", f'"{name}" in `properties` {problem}.')
    safe: dict[str, Any] = {}
    for name, value in properties.items():
        safe[name] = _safe(value, settings) if isinstance(value, str) else value
    return safe


def _problem(value: Any, wanted: ClientVariable) -> str:
    if not isinstance(value, _TYPES[wanted.type]) or (wanted.type == "number" and isinstance(value, bool)):
        return f"has to be a {wanted.type}"
    if wanted.enum and value not in wanted.enum:
        return "has to be one of " + ", ".join(msgspec.json.encode(each).decode() for each in wanted.enum)
    if wanted.max_length and isinstance(value, str) and len(value) > wanted.max_length:
        return f"has more than {wanted.max_length} characters"
    return ""


def _safe(value: str, settings: PromptTemplateSettings) -> str:
    """A value without what a terminal or a model could take for something else than text."""
    if not settings.escape_json_control_chars:
        return value
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
