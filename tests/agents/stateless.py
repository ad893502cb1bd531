"""A server that speaks 2026-07-28 and nothing else."""

import json
from typing import Any

from .scripted import Scripted

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Stateless(Scripted):
    """A server that speaks 2026-07-28 and nothing else. Its tool `ask` needs to know a name first."""

    def __init__(self) -> None:
        super().__init__("modern", tools=("look", "ask"))
        self.say = self.speak

    def speak(self, message: dict[str, Any]) -> tuple[int, str, bytes]:
        headers, method = self.headers[-1], message.get("method", "")
        if headers.get("mcp-protocol-version") != "2026-07-28" or "mcp-session-id" in headers:
            wrong = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}}
            return 400, "application/json", json.dumps({"jsonrpc": "2.0", "id": 1, "error": wrong}).encode()
        assert headers["mcp-method"] == method
        given = message["params"]
        assert given["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        found: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if method == "server/discover":
            found |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            found |= self.answer(message)
        elif given["name"] == "ask" and "inputResponses" not in given:
            form = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
            asked = {"name": {"method": "elicitation/create", "params": form}}
            found = {"resultType": "input_required", "inputRequests": asked, "requestState": "s1"}
        elif given["name"] == "ask":
            assert given["requestState"] == "s1"
            who = given["inputResponses"]["name"]["content"]["name"]
            found |= {"content": [{"type": "text", "text": f"hello {who}"}]}
        else:
            found |= self.answer(message)
        body = {"jsonrpc": "2.0", "id": message["id"], "result": found}
        return 200, "application/json", json.dumps(body).encode()
