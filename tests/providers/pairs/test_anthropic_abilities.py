"""What the name of a model tells: as Anthropic, Bedrock and Google write it, and what nobody has named yet."""

import pytest

from trustgate.providers.hub import CannotSay, Losses
from trustgate.providers.pairs.openai_to_anthropic import PAIR
from trustgate.providers.pairs.openai_to_anthropic.abilities import Abilities, abilities_of
from trustgate.providers.pairs.openai_to_anthropic.schemas import followed

DISABLED = {"type": "disabled"}


@pytest.mark.parametrize(
    ("names", "thinks", "sampling", "forces_tools", "unthinking"),
    [
        (["claude-2.1", "claude-instant-1.2", "claude-3-opus-20240229"], "no", "free", True, None),
        (["claude-3-5-sonnet-20240620", "anthropic.claude-3-5-haiku-20241022-v1:0"], "no", "free", True, None),
        (["claude-3-7-sonnet-latest", "claude-opus-4-20250514", "claude-sonnet-4-0"], "budget", "free", True, None),
        (["claude-sonnet-4@20250514", "us.anthropic.claude-sonnet-4-20250514-v1:0"], "budget", "free", True, None),
        (["claude-opus-4-1", "claude-sonnet-4-5-20250929", "claude-haiku-4-5"], "budget", "one", True, None),
        (["claude-opus-4-6", "claude-sonnet-4-6"], "adaptive", "one", True, DISABLED),
        (
            ["claude-opus-4-7", "claude-opus-4-8", "global.anthropic.claude-opus-4-8-v1"],
            "adaptive",
            "none",
            True,
            DISABLED,
        ),
        (["claude-opus-5", "claude-sonnet-5", "claude-haiku-5-5"], "adaptive", "none", True, DISABLED),
        (["claude-sonnet-5-5"], "adaptive", "none", False, {"type": "between_tools"}),
        (["claude-opus-5-5", "claude-fable-5", "claude-mythos-preview"], "adaptive", "none", False, None),
        (["claude-fable-5-1", "claude-latest", "claude-opus-6"], "adaptive", "none", False, None),
    ],
)
def test_names(names: list[str], thinks: str, sampling: str, forces_tools: bool, unthinking: object) -> None:
    for name in names:
        found = abilities_of(name)
        told = (found.thinks, found.sampling, found.forces_tools, found.unthinking)
        assert (name, *told) == (name, thinks, sampling, forces_tools, unthinking)


def test_of_other_names_nothing_is_known() -> None:
    assert abilities_of("deepseek-v4") == abilities_of("") == Abilities(is_known=False)


@pytest.mark.parametrize(
    ("name", "strict"), [("claude-opus-4-1", True), ("claude-sonnet-4-0", False), ("claude-haiku-4-5", True)]
)
def test_schemas_are_followed_since(name: str, strict: bool) -> None:
    assert abilities_of(name).follows_schemas is strict


@pytest.mark.parametrize(
    ("model", "effort", "word", "lost"),
    [
        ("claude-opus-4-6", "max", "max", False),
        ("claude-opus-4-6", "minimal", "low", False),
        ("claude-opus-4-6", "xhigh", "high", True),
        ("claude-opus-5", "xhigh", "xhigh", False),
    ],
)
def test_efforts(model: str, effort: str, word: str, lost: bool) -> None:
    losses = Losses()
    hub = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort}
    assert PAIR.request(hub, losses)["output_config"] == {"effort": word}
    assert losses.paths == (("reasoning_effort",) if lost else ())


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("most", [None, 1025, 1500, 5000, 100_000])
def test_a_budget_leaves_room_for_an_answer(effort: str, most: int | None) -> None:
    hub = {"model": "claude-opus-4-1", "messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort}
    body = PAIR.request({**hub, "max_tokens": most}, Losses())
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"] <= (most or 32_000)


def test_what_is_given_as_thinking_is_said_in_the_nearest_way() -> None:
    hub = {"messages": [{"role": "user", "content": "Hi"}]}
    off = {**hub, "thinking": {"type": "disabled"}}
    losses = Losses()
    assert PAIR.request({**off, "model": "claude-sonnet-5-5"}, losses)["thinking"] == {"type": "between_tools"}
    assert PAIR.request({**off, "model": "claude-sonnet-4-5"}, losses)["thinking"] == {"type": "disabled"}
    assert not losses.paths
    assert PAIR.request({**off, "model": "claude-opus-5-5"}, losses)["output_config"] == {"effort": "low"}
    assert losses.paths == ("thinking",)


def test_no_more_tools_are_strict_than_may_be() -> None:
    tools = [{"type": "function", "function": {"name": f"f{at}", "strict": True}} for at in range(22)]
    losses = Losses()
    hub = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    told = PAIR.request(hub, losses)["tools"]
    assert [tool.get("strict", False) for tool in told] == [True] * 20 + [False] * 2
    assert losses.paths == ("tools.function.strict",)


def test_a_schema_without_end_is_refused() -> None:
    schema: dict[str, object] = {"type": "object"}
    schema["items"] = schema
    with pytest.raises(CannotSay, match="too deeply") as refused:
        followed(schema, "response_format.json_schema.schema", Losses())
    assert refused.value.param == "response_format.json_schema.schema"
