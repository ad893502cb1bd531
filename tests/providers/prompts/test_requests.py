"""Policies read all that a request says, in every dialect, and change what they mean to and nothing else."""

import json
from typing import Any

import pytest

from tests.providers.prompts.corpus import OPERATIONS, at, requests, strings
from trustgate import Function, OfferedTool, Unreadable
from trustgate.contract.edits import edited
from trustgate.providers.prompts import LENSES

CASES = [pytest.param(operation, body, id=name) for operation, name, body in requests()]
PROBE = Function(name="probe", description="How it is.", parameters={"type": "object", "properties": {}})
SAID = ("system", "instructions", "messages", "contents", "input", "systemInstruction", "system_instruction")
DIALECTS = sorted(OPERATIONS.values())
CHATS: dict[str, dict[str, Any]] = {
    "chat_completions": {"messages": [{"role": "user", "content": "Hello"}], "temperature": 1.0},
    "cohere_chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "responses": {"input": "Hello", "top_p": 0.10},
    "messages": {"max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]},
    "generate_content": {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    "converse": {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
}


def changed(body: Any, edits: Any) -> Any:
    return json.loads(edited(json.dumps(body).encode(), edits))


@pytest.mark.parametrize(("operation", "body"), CASES)
def test_every_piece_can_be_changed_in_its_place_and_nothing_else_changes(operation: str, body: Any) -> None:
    prompt = LENSES[operation]().read(body)
    for piece in prompt.pieces:
        assert str(at(body, piece.path)) == piece.text
    assert changed(body, {piece.path: at(body, piece.path) for piece in prompt.pieces}) == body
    marked = changed(body, {piece.path: f"#{index}" for index, piece in enumerate(prompt.pieces)})
    again = LENSES[operation]().read(marked)
    assert [piece.text for piece in again.pieces] == [f"#{index}" for index in range(len(prompt.pieces))]
    assert [(piece.path, piece.role, piece.kind) for piece in again.pieces] == [
        (piece.path, piece.role, piece.kind) for piece in prompt.pieces
    ]


@pytest.mark.parametrize(("operation", "body"), CASES)
def test_nothing_that_is_said_passes_unread(operation: str, body: Any) -> None:
    read = {piece.text for piece in LENSES[operation]().read(body).pieces}
    said = strings({name: body.get(name) for name in SAID})
    assert [text for text in said if text not in read] == []


@pytest.mark.parametrize(("operation", "body"), CASES)
def test_a_tool_that_is_offered_and_taken_away_leaves_no_trace(operation: str, body: Any) -> None:
    lens = LENSES[operation]()
    before = lens.read(body)
    more = changed(body, lens.with_tools(body, [PROBE]))
    assert [tool.name for tool in lens.read(more).tools if tool.name == "probe"] == ["probe"]
    assert len(lens.read(more).tools) == len(before.tools) + 1
    less = changed(more, lens.without_tools(more, lambda tool: tool.name == "probe"))
    assert [tool.name for tool in lens.read(less).tools] == [tool.name for tool in before.tools]
    if before.tools and isinstance(body.get("tools"), list):
        assert less == body
    none = changed(body, lens.without_tools(body, lambda tool: True))
    assert (lens.read(none).tools, lens.read(none).tool_choice) == ((), "")
    if before.tools:
        assert not {"tools", "toolConfig", "tool_choice", "parallel_tool_calls", "functions"} & none.keys()
    else:
        assert none == body


@pytest.mark.parametrize(("operation", "body"), CASES)
def test_a_system_text_stands_where_it_was_to_stand(operation: str, body: Any) -> None:
    lens = LENSES[operation]()
    old = lens.read(body).text("system")
    users = lens.read(body).text("user")
    for place in ("before", "behind", "instead"):
        new = lens.read(changed(body, lens.with_system(body, "Be brief.", place)))
        system = new.text("system")
        assert system.startswith("Be brief.") if place == "before" else system.endswith("Be brief.")
        assert (place == "instead") == (system == "Be brief.") or not old
        assert len(system) >= len(old) or place == "instead"
        assert new.text("user") == users


@pytest.mark.parametrize("operation", DIALECTS)
def test_another_conversation(operation: str) -> None:
    lens, body = LENSES[operation](), CHATS[operation]
    new = changed(body, lens.with_conversation(body, [("system", "Be brief."), ("user", "Why?"), ("assistant", "So.")]))
    assert {name: value for name, value in new.items() if name not in SAID} == {
        name: value for name, value in body.items() if name not in SAID
    }
    read = lens.read(new)
    assert (read.text("system"), read.text("user"), read.text("assistant")) == ("Be brief.", "Why?", "So.")


INSISTING: dict[str, dict[str, Any]] = {
    "chat_completions": {"tool_choice": {"type": "function", "function": {"name": "probe"}}},
    "cohere_chat": {},
    "responses": {"tool_choice": {"type": "function", "name": "probe"}},
    "messages": {"tool_choice": {"type": "tool", "name": "probe"}},
    "generate_content": {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["probe"]}}},
    "converse": {"toolChoice": {"tool": {"name": "probe"}}},
}


@pytest.mark.parametrize("operation", [each for each in DIALECTS if each != "cohere_chat"])
def test_an_insistence_goes_with_its_tool_and_stays_with_another(operation: str) -> None:
    lens = LENSES[operation]()
    body = changed(CHATS[operation], lens.with_tools(CHATS[operation], [PROBE, Function(name="time")]))
    if operation == "converse":
        body["toolConfig"] |= INSISTING[operation]
    else:
        body |= INSISTING[operation]
    assert lens.read(body).tool_choice == "probe"
    without_it = changed(body, lens.without_tools(body, lambda tool: tool.name == "probe"))
    assert [tool.name for tool in lens.read(without_it).tools] == ["time"]
    assert lens.read(without_it).tool_choice == ""
    without_other = changed(body, lens.without_tools(body, lambda tool: tool.name == "time"))
    assert lens.read(without_other).tool_choice == "probe"


@pytest.mark.parametrize("operation", [each for each in DIALECTS if each != "converse"])
def test_an_empty_list_can_be_kept(operation: str) -> None:
    lens = LENSES[operation]()
    body = changed(CHATS[operation], lens.with_tools(CHATS[operation], [PROBE]))
    assert changed(body, lens.without_tools(body, lambda tool: True, keep_empty=True))["tools"] == []


def test_several_allowed_tools_lose_those_that_are_gone() -> None:
    lens = LENSES["chat_completions"]()
    names = [{"type": "function", "function": {"name": name}} for name in ("probe", "time")]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": names}}
    body: dict[str, Any] = {"messages": [], "tools": names, "tool_choice": choice}
    left = changed(body, lens.without_tools(body, lambda tool: tool.name == "probe"))
    assert left["tool_choice"]["allowed_tools"]["tools"] == names[1:]


@pytest.mark.parametrize("body", [[], "x", {"messages": 1}, {"messages": [1]}, {"messages": [], "tools": "x"}])
def test_another_shape_cannot_be_read(body: Any) -> None:
    with pytest.raises(Unreadable):
        LENSES["chat_completions"]().read(body)


def test_parts_of_kinds_that_nobody_knows_are_read_too() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "novelty", "deep": {"er": ["a secret", 4711]}}]}]}
    assert [piece.text for piece in LENSES["chat_completions"]().read(body).pieces] == ["a secret", "4711"]


def test_results_are_told_by_the_name_of_their_call() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "How is it?"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "probe", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Rain"},
        ]
    }
    prompt = LENSES["chat_completions"]().read(body)
    assert [(result.call_id, result.name, result.message) for result in prompt.results] == [("c1", "probe", 2)]
    assert [piece.text for piece in prompt.last_user] == ["How is it?"]


def test_texts_of_operations_without_a_conversation() -> None:
    lens = LENSES["embeddings"]()
    body = {"input": ["one", "two"], "model": "m"}
    assert [piece.text for piece in lens.read(body).pieces] == ["one", "two"]
    assert lens.read({"input": [[1, 2], [3]]}).pieces == ()
    assert lens.without_tools(body, lambda tool: True) == {}
    with pytest.raises(Unreadable):
        lens.with_system(body, "x", "before")


def test_what_is_the_providers_own_is_told() -> None:
    tools: list[Any] = [{"type": "web_search"}, {"type": "function", "name": "probe"}]
    found = LENSES["responses"]().read({"input": "x", "tools": tools}).tools
    assert [(tool.name, tool.builtin) for tool in found] == [("web_search", True), ("probe", False)]
    assert isinstance(found[0], OfferedTool)
