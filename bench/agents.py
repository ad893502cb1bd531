"""What the MCP plane adds to a call of a tool: `python -m bench.agents` against a server on loopback.

One caller calls a tool a thousand times, at the server itself and by way of the gateway, in turns.
"""

import http.client
import json
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from tests.agents.kit import Agency, Agent, everything
from tests.e2e.program import HOST, running

TIMES, TURNS = 250, 4


class Line:
    """One connection that calls a tool again and again."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        host, _, path = url.removeprefix("http://").partition("/")
        self._connection = http.client.HTTPConnection(host)
        self._path, self._headers = f"/{path}", {**headers, "content-type": "application/json"}
        self.took: list[float] = []

    def call(self, times: int) -> None:
        """Call so many times, and keep how long each took (milliseconds)."""
        for number in range(times):
            asked = {"name": "echo", "arguments": {"text": "hello"}}
            body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": asked})
            began = time.perf_counter()
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse().read()
            self.took.append((time.perf_counter() - began) * 1000)
            assert b"hello" in answer, answer


def main() -> None:
    """Measure and print."""
    with (
        everything() as server,
        tempfile.TemporaryDirectory() as folder,
        running("run", folder=Path(folder) / "data") as program,
        program.admin() as admin,
    ):
        agency = Agency(admin, {"one": server})
        agency.gateway.policy("rate_limiter", agency.consumer, limit=10**9, window="1h")
        with Agent(server, "") as alone, Agent(agency.url(program), agency.key.text) as through:
            alone.begin()
            through.begin()
            lines = Line(alone.url, alone.headers), Line(through.url, through.headers)
            for _ in range(TURNS):
                for line in lines:
                    line.call(TIMES)
        print(f"| tools/call at {HOST} | p50, ms | p99, ms |\n|---|---:|---:|")
        for name, line in zip(("the server itself", "by way of the gateway, one policy"), lines, strict=True):
            print(f"| {name} | {median(line.took):.2f} | {quantiles(line.took, n=100)[98]:.2f} |")
        added = median(lines[1].took) - median(lines[0].took)
        print(f"\n{added:.2f} ms more (wanted: at most 1)")


if __name__ == "__main__":
    main()
