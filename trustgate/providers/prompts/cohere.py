"""Cohere's chat as policies read and change it: OpenAI's messages, with documents. https://docs.cohere.com/reference/chat"""

from typing import Any, Final

from trustgate.providers.prompts.gather import Gathered, a_list
from trustgate.providers.prompts.openai import ChatLens


class CohereLens(ChatLens):
    """Reads requests to chat."""

    max_output = ("max_tokens",)

    def gather_more(self, found: Gathered, asked: dict[str, Any]) -> None:
        """Documents are read like what a user says; what the model planned to do with tools is its thought."""
        found.within("user").anything(("documents",), asked.get("documents"))
        for index, message in enumerate(a_list(asked.get("messages"), "messages")):
            plan = message.get("tool_plan")
            found.within("assistant", index).text(("messages", index, "tool_plan"), plan, "thought")


LENS: Final = CohereLens()
