"""One contract for every `Transport`, held by our pool on both event loops and by httpx's own transport; then what only
our pool promises, and the way between the two. The upstream is a raw server on the loopback that does what each test
tells it to, byte by byte.
"""

import asyncio
import datetime
import gzip
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVarTuple, cast

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.upstream import (
    Call,
    Clocks,
    FailureKind,
    Header,
    Origin,
    Transport,
    UpstreamFailure,
)
from trustgate.forwarding.arriving import Answer
from trustgate.forwarding.connection import HIGH_WATER, MAX_HEAD, Connection
from trustgate.forwarding.httpx_adapter import (
    HttpxAnswer,
    HttpxTransport,
    PoolTransport,
    Proxies,
    ProxyingTransport,
    make_transport,
)
from trustgate.forwarding.transport import Pool, PoolLimits

pytestmark = pytest.mark.anyio

SHORT = 0.06
BIG = bytes(range(256)) * 80_000  # 20 MB
POOLS = ("pool", "pool-uvloop")
only_pool = pytest.mark.parametrize("kind", POOLS)
on_asyncio = pytest.mark.parametrize("kind", POOLS[:1])


# The upstream.


class Peer:
    """The server's end of one connection, with the request that just came in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number  # of the connection, from 1
        self.head = b""
        self.body = b""

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
        await self.writer.drain()

    async def receive(self, *, body: bool = True) -> bool:
        """Read the next request; False when there is none."""
        try:
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        length = self.header(b"content-length")
        self.body = await self.reader.readexactly(int(length)) if body and length else b""
        return True

    def header(self, name: bytes) -> bytes | None:
        lines = self.head.lower().split(b"\r\n")[1:]
        return next((line[len(name) + 2 :] for line in lines if line.startswith(name + b": ")), None)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Handler = Callable[[Peer], Awaitable[object]]  # a true result keeps the connection


class Server:
    """A server that hands each request to the test, and knows which connections are open."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None, reads_body: bool = True) -> None:
        self.handler = handler
        self.tls = tls
        self.reads_body = reads_body
        self.seen: list[tuple[int, bytes, bytes]] = []  # connection, head, body
        self.connections = 0
        self.open = 0
        self.errors: list[Exception] = []
        self._change = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Server":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=2**20)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.wait_closed()
        assert self.errors == []

    async def count_open(self, wanted: int) -> None:
        """Wait until so many connections are open."""
        async with self._change, asyncio.timeout(5):
            await self._change.wait_for(lambda: self.open == wanted)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        await self._count(1)
        try:
            await self._converse(Peer(reader, writer, self.connections))
        except (ConnectionError, asyncio.CancelledError):  # the client left, or the test is over
            pass
        except AssertionError as error:
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()
            await self._count(-1)

    async def _count(self, change: int) -> None:
        self.open += change
        async with self._change:
            self._change.notify_all()

    async def _converse(self, peer: Peer) -> None:
        while await peer.receive(body=self.reads_body):
            self.seen.append((peer.number, peer.head, peer.body))
            if not await self.handler(peer):
                return


def ok(body: bytes = b"hello", *headers: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    lines = [b"HTTP/" + version + b" " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def always(answer: bytes, *, keep: bool = True) -> Handler:
    async def handler(peer: Peer) -> bool:
        await peer.send(answer)
        return keep

    return handler


def one_by_one(*handlers: Handler) -> Handler:
    """The n-th request, of whichever connection, goes to the n-th handler."""
    rest = iter(handlers)

    async def handler(peer: Peer) -> object:
        return await next(rest)(peer)

    return handler


def call_to(port: int, **changes: Any) -> Call:
    values: dict[str, Any] = {
        "method": "POST",
        "origin": Origin(scheme=changes.pop("scheme", "http"), host=changes.pop("host", "127.0.0.1"), port=port),
        "target": b"/v1/chat?x=%20y",
        "headers": [(b"authorization", b"Bearer k"), (b"X-Twice", b"1"), (b"X-Twice", b"2")],
        "body": b'{"model":"m"}',
    }
    return Call(**values | changes)


async def fetch(transport: Transport, call: Call) -> tuple[int, Sequence[Header], bytes]:
    answer = await transport.send(call)
    return answer.status, answer.headers, await answer.read()


async def failure_of(awaitable: Awaitable[object]) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await awaitable
    return caught.value


# Certificates.


class Identity:
    """A certificate of its own authority, for 127.0.0.1 and vendor.test."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "upstream")])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("vendor.test")]
        certificate = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(
            key, hashes.SHA256()
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.path = folder / "identity.pem"
        self.path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form) + self.pem)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="session")
def trusting(identity: Identity) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=identity.pem.decode())


# What is under test.


@pytest.fixture(params=[*POOLS, "httpx"])
def kind(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
def anyio_backend(kind: str) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": kind == "pool-uvloop"}


@pytest.fixture
async def transport(kind: str, trusting: ssl.SSLContext) -> AsyncIterator[Transport]:
    if kind == "httpx":
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport: Transport = HttpxTransport(httpx.AsyncHTTPTransport(verify=trusting, limits=limits))
    else:
        transport = Pool(ssl_context=trusting)
    yield transport
    await transport.aclose()


# The contract: requests.


async def test_a_request_arrives_as_it_was_called(transport: Transport) -> None:
    async with Server(always(ok())) as server:
        await fetch(transport, call_to(server.port))
        _, head, body = server.seen[0]
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/chat?x=%20y HTTP/1.1"
    sent = sorted((name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines[1:-2]))
    assert sent == [
        (b"authorization", b"Bearer k"),
        (b"content-length", b"13"),
        (b"host", b"127.0.0.1:%d" % server.port),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
    ]
    assert body == b'{"model":"m"}'


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", None), ("POST", b"0"), ("PATCH", b"0")])
async def test_only_methods_with_a_body_say_that_it_is_empty(
    transport: Transport, method: str, length: bytes | None
) -> None:
    async def handler(peer: Peer) -> bool:
        assert peer.header(b"content-length") == length
        await peer.send(ok())
        return True

    async with Server(handler) as server:
        status, _, _ = await fetch(transport, call_to(server.port, method=method, body=b"", headers=()))
        assert status == 200


async def test_big_bodies_go_both_ways(transport: Transport) -> None:
    async def echo(peer: Peer) -> bool:
        await peer.send(ok(peer.body))
        return True

    async with Server(echo) as server:
        for _ in range(2):
            assert (await fetch(transport, call_to(server.port, body=BIG)))[2] == BIG
        assert server.connections == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": [(b"x", b"a\r\ny: b")]},
        {"headers": [(b"x", b"a\nb")]},
        {"headers": [(b"x", b"a\rb")]},
        {"headers": [(b"x", b"a\0b")]},
        {"headers": [(b"x y", b"a")]},
        {"headers": [(b"", b"a")]},
        {"headers": [(b"x:", b"a")]},
        {"headers": [(b"x\r\ny", b"a")]},
        {"headers": [(b"Host", b"elsewhere")]},
        {"headers": [(b"content-length", b"1")]},
        {"headers": [(b"Transfer-Encoding", b"chunked")]},
        {"target": b"/a\r\nx: y"},
        {"target": b"/a HTTP/1.1"},
        {"target": b"v1"},
        {"method": "GET /"},
        {"scheme": "ftp"},
    ],
)
async def test_what_could_be_read_as_another_request_is_our_fault(
    transport: Transport, changes: dict[str, Any]
) -> None:
    async with Server(always(ok())) as server:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"not a|line break"):
                await transport.send(call_to(server.port, **changes))
        assert server.connections == 0


# The contract: answers.


async def test_an_answer_has_its_status_headers_and_body(transport: Transport) -> None:
    answer = ok(b"sorry", b"Content-Type: text/plain", b"Set-Cookie: a", b"SET-COOKIE: b", status=b"429 Slow Down")
    async with Server(always(answer)) as server:
        status, headers, body = await fetch(transport, call_to(server.port))
    assert (status, body) == (429, b"sorry")
    assert list(headers) == [
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"content-length", b"5"),
    ]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body", "reused"),
    [
        (CHUNKED + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n", b"hello!", True),
        (CHUNKED + b"0\r\n\r\n", b"", True),
        (ok(b""), b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(), b"hello", True),
        (ok(b"hello", b"Connection: close"), b"hello", False),
        (ok(b"hello", version=b"1.0"), b"hello", False),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", False),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"", False),
        (ok(gzip.compress(b"hello", mtime=0), b"Content-Encoding: gzip"), gzip.compress(b"hello", mtime=0), True),
    ],
)
async def test_an_answer_ends_where_it_says(transport: Transport, answer: bytes, body: bytes, reused: bool) -> None:
    async with Server(always(answer, keep=reused)) as server:
        for _ in range(3):
            _, headers, read = await fetch(transport, call_to(server.port))
            assert read == body
            assert b"link" not in dict(headers)
        assert server.connections == (1 if reused else 3)


async def test_an_answer_to_head_has_no_body(transport: Transport) -> None:
    head = ok(b"").replace(b"Length: 0", b"Length: 5")
    async with Server(one_by_one(always(head), always(ok()), always(head))) as server:
        assert (await fetch(transport, call_to(server.port, method="HEAD", body=b"")))[2] == b""
        assert (await fetch(transport, call_to(server.port)))[2] == b"hello"
        assert (await fetch(transport, call_to(server.port, method="HEAD", body=b"")))[2] == b""
        assert server.connections == 1


async def test_chunks_come_as_they_arrive(transport: Transport) -> None:
    taken = asyncio.Queue[bytes]()

    async def handler(peer: Peer) -> bool:
        await peer.send(CHUNKED)
        for word in (b"one", b"two", b"three"):
            await peer.send(b"%x\r\n%b\r\n" % (len(word), word))
            assert await taken.get() == word
        await peer.send(b"0\r\n\r\n")
        return True

    async with Server(handler) as server:
        answer = await transport.send(call_to(server.port))
        for _ in range(3):
            taken.put_nowait(await answer.chunk())
        assert await answer.chunk() == b""
        assert await answer.chunk() == b""
        await answer.aclose()
        assert taken.empty()


async def test_what_one_chunk_left_is_there_to_read(transport: Transport) -> None:
    more = asyncio.Event()

    async def handler(peer: Peer) -> bool:
        await peer.send(ok(b"x" * 10)[:-6])
        await more.wait()
        await peer.send(b"x" * 6)
        return True

    async with Server(handler) as server:
        answer = await transport.send(call_to(server.port))
        assert await answer.chunk() == b"xxxx"
        more.set()
        assert await answer.read() == b"x" * 6
        assert await answer.read() == b""


async def test_many_calls_at_once_keep_their_answers_apart(transport: Transport) -> None:
    async def echo(peer: Peer) -> bool:
        await peer.send(ok(peer.body))
        return True

    async with Server(echo) as server:
        bodies = [b"%d" % number for number in range(50)]
        answers = await asyncio.gather(*(fetch(transport, call_to(server.port, body=body)) for body in bodies))
        assert [answer[2] for answer in answers] == bodies


async def test_a_connection_closed_while_idle_is_not_used_again(transport: Transport) -> None:
    async with Server(always(ok(), keep=False)) as server:
        for number in range(3):
            assert (await fetch(transport, call_to(server.port)))[2] == b"hello"
            await server.count_open(0)
            assert server.connections == number + 1


# The contract: failures.


async def test_a_refused_connection(transport: Transport) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        failure = await failure_of(transport.send(call_to(unheard.getsockname()[1])))
    assert failure.kind == "connect_failed"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b"])
async def test_a_name_that_does_not_resolve(transport: Transport, host: str) -> None:
    assert (await failure_of(transport.send(call_to(80, host=host)))).kind == "connect_failed"


async def test_tls_with_a_trusted_certificate(transport: Transport, identity: Identity) -> None:
    async def echo(peer: Peer) -> bool:
        assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        await peer.send(ok(peer.body))
        return True

    async with Server(echo, tls=identity.server_context()) as server:
        for body in (b"small", BIG[:3_000_000], b"again"):
            assert (await fetch(transport, call_to(server.port, scheme="https", body=body)))[2] == body
        assert server.connections == 1
        await transport.aclose()
        await server.count_open(0)


async def test_tls_with_a_certificate_nobody_knows(
    transport: Transport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Server(always(ok()), tls=Identity(tmp_path).server_context()) as server:
        failure = await failure_of(transport.send(call_to(server.port, scheme="https")))
    assert failure.kind == "connect_failed"
    assert "certificate" in failure.detail


async def cut(peer: Peer) -> bool:
    return False


async def reset(peer: Peer) -> bool:
    peer.reset()
    return False


HALF = ok(b"x" * 10)[:-5]


@pytest.mark.parametrize(
    "handler",
    [
        cut,
        reset,
        always(b"HTTP/1.1 200 OK\r\nContent-Le", keep=False),
        always(b"HTTP/1.1 100 Continue\r\n\r\n", keep=False),
        always(HALF, keep=False),
        always(CHUNKED + b"5\r\nhello\r\n", keep=False),
        always(CHUNKED + b"5\r\nhel", keep=False),
    ],
)
async def test_a_connection_that_breaks_off(transport: Transport, handler: Handler) -> None:
    async with Server(handler) as server:
        assert (await failure_of(fetch(transport, call_to(server.port)))).kind == "connection_lost"
        assert server.connections == 1


async def test_what_came_before_the_break_is_delivered(transport: Transport) -> None:
    read = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.send(HALF)
        await read.wait()
        peer.reset()

    async with Server(handler) as server:
        answer = await transport.send(call_to(server.port))
        assert await answer.chunk() == b"xxxxx"
        read.set()
        for _ in range(2):
            assert (await failure_of(answer.chunk())).kind == "connection_lost"
        assert (await failure_of(answer.read())).kind == "connection_lost"
        await answer.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3 * MAX_HEAD,
        CHUNKED + b"xyz\r\nhello\r\n",
    ],
)
async def test_an_answer_that_is_not_http(transport: Transport, answer: bytes) -> None:
    async def handler(peer: Peer) -> None:
        await peer.send(answer)
        await peer.gone()

    async with Server(handler) as server:
        assert (await failure_of(fetch(transport, call_to(server.port)))).kind == "malformed_answer"
        await server.count_open(0)


# The contract: clocks.


def silent_after(*parts: bytes) -> Handler:
    async def handler(peer: Peer) -> None:
        await peer.send(*parts)
        await peer.gone()

    return handler


async def drip(peer: Peer) -> None:
    await peer.send(CHUNKED)
    while not peer.writer.is_closing():
        await peer.send(b"1\r\nx\r\n")
        await asyncio.sleep(SHORT / 10)


@pytest.mark.parametrize(
    ("handler", "clocks", "kind_of_failure"),
    [
        (silent_after(), Clocks(first_byte=SHORT), "first_byte_timeout"),
        (silent_after(b"HTTP/1.1 200 OK\r\nX: "), Clocks(first_byte=SHORT), "first_byte_timeout"),
        (silent_after(), Clocks(total=SHORT), "total_timeout"),
        (silent_after(HALF), Clocks(idle=SHORT, first_byte=5), "idle_timeout"),
        (silent_after(CHUNKED), Clocks(idle=SHORT, first_byte=5), "idle_timeout"),
        (silent_after(HALF), Clocks(total=SHORT, idle=5), "total_timeout"),
        (drip, Clocks(total=SHORT, idle=5), "total_timeout"),
    ],
)
async def test_a_clock_that_runs_out(
    transport: Transport, handler: Handler, clocks: Clocks, kind_of_failure: FailureKind
) -> None:
    async with Server(one_by_one(always(ok()), handler, always(ok()))) as server:
        await fetch(transport, call_to(server.port))
        async with asyncio.timeout(3):
            failure = await failure_of(fetch(transport, call_to(server.port, clocks=clocks)))
        assert failure.kind == kind_of_failure
        await server.count_open(0)
        assert (await fetch(transport, call_to(server.port)))[0] == 200


@pytest.mark.parametrize("reading", ["read", "chunk"])
async def test_the_idle_clock_starts_again_with_every_chunk(transport: Transport, reading: str) -> None:
    async def handler(peer: Peer) -> bool:
        await peer.send(CHUNKED)
        for _ in range(6):
            await asyncio.sleep(SHORT)
            await peer.send(b"1\r\nx\r\n")
        await peer.send(b"0\r\n\r\n")
        return True

    async with Server(handler) as server:
        answer = await transport.send(call_to(server.port, clocks=Clocks(first_byte=4 * SHORT, idle=4 * SHORT)))
        body = await answer.read() if reading == "read" else b"".join([await answer.chunk() for _ in range(6)])
        assert body == b"x" * 6


async def test_an_upstream_that_takes_nothing_of_a_big_body(transport: Transport) -> None:
    async def handler(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with Server(handler, reads_body=False) as server:
        call = call_to(server.port, body=BIG, clocks=Clocks(idle=SHORT))
        assert (await failure_of(transport.send(call))).kind == "idle_timeout"


async def test_a_handshake_that_nobody_answers(transport: Transport) -> None:
    async with Server(cut) as server:
        failure = await failure_of(transport.send(call_to(server.port, scheme="https", clocks=Clocks(connect=SHORT))))
        assert failure.kind == "connect_timeout"
        await server.count_open(0)


@only_pool  # under httpx, anyio forgets the socket of a cancelled handshake
async def test_a_handshake_counts_towards_the_total(transport: Transport) -> None:
    async with Server(cut) as server:
        failure = await failure_of(transport.send(call_to(server.port, scheme="https", clocks=Clocks(total=SHORT))))
        assert failure.kind == "total_timeout"
        await server.count_open(0)


# The contract: leaving.


@pytest.mark.parametrize("step", ["send", "chunk", "read"])
async def test_a_caller_who_is_cancelled_closes_the_connection(transport: Transport, step: str) -> None:
    asked = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.send(b"" if step == "send" else CHUNKED)
        asked.set()
        await peer.gone()

    async def caller() -> None:
        answer = await transport.send(call_to(server.port))
        await (answer.chunk() if step == "chunk" else answer.read())

    async with Server(handler) as server:
        task = asyncio.create_task(caller())
        await asked.wait()
        for _ in range(20):  # the head travels, too
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.count_open(0)


async def test_an_answer_given_up_closes_its_connection(transport: Transport) -> None:
    async with Server(silent_after(HALF)) as server:
        answer = await transport.send(call_to(server.port))
        await answer.aclose()
        await answer.aclose()
        await server.count_open(0)
        assert (await failure_of(answer.read())).kind == "connection_lost"


async def test_an_answer_read_out_leaves_its_connection(transport: Transport) -> None:
    async with Server(always(ok())) as server:
        for _ in range(3):
            answer = await transport.send(call_to(server.port))
            assert await answer.read() == b"hello"
            await answer.aclose()
        assert (server.connections, server.open) == (1, 1)


async def test_a_closed_transport_has_no_sockets(transport: Transport) -> None:
    async with Server(always(ok())) as server:
        await asyncio.gather(*(fetch(transport, call_to(server.port)) for _ in range(5)))
        await transport.aclose()
        await server.count_open(0)


# Our pool: connections used again.


@only_pool
async def test_a_call_is_sent_once_more_when_its_reused_connection_dies(transport: Transport) -> None:
    async with Server(one_by_one(always(ok()), cut, always(ok(b"again")))) as server:
        await fetch(transport, call_to(server.port))
        assert (await fetch(transport, call_to(server.port)))[2] == b"again"
        assert [number for number, _, _ in server.seen] == [1, 1, 2]


@only_pool
@pytest.mark.parametrize("ending", [cut, reset])
async def test_a_call_is_never_sent_a_third_time(transport: Transport, ending: Handler) -> None:
    async with Server(one_by_one(always(ok()), ending, ending)) as server:
        await fetch(transport, call_to(server.port))
        assert (await failure_of(transport.send(call_to(server.port)))).kind == "connection_lost"
        assert len(server.seen) == 3


@only_pool
async def test_a_call_that_was_heard_is_not_sent_again(transport: Transport) -> None:
    async with Server(one_by_one(always(ok()), always(b"H", keep=False))) as server:
        await fetch(transport, call_to(server.port))
        assert (await failure_of(transport.send(call_to(server.port)))).kind == "connection_lost"
        assert len(server.seen) == 2


@only_pool
async def test_bytes_after_the_answer_spoil_the_connection(transport: Transport) -> None:
    async with Server(one_by_one(always(ok() + ok()), always(ok() + b"garbage"), always(ok()))) as server:
        for number in (1, 2, 3):
            assert (await fetch(transport, call_to(server.port)))[2] == b"hello"
            assert server.connections == number


@only_pool
async def test_bytes_nobody_asked_for_close_an_idle_connection(transport: Transport) -> None:
    speak = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.send(ok())
        await speak.wait()
        await peer.send(ok(b"unasked"))
        await peer.gone()

    async with Server(one_by_one(handler, always(ok()))) as server:
        await fetch(transport, call_to(server.port))
        speak.set()
        await server.count_open(0)
        assert (await fetch(transport, call_to(server.port)))[2] == b"hello"


@only_pool
async def test_a_body_after_head_spoils_the_connection(transport: Transport) -> None:
    async with Server(always(ok())) as server:
        for number in (1, 2):
            assert (await fetch(transport, call_to(server.port, method="HEAD", body=b"")))[2] == b""
            assert server.connections == number
            await server.count_open(0)


@only_pool
async def test_the_freshest_connection_goes_first(transport: Transport) -> None:
    doors = [asyncio.Event(), asyncio.Event()]

    async def wait(peer: Peer) -> bool:
        await doors[peer.number - 1].wait()
        await peer.send(ok())
        return True

    async with Server(wait) as server:
        calls = [asyncio.create_task(fetch(transport, call_to(server.port))) for _ in doors]
        await server.count_open(2)
        for door in reversed(doors):
            door.set()
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            calls = [call for call in calls if not call.done()]
        await fetch(transport, call_to(server.port))
        assert server.seen[-1][0] == 1


# Our pool: its bounds.


async def together(transport: Transport, server: Server, calls: int) -> None:
    await asyncio.gather(*(fetch(transport, call_to(server.port)) for _ in range(calls)))


@pytest.fixture
async def limited(trusting: ssl.SSLContext) -> AsyncIterator[Callable[..., Pool]]:
    pools: list[Pool] = []

    def make(**limits: Any) -> Pool:
        pools.append(Pool(limits=PoolLimits(**limits), ssl_context=trusting))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


@only_pool
async def test_so_many_stay_idle_per_origin(limited: Callable[..., Pool]) -> None:
    async with Server(always(ok())) as server:
        await together(limited(idle_per_origin=2), server, 5)
        assert server.connections == 5
        await server.count_open(2)


@only_pool
async def test_so_many_stay_idle_in_all_and_the_oldest_go(limited: Callable[..., Pool]) -> None:
    pool = limited(idle=3)
    async with Server(always(ok())) as old, Server(always(ok())) as new:
        await together(pool, old, 3)
        await together(pool, new, 2)
        await old.count_open(1)
        await new.count_open(2)


@only_pool
async def test_an_idle_connection_expires(limited: Callable[..., Pool]) -> None:
    async with Server(always(ok())) as server:
        await together(limited(idle_expiry=SHORT), server, 3)
        await server.count_open(0)


@only_pool
async def test_an_expired_connection_is_not_taken(limited: Callable[..., Pool]) -> None:
    async with Server(always(ok())) as server:
        pool = limited(idle_expiry=0)
        for number in (1, 2):
            await fetch(pool, call_to(server.port))
            assert server.connections == number


@only_pool
@pytest.mark.parametrize("bound", [1, 3])
async def test_the_bound_on_connections_is_kept_first_come_first_served(
    limited: Callable[..., Pool], bound: int
) -> None:
    async def echo(peer: Peer) -> bool:
        await peer.send(ok(peer.body))
        return True

    pool = limited(open_per_origin=bound)
    async with Server(echo) as server:
        bodies = [b"%d" % number for number in range(20)]
        answers = await asyncio.gather(*(fetch(pool, call_to(server.port, body=body)) for body in bodies))
        assert [answer[2] for answer in answers] == bodies
        assert server.connections == bound
        if bound == 1:
            assert [body for _, _, body in server.seen] == bodies


@only_pool
async def test_who_waits_too_long_for_a_connection_is_told(limited: Callable[..., Pool]) -> None:
    pool = limited(open_per_origin=1)
    async with Server(one_by_one(silent_after(HALF), always(ok()))) as server:
        answer = await pool.send(call_to(server.port))
        failure = await failure_of(pool.send(call_to(server.port, clocks=Clocks(connect=SHORT))))
        assert failure.kind == "connect_timeout"
        waiting = asyncio.create_task(fetch(pool, call_to(server.port)))
        await asyncio.sleep(0)
        await answer.aclose()
        assert (await waiting)[2] == b"hello"


@only_pool
@pytest.mark.parametrize("handed_over", [False, True])
async def test_a_waiter_who_leaves_passes_his_turn_on(limited: Callable[..., Pool], handed_over: bool) -> None:
    pool = limited(open_per_origin=1)
    finish = asyncio.Event()

    async def slow(peer: Peer) -> bool:
        await finish.wait()
        await peer.send(ok())
        return True

    async with Server(slow) as server:

        async def lead() -> None:
            await fetch(pool, call_to(server.port))
            second.cancel()  # it was handed the connection just now

        first = asyncio.create_task(lead())
        second, third = (asyncio.create_task(fetch(pool, call_to(server.port))) for _ in range(2))
        await server.count_open(1)
        if not handed_over:
            second.cancel()
        finish.set()
        assert (await third)[2] == b"hello"
        await asyncio.wait([first, second])
        assert second.cancelled()
        assert (server.connections, len(server.seen)) == (1, 2)


@only_pool
async def test_the_second_attempt_stays_within_the_bound(limited: Callable[..., Pool]) -> None:
    pool = limited(open_per_origin=1)
    async with Server(one_by_one(always(ok()), cut, always(ok()), always(ok()))) as server:
        await fetch(pool, call_to(server.port))
        await together(pool, server, 2)
        assert [number for number, _, _ in server.seen] == [1, 1, 2, 3]


# Our pool: what it leaves behind.


@only_pool
async def test_closing_ends_what_is_under_way(limited: Callable[..., Pool]) -> None:
    pool = limited(open_per_origin=1)
    async with Server(silent_after(HALF)) as server:
        answer = await pool.send(call_to(server.port))
        waiting = asyncio.create_task(pool.send(call_to(server.port)))
        await asyncio.sleep(0)
        await pool.aclose()
        await pool.aclose()
        assert (await failure_of(answer.read())).kind == "connection_lost"
        assert (await failure_of(waiting)).kind == "connect_failed"
        for origin in ("127.0.0.1", "localhost"):
            assert (await failure_of(pool.send(call_to(server.port, host=origin)))).kind == "connect_failed"
        await server.count_open(0)
        assert server.connections == 1


Ts = TypeVarTuple("Ts")


class WatchedLoop(asyncio.SelectorEventLoop):
    """A loop that remembers every timer."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers.append(timer)
        return timer


def test_an_exchange_costs_no_timer(trusting: ssl.SSLContext) -> None:
    async def main() -> None:
        pool = Pool(ssl_context=trusting)
        async with Server(always(ok())) as server:
            await fetch(pool, call_to(server.port))
            before = len(loop.timers)
            for _ in range(20):
                await fetch(pool, call_to(server.port))
            assert len(loop.timers) == before
            await pool.aclose()

    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_nothing_of_ours_is_left(trusting: ssl.SSLContext) -> None:
    """After answers that were read, given up, cut and cancelled there are no sockets, tasks or timers."""

    async def main() -> None:
        pool = Pool(ssl_context=trusting)
        handlers = (always(ok()), silent_after(HALF), reset, silent_after())
        async with Server(one_by_one(*handlers)) as server:
            await fetch(pool, call_to(server.port))
            await (await pool.send(call_to(server.port))).aclose()
            await failure_of(pool.send(call_to(server.port)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.send(call_to(server.port)), SHORT)
            await pool.aclose()
            await server.count_open(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
        now = loop.time()
        assert [timer for timer in loop.timers if not timer.cancelled() and timer.when() > now] == []


@only_pool
async def test_a_refusal_stops_a_big_body(transport: Transport) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.send(ok(b"too large", status=b"413 Too Large"))
        await asyncio.sleep(SHORT)
        assert await peer.reader.read(len(BIG)) != BIG

    async with Server(refuse, reads_body=False) as server:
        status, _, body = await fetch(transport, call_to(server.port, body=BIG))
        assert (status, body) == (413, b"too large")


@only_pool
async def test_switching_protocols_is_not_an_answer(transport: Transport) -> None:
    for answer in (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 101 S\r\n\r\n"):
        async with Server(always(answer)) as server:
            assert (await failure_of(transport.send(call_to(server.port)))).kind == "malformed_answer"


@only_pool
async def test_a_slow_consumer_stops_the_upstream(transport: Transport) -> None:
    async with Server(always(ok(BIG))) as server:
        answer = await transport.send(call_to(server.port))
        assert isinstance(answer, Answer)
        waiting, chunks = -1, []
        while waiting < sum(map(len, answer.chunks)):  # until nothing more comes in
            waiting = sum(map(len, answer.chunks))
            await asyncio.sleep(SHORT)
        assert HIGH_WATER < waiting < 3 * HIGH_WATER
        while chunk := await answer.chunk():
            chunks.append(chunk)
        assert b"".join(chunks) == BIG


# One connection, without a network.


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True

    def write(self, data: Any) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        pass


class Nowhere:
    def __init__(self) -> None:
        self.kept = 0

    def freed(self, connection: Connection) -> None:
        self.kept += 1

    def closed(self, connection: Connection) -> None:
        self.kept -= 1


Outcome = tuple[int, list[Header], bytes, str | None, int]


async def play(parts: Iterable[bytes], method: str, *, ends: bool) -> Outcome:
    """What a call makes of an answer that arrives in these parts."""
    home, wire = Nowhere(), Wire()
    connection = Connection(home, asyncio.get_running_loop())
    connection.connection_made(wire)
    call = call_to(80, method=method)
    sending = asyncio.ensure_future(connection.exchange(call, b"head", asyncio.get_running_loop().time() + 60))
    await asyncio.sleep(0)
    for part in parts:
        connection.data_received(part)
    if ends:
        connection.eof_received()
    connection.fail("total_timeout", "nothing more will come")  # unless it ended already
    answer = await sending
    body = b"".join(answer.chunks)
    connection.close()
    connection.connection_lost(None)
    return answer.status, list(answer.headers), body, answer.fault and answer.fault[0], home.kept


ANSWERS = [
    ok(b"hello" * 50, b"X-One: 1", b"x-two: 2"),
    CHUNKED + b"5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: y\r\n\r\n" + ok(),
    b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    ok(b"closed", b"Connection: close"),
    ok()[:-1],
    CHUNKED + b"5\r\nhello\r\n5\r\nhel",
    CHUNKED + b"5\r\nhello\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: y\r\nno colon\r\n\r\n",
]


@given(st.sampled_from(ANSWERS), st.sampled_from(["GET", "HEAD"]), st.lists(st.integers(0, 400)), st.booleans())
def test_where_an_answer_is_split_makes_no_difference(answer: bytes, method: str, cuts: list[int], ends: bool) -> None:
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    parts = [answer[start:end] for start, end in pairwise(edges) if start < end]

    async def both() -> tuple[Outcome, Outcome]:
        return await play([answer], method, ends=ends), await play(parts, method, ends=ends)

    whole, split = asyncio.run(both())
    assert split[:4] == whole[:4]


# httpx's clients over our pool.


@pytest.fixture
async def client(trusting: ssl.SSLContext) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=PoolTransport(Pool(ssl_context=trusting)), timeout=5) as client:
        yield client


@only_pool
async def test_an_httpx_client_uses_our_pool(client: httpx.AsyncClient) -> None:
    zipped = ok(gzip.compress(b'{"a": 1}', mtime=0), b"Content-Encoding: gzip", b"Set-Cookie: a=b")

    async def numbers() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    async with Server(one_by_one(always(zipped), always(ok(b"x" * 100)))) as server:
        url = f"http://127.0.0.1:{server.port}/a/b?c=%20d"
        response = await client.post(url, json={"q": 1}, headers={"X-One": "1"})
        assert (response.json(), response.cookies["a"]) == ({"a": 1}, "b")
        async with client.stream("PUT", url, content=numbers()) as response:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b"x" * 100
        (_, first, asked), (_, second, counted) = server.seen
        assert first.startswith(b"POST /a/b?c=%20d HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"\r\nX-One: 1\r\n" in first
        assert (asked, counted) == (b'{"q":1}', b"12")
        assert b"transfer-encoding" not in second.lower()
        assert server.connections == 1


@only_pool
async def test_an_httpx_client_that_leaves_closes_the_connection(client: httpx.AsyncClient) -> None:
    async with Server(silent_after(HALF)) as server:
        async with client.stream("GET", f"http://127.0.0.1:{server.port}/"):
            pass
        await server.count_open(0)


@only_pool
@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (silent_after(), httpx.ReadTimeout),
        (silent_after(HALF), httpx.ReadTimeout),
        (cut, httpx.ReadError),
        (always(b"garbage\r\n\r\n"), httpx.RemoteProtocolError),
    ],
)
async def test_an_httpx_client_hears_of_failures_in_its_own_terms(
    client: httpx.AsyncClient, handler: Handler, error: type[Exception]
) -> None:
    async with Server(handler) as server:
        with pytest.raises(error):
            await client.get(f"http://127.0.0.1:{server.port}/", timeout=httpx.Timeout(None, read=SHORT))


# Our calls over an httpx transport.


@pytest.mark.parametrize("kind", ["httpx"])
@pytest.mark.parametrize(
    ("error", "kind_of_failure"),
    [
        (httpx.ConnectError("x"), "connect_failed"),
        (httpx.ProxyError("407"), "connect_failed"),
        (httpx.ConnectTimeout("x"), "connect_timeout"),
        (httpx.PoolTimeout("x"), "connect_timeout"),
        (httpx.ReadTimeout("x"), "first_byte_timeout"),
        (httpx.WriteTimeout("x"), "idle_timeout"),
        (httpx.ReadError("x"), "connection_lost"),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "connection_lost"),
        (httpx.RemoteProtocolError("illegal status line"), "malformed_answer"),
    ],
)
async def test_what_httpx_raises_has_a_name_here(error: Exception, kind_of_failure: FailureKind) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    failure = await failure_of(HttpxTransport(httpx.MockTransport(fail)).send(call_to(80)))
    assert failure.kind == kind_of_failure


@pytest.mark.parametrize("kind", ["httpx"])
async def test_a_mock_transport_can_stand_in() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1/v1/chat?x=%20y")
        return httpx.Response(201, json={"echo": request.content.decode()})

    status, headers, body = await fetch(HttpxTransport(httpx.MockTransport(answer)), call_to(80, body=b"hi"))
    assert (status, dict(headers)[b"content-type"]) == (201, b"application/json")
    assert body == b'{"echo":"hi"}'


# Proxies.


class Named:
    """A transport that answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def send(self, call: Call) -> HttpxAnswer:
        response = httpx.Response(200, text=self.name)
        return HttpxAnswer(response, call.clocks, asyncio.get_running_loop().time() + 1)

    async def aclose(self) -> None:
        self.name = "closed"


@on_asyncio
@pytest.mark.parametrize(
    ("no_proxy", "origin", "route"),
    [
        ("", "https://api.vendor.com:443", b"proxy"),
        ("", "http://api.vendor.com:80", b"pool"),
        ("", "https://localhost:443", b"pool"),
        ("", "https://127.0.0.1:443", b"pool"),
        ("*", "https://api.vendor.com:443", b"pool"),
        ("vendor.com", "https://api.vendor.com:443", b"pool"),
        (".Vendor.com", "https://API.vendor.com:443", b"pool"),
        ("*.vendor.com, other.com", "https://api.vendor.com:443", b"pool"),
        ("vendor.com", "https://myvendor.com:443", b"proxy"),
        ("vendor.com:8443", "https://vendor.com:443", b"proxy"),
        ("vendor.com:8443", "https://vendor.com:8443", b"pool"),
        ("10.0.0.0/8", "https://10.1.2.3:443", b"pool"),
        ("10.1.2.3", "https://10.1.2.3:443", b"pool"),
        ("10.1.2.3:80,fd00::/8", "https://10.1.2.3:443", b"proxy"),
        ("fd00::/8", "https://fd00::1:443", b"pool"),
        ("[fd00::1]:443", "https://fd00::1:443", b"pool"),
        (",nonsense/x", "https://10.1.2.3:443", b"proxy"),
    ],
)
async def test_no_proxy_names_what_is_reached_directly(no_proxy: str, origin: str, route: bytes) -> None:
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.rpartition(":")
    pool, proxy = Named("pool"), Named("proxy")
    transport = ProxyingTransport(pool, {"https": proxy}, no_proxy.split(","))
    for _ in range(2):
        assert (await fetch(transport, call_to(int(port), scheme=scheme, host=host)))[2] == route
    await transport.aclose()
    assert (pool.name, proxy.name) == ("closed", "closed")


@on_asyncio
async def test_a_call_takes_the_proxy_that_is_configured(trusting: ssl.SSLContext) -> None:
    async with Server(always(ok(b"from the proxy"))) as proxy, Server(always(ok(b"direct"))) as origin:
        proxies = Proxies(http=f"user:secret@127.0.0.1:{proxy.port}", no_proxy=("direct.test",))
        transport = make_transport(proxies, ssl_context=trusting)
        try:
            assert (await fetch(transport, call_to(80, host="vendor.test")))[2] == b"from the proxy"
            assert (await fetch(transport, call_to(origin.port)))[2] == b"direct"
        finally:
            await transport.aclose()
        _, head, body = proxy.seen[0]
        assert head.startswith(b"POST http://vendor.test/v1/chat?x=%20y HTTP/1.1\r\n")
        assert b"proxy-authorization: basic " in head.lower()
        assert body == b'{"model":"m"}'


@on_asyncio
async def test_a_call_over_tls_goes_through_a_tunnel(trusting: ssl.SSLContext, identity: Identity) -> None:
    async def tunnel(peer: Peer) -> bool:
        assert peer.head.startswith(b"CONNECT vendor.test:443 HTTP/1.1")
        await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        await peer.writer.start_tls(identity.server_context())
        while await peer.receive():
            await peer.send(ok(peer.head.split()[1] + peer.body))
        return False

    async with Server(tunnel) as proxy:
        transport = make_transport(Proxies(https=f"http://127.0.0.1:{proxy.port}"), ssl_context=trusting)
        call = call_to(443, scheme="https", host="vendor.test", body=b"!")
        try:
            for _ in range(2):
                assert (await fetch(transport, call))[2] == b"/v1/chat?x=%20y!"
        finally:
            await transport.aclose()
        assert proxy.connections == 1


@on_asyncio
async def test_without_a_proxy_there_is_only_our_pool(trusting: ssl.SSLContext) -> None:
    for proxies in (None, Proxies(), Proxies(no_proxy=("x",))):
        assert isinstance(make_transport(proxies, ssl_context=trusting), Pool)
