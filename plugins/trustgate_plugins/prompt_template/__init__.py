"""Prompts that the gateway keeps. A named one takes the place of the conversation, then system texts are added."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trustgate import REMOVED, Body, Deny, Path, Proceed, Prompt, RequestContext, Verdict, hookimpl
from trustgate_plugins.prompt_template.mustache import Part, TooLong, rendered
from trustgate_plugins.prompt_template.settings import ClientVariable, PromptTemplateSettings, TemplateVersion

_REFERENCE: Final = re.compile(r"\{template://([A-Za-z0-9_.-]{1,64})(?:@([A-Za-z0-9_.-]{1,64}))?\}")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {"string": (str,), "number": (int, float), "boolean": (bool,)}


@hookimpl
def settings_type() -> type[PromptTemplateSettings]:
    return PromptTemplateSettings


@hookimpl
def pre_request(ctx: RequestContext, settings: PromptTemplateSettings) -> Verdict:
    if ctx.operation.family != "chat" or ctx.operation.name == "completions":
        return None
    known = _context(ctx, settings)
    used: list[str] = []
    body = _with_named(ctx.body, settings, known, used)
    for at in range(len(settings.inject_templates)):
        if isinstance(body, Deny):
            return body
        body = _with_injected(body, at, settings, known, used)
    if isinstance(body, Deny):
        return body
    return Proceed(body=body.raw, details={"templates": used}) if used else None


def _with_named(body: Body, settings: PromptTemplateSettings, known: Mapping[str, str], used: list[str]) -> Body | Deny:
    """Put the template that a request names in the place of its conversation."""
    asked = _references(body.prompt())
    if len(asked) > 1:
        return _deny("template_ambiguous", "This request names more than one template: name one.", "messages")
    if not asked:
        if settings.allow_untemplated_requests:
            return body
        message = "This gateway answers only prompts that it keeps: name one as {template://name}."
        return _deny("template_required", message, "messages")
    ((name, label),) = asked
    version = settings.versions.get((name, label or settings.default_label))
    if version is None:
        told = f"{name}@{label or settings.default_label}"
        return _deny("template_not_found", f'This gateway has no template "{told}".', "messages")
    text = _filled(version, body.json().get("properties"), settings, known)
    if isinstance(text, Deny):
        return text
    used.append(name)
    gone: dict[Path, Any] = {("properties",): REMOVED} if "properties" in body.json() else {}
    return body.changed({**body.reader().with_conversation(body.json(), [("user", text)]), **gone})


def _filled(
    version: tuple[TemplateVersion, tuple[Part, ...]],
    properties: Any,
    settings: PromptTemplateSettings,
    known: Mapping[str, str],
) -> str | Deny:
    """Return a named template with the caller's values and the gateway's, which win."""
    given = properties if isinstance(properties, dict) else {}
    if problem := _problem_of(version[0], given, settings):
        return problem
    safe = {name: _safe(value, settings) if isinstance(value, str) else value for name, value in given.items()}
    try:
        page = rendered(version[1], {**safe, **known})
    except TooLong as error:
        return _deny("template_render_failed", f"The template cannot be filled in: {error}.")
    for name in page.missing:
        if name in settings.context_variables and settings.on_missing_context_variable == "error":
            return _unresolved(name, settings)
        if name not in settings.context_variables and settings.on_missing_client_variable == "error":
            return _deny("template_variable_missing", f'The template needs "{name}" in `properties`.')
    return page.text


def _with_injected(
    body: Body, at: int, settings: PromptTemplateSettings, known: Mapping[str, str], used: list[str]
) -> Body | Deny:
    """Put one text before what the system says, or in its place."""
    template, page = settings.inject_templates[at], rendered(settings.injected[at], known)
    if page.missing and settings.on_missing_context_variable == "error":
        return _unresolved(page.missing[0], settings)
    if page.missing and settings.on_missing_context_variable == "skip_injection":
        return body
    used.append(template.id)
    if template.on_existing_system == "replace":
        return body.changed(body.reader().with_system(body.json(), page.text, "instead"))
    return body.changed(body.reader().with_system(body.json(), page.text, "before"))


def _deny(code: str, message: str, param: str = "properties") -> Deny:
    return Deny(code=code, message=message, status=400, param=param, retry=False)


def _unresolved(name: str, settings: PromptTemplateSettings) -> Deny:
    variable = settings.context_variables.get(name)
    needed = f"the header {variable.name}" if variable and variable.source == "header" else f'"{name}"'
    return _deny("template_variable_unresolved", f"The prompts of this gateway need {needed}.", "headers")


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


def _problem_of(version: TemplateVersion, given: Mapping[str, Any], settings: PromptTemplateSettings) -> Deny | None:
    """Say what is missing of a caller's values, or is not what it has to be."""
    for name, wanted in version.required_variables.items():
        value = given.get(name)
        if value is None and settings.on_missing_client_variable == "error":
            return _deny("template_variable_missing", f'The template needs "{name}" in `properties`.')
        if value is not None and (problem := _problem(value, wanted)):
            return _deny("template_variable_invalid", f'"{name}" in `properties` {problem}.')
    return None


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
