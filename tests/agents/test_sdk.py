"""The official Python client, in each of its modes, before one server and before two that have the same names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.program import Admin, Program

from .kit import Agency, everything

pytestmark = pytest.mark.anyio
MODES = ("auto", "legacy", "2026-07-28")


@asynccontextmanager
async def client(agency: Agency, program: Program, mode: str, **more: Any) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"x-ag-api-key": agency.key.text}, trust_env=False, timeout=30) as http,
        Client(streamable_http_client(agency.url(program), http_client=http), mode=mode, **more) as made,
    ):
        yield made


def text_of(answer: Any) -> str:
    return "".join(part.text for part in answer.content)


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"username": "ann", "email": "a@b.c", "name": "Ann"})


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    said = {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"}
    return types.CreateMessageResult.model_validate(said)


@pytest.mark.parametrize("mode", MODES)
async def test_one_server(program: Program, admin: Admin, server: str, mode: str) -> None:
    agency = Agency(admin, {"one": server})
    seen: list[float] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with client(agency, program, mode, elicitation_callback=elicited, sampling_callback=sampled) as agent:
        names = [tool.name for tool in (await agent.list_tools()).tools]
        assert "test_simple_text" in names
        assert text_of(await agent.call_tool("echo", {"text": "hello"})) == "hello"
        assert text_of(await agent.call_tool("test_tool_with_progress", {}, progress_callback=heard)) == "done"
        assert seen == [0, 50, 100]
        assert (await agent.call_tool("test_error_handling", {})).is_error
        read = await agent.read_resource("test://template/7/data")
        assert "Data for ID: 7" in str(read.contents[0])
        prompt = await agent.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
        assert "arg1='a'" in str(prompt.messages[0])
        ref = types.PromptReference(name="test_prompt_with_arguments")
        completed = await agent.complete(ref, {"name": "arg1", "value": "par"})
        assert completed.completion.values == ["paris", "park", "party"]
        if mode == "legacy":
            assert "action=accept" in text_of(await agent.call_tool("test_elicitation", {"message": "who?"}))
            assert text_of(await agent.call_tool("test_sampling", {"prompt": "capital?"})) == "LLM response: Paris"
        else:
            answer = await agent.call_tool("test_input_required_result_elicitation", {})
            assert "Ann" in text_of(answer)


@pytest.mark.parametrize("mode", MODES)
async def test_two_servers_that_have_the_same_names(program: Program, admin: Admin, server: str, mode: str) -> None:
    with everything() as second:
        agency = Agency(admin, {"one": server, "two": second})
        seen: list[float] = []

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        async with client(agency, program, mode, elicitation_callback=elicited, sampling_callback=sampled) as agent:
            names = [tool.name for tool in (await agent.list_tools()).tools]
            assert "one_echo" in names
            assert "two_echo" in names
            assert "echo" not in names
            assert text_of(await agent.call_tool("two_echo", {"text": "hello"})) == "hello"
            done = await agent.call_tool("one_test_tool_with_progress", {}, progress_callback=heard)
            assert (text_of(done), seen) == ("done", [0, 50, 100])
            prompt = await agent.get_prompt("two_test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
            assert "arg1='a'" in str(prompt.messages[0])
            read = await agent.read_resource("test://template/7/data")
            assert "Data for ID: 7" in str(read.contents[0])
            ref = types.PromptReference(name="two_test_prompt_with_arguments")
            assert (await agent.complete(ref, {"name": "arg1", "value": "pa"})).completion.total == 3
            if mode == "legacy":
                assert "action=accept" in text_of(await agent.call_tool("two_test_elicitation", {"message": "who?"}))
                sampled_text = text_of(await agent.call_tool("one_test_sampling", {"prompt": "capital?"}))
                assert sampled_text == "LLM response: Paris"
            else:
                answer = await agent.call_tool("two_test_input_required_result_elicitation", {})
                assert "Ann" in text_of(answer)


async def test_a_key_that_is_not_the_consumers(program: Program, admin: Admin, server: str) -> None:
    agency = Agency(admin, {"one": server})
    agency.key.text = "ag_nobodys-key-at-all"
    with pytest.raises(Exception) as told:
        async with client(agency, program, "legacy") as agent:
            await agent.list_tools()
    assert told.value is not None
