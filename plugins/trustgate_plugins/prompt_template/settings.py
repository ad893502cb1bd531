"""Which templates there are, what fills them in, and what becomes of requests that use none."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field

from trustgate import PolicySettings
from trustgate_plugins.prompt_template.mustache import Part, names, parsed

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Text = Annotated[str, Meta(min_length=1, max_length=100_000, description="The template, in mustache.")]


class ContextVariable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway finds a value that no caller can choose in the body."""

    source: Annotated[
        Literal["header", "caller"],
        Meta(description="A header of the request, or what the gateway knows of its caller."),
    ]
    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="The header's name; of a caller `gateway`, `consumer`, `consumer_name` or `key`.",
        ),
    ]


class InjectedTemplate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the system says with every request."""

    id: Annotated[Name, Meta(description="What events call it.")]
    content: Text
    position: Annotated[Literal["system"], Meta(description="Where it stands.")] = "system"
    role: Annotated[Literal["system"], Meta(description="Who says it.")] = "system"
    on_existing_system: Annotated[
        Literal["merge", "replace"],
        Meta(description="Whether it stands before what a caller's system says, or instead."),
    ] = "merge"


class ClientVariable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller has to bring."""

    type: Annotated[Literal["string", "number", "boolean"], Meta(description="What it has to be.")] = "string"
    enum: Annotated[tuple[str | int | float | bool, ...], Meta(description="The values that are allowed.")] = ()
    max_length: Annotated[int, Meta(ge=0, description="The most characters of a string; 0 is any number.")] = 0


class TemplateVersion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a template."""

    labels: Annotated[tuple[Name, ...], Meta(min_length=1, description="What this version is asked for by.")]
    content: Text
    required_variables: Annotated[
        dict[Name, ClientVariable], Meta(description="The values that a caller has to bring in `properties`.")
    ] = {}


class NamedTemplate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template that a caller names in the place of a prompt."""

    name: Annotated[Name, Meta(description="What callers name.")]
    versions: Annotated[tuple[TemplateVersion, ...], Meta(min_length=1, description="Its versions.")]


class PromptTemplateSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Keeps prompts in the gateway: texts that the system says with every request, and prompts that callers name."""

    title: ClassVar[str] = "Prompt template"
    group = "Prompt Management"
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request"})

    template_engine: Annotated[Literal["mustache"], Meta(description="How templates are written.")] = "mustache"
    context_variables: Annotated[
        dict[Name, ContextVariable], Meta(description="Values that the gateway fills in, by their names in templates.")
    ] = field(default_factory=dict)
    inject_templates: Annotated[
        tuple[InjectedTemplate, ...], Meta(description="What the system says with every request, in this order.")
    ] = ()
    named_templates: Annotated[
        tuple[NamedTemplate, ...],
        Meta(description="Prompts that a caller names: `{template://name}` or `{template://name@label}`."),
    ] = ()
    allow_untemplated_requests: Annotated[
        bool, Meta(description="Whether a request may bring a prompt of its own.")
    ] = True
    on_missing_context_variable: Annotated[
        Literal["error", "empty_string", "skip_injection"],
        Meta(description="What becomes of a template for which the gateway finds no value."),
    ] = "error"
    on_missing_client_variable: Annotated[
        Literal["error", "empty_string"], Meta(description="What becomes of one for which the caller brings none.")
    ] = "error"
    default_label: Annotated[
        str, Meta(max_length=64, description="The version of a template that is named without a label.")
    ] = "production"
    escape_json_control_chars: Annotated[
        bool, Meta(description="Control characters in values are written as `\\u0007` and the like.")
    ] = True

    def __post_init__(self) -> None:
        if not (self.inject_templates or self.named_templates):
            raise ValueError("`inject_templates` or `named_templates` has to have a template")
        for name, variable in self.context_variables.items():
            if variable.source == "caller" and variable.name not in CALLER:
                raise ValueError(
                    f"`context_variables` {name!r}: a caller has no {variable.name!r}: use {_words(CALLER)}"
                )
        _once("inject_templates", [template.id for template in self.inject_templates])
        _once("named_templates", [template.name for template in self.named_templates])
        for template in self.named_templates:
            labels = [label for version in template.versions for label in version.labels]
            _once(f"the labels of {template.name}", labels)
        for injected, parts in zip(self.inject_templates, self.injected, strict=True):
            if unknown := names(parts) - self.context_variables.keys():
                raise ValueError(f"the template {injected.id!r} has a variable {min(unknown)!r} that nothing fills in")
        _ = self.versions

    @cached_property
    def injected(self) -> tuple[tuple[Part, ...], ...]:
        """The parts of the templates of every request."""
        return tuple(parsed(template.content) for template in self.inject_templates)

    @cached_property
    def versions(self) -> dict[tuple[str, str], tuple[TemplateVersion, tuple[Part, ...]]]:
        """The versions of the named templates, by name and label."""
        return {
            (template.name, label): (version, parsed(version.content))
            for template in self.named_templates
            for version in template.versions
            for label in version.labels
        }


CALLER = ("gateway", "consumer", "consumer_name", "key")


def _once(what: str, given: list[str]) -> None:
    if twice := [each for each in given if given.count(each) > 1]:
        raise ValueError(f"{what}: {twice[0]!r} is there more than once")


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
