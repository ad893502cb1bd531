"""A line to a server that can be cut, held and mended: what a dependency's death looks like to whoever uses it."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

Dial = Callable[[], socket.socket]
PIECE = 65_536


def to_socket(path: str) -> Dial:
    """Return what connects to a server on a socket of the file system."""

    def dial() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection

    return dial


def to_port(port: int) -> Dial:
    """Return what connects to a server on a port of loopback."""
    return lambda: socket.create_connection(("127.0.0.1", port), timeout=10)


class Relay:
    """Listens on a port of loopback, always the same, and passes everything on."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self._flows.set()
        self.cut()

    def mend(self) -> None:
        """Listen."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        for connection in list(self._open):
            _end(connection)
        self._open.clear()

    def hold(self) -> None:
        """Let everything hang: connections stay, and nothing passes."""
        self._flows.clear()

    def release(self) -> None:
        """Let it pass again."""
        self._flows.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            try:
                server = self._dial()
            except OSError:
                _end(caller)
                continue
            self._open |= {caller, server}
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(PIECE):
                self._flows.wait()
                other.sendall(data)
        for each in (one, other):
            _end(each)
            self._open.discard(each)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
