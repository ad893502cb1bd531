"""A caller that sees the wire: how an answer ended, in which pieces it came, and every header of it."""

import contextlib
import http.client
import json
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from .program import HOST, Json

TIMEOUT = 15.0
ERROR_KEYS = {"message", "type", "param", "code"}


class Answer:
    """One answer. `whole` is false when the connection ended before the body did."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.repeated = len(response.getheaders()) != len(self.headers)
        self.whole = True
        try:
            self.body = response.read()
        except http.client.IncompleteRead as cut:
            self.body, self.whole = cut.partial, False
        except ConnectionError:
            self.body, self.whole = b"", False

    def json(self) -> Json:
        """Return the body, which is a JSON object."""
        decoded = json.loads(self.body)
        assert isinstance(decoded, dict), decoded
        return decoded

    def error(self) -> Json:
        """Return OpenAI's error object, which has all four keys of the right types."""
        error = self.json()["error"]
        check_error(error)
        return dict(error)

    @property
    def trace_id(self) -> str:
        """Return the trace id that every answer has."""
        return self.headers["x-ag-trace-id"]

    def data(self) -> list[str]:
        """Return the data of the events of a stream."""
        return [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]


def check_error(error: Json) -> None:
    """Check that an error object is one that OpenAI's SDKs read: four keys, a message, a type and a code."""
    assert set(error) == ERROR_KEYS, error
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and error["type"] != "None"
    assert error["param"] is None or isinstance(error["param"], str)
    assert isinstance(error["code"], str) and error["code"] and not error["code"].isdigit()


def ask(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | Iterable[bytes] | None = None,
    *,
    chunked: bool = False,
) -> Answer:
    """Make one request, with exactly these headers besides host and the framing of the body."""
    given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in given}
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.putrequest(method, path, skip_host="host" in names, skip_accept_encoding=True)
        for name, value in given:
            connection.putheader(name, value)
        if chunked:
            connection.putheader("transfer-encoding", "chunked")
        elif isinstance(body, bytes) and "content-length" not in names:
            connection.putheader("content-length", str(len(body)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an early answer is still there to be read
            connection.endheaders(body, encode_chunked=chunked)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def chat(
    port: int,
    key: Mapping[str, str],
    body: object = None,
    *,
    path: str = "/my-app/v1/chat/completions",
    **headers: str,
) -> Answer:
    """Make one chat request; `body` is bytes, or fields to add to a small request."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else chat_body(**(body if isinstance(body, dict) else {}))
    return ask(port, "POST", path, {"content-type": "application/json", **key, **more}, raw)


def chat_body(**more: Any) -> bytes:
    """Return a small chat request."""
    fields: Json = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}], **more}
    return json.dumps(fields).encode()


class Wire:
    """A bare connection to the program."""

    def __init__(self, port: int, timeout: float = TIMEOUT) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout)
        self.received = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        for part in parts:
            self.socket.sendall(part)

    def head(self, key: Mapping[str, str], *lines: str, path: str = "/my-app/v1/chat/completions") -> None:
        """Send the head of a chat request with these lines in it."""
        known = [f"{name}: {value}" for name, value in key.items()]
        self.send("\r\n".join((f"POST {path} HTTP/1.1", "host: test", *known, *lines, "", "")).encode("latin-1"))

    def until(self, text: bytes) -> bytes:
        """Read until this has come, or the end; return all that was received so far."""
        while text not in self.received:
            data = self.socket.recv(65536)
            if not data:
                break
            self.received += data
        return self.received

    def rest(self) -> bytes:
        """Read to the end of the connection, whatever ends it; return all that was received."""
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                self.received += data
        return self.received

    def reset(self) -> None:
        """Break the connection off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
