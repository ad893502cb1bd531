"""Which tools every request offers."""

from collections import Counter
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from trustgate import Function, PolicySettings


class InjectedFunction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function that a model may call."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="What the model calls it.")]
    description: Annotated[str, Meta(max_length=8192, description="What it does, for the model.")] = ""
    parameters: Annotated[dict[str, Any], Meta(description="Its arguments, as a JSON Schema of type `object`.")] = {}


class InjectedTool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool, as OpenAI's chat writes it."""

    function: Annotated[InjectedFunction, Meta(description="The function.")]
    type: Annotated[Literal["function"], Meta(description="What kind of tool it is.")] = "function"


class ToolInjectionSettings(PolicySettings, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Offers tools to the model with every request, beside those that the caller offers."""

    title: ClassVar[str] = "Tool injection"
    group = "Tool Governance"
    modes = ("enforce", "observe")
    mandatory: ClassVar[frozenset[str]] = frozenset({"pre_request"})

    inject_tools: Annotated[tuple[InjectedTool, ...], Meta(min_length=1, description="The tools, in OpenAI's form.")]
    on_conflict: Annotated[
        Literal["gateway_wins", "client_wins", "reject"],
        Meta(
            description="Whose tool is offered where a caller offers one of the same name, or whether that is refused."
        ),
    ] = "gateway_wins"

    def __post_init__(self) -> None:
        twice = [name for name, times in Counter(tool.function.name for tool in self.inject_tools).items() if times > 1]
        if twice:
            raise ValueError(f"`inject_tools` has {twice[0]!r} more than once")
        for tool in self.inject_tools:
            if tool.function.parameters.get("type", "object") != "object":
                raise ValueError(f"the parameters of {tool.function.name!r} have to be a JSON Schema of type `object`")

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The tools, in no dialect."""
        return tuple(
            Function(
                name=tool.function.name,
                description=tool.function.description,
                parameters={"type": "object", "properties": {}, **tool.function.parameters},
            )
            for tool in self.inject_tools
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """What the tools are called."""
        return frozenset(tool.function.name for tool in self.inject_tools)
