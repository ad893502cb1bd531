"""Token endpoints that do as they are told, over real sockets; and what checks a signature as AWS would."""

import datetime
import itertools
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Proof
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from trustgate.contract.upstream import Call, Origin, Payload


class Seen(Struct, frozen=True, kw_only=True):
    """A request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), strict_parsing=True).items()}


Answer = tuple[int, str, bytes]
Script = Callable[[Seen], Answer]


def json(status: int = 200, **fields: Any) -> Script:
    """Answer with JSON."""
    return lambda _: (status, "application/json", msgspec.json.encode(fields))


def numbered(**fields: Any) -> Script:
    """Answer with JSON whose texts have the number of the answer in place of `#`."""
    count = itertools.count(1)

    def answer(seen: Seen) -> Answer:
        number = str(next(count))
        said = {name: each.replace("#", number) if isinstance(each, str) else each for name, each in fields.items()}
        return json(200, **said)(seen)

    return answer


def tokens() -> Script:
    """Answer with `token-1`, `token-2` and so on, each for an hour."""
    return numbered(access_token="token-#", token_type="Bearer", expires_in=3600)


def text(body: bytes, status: int = 200) -> Script:
    """Answer with anything."""
    return lambda _: (status, "text/html", body)


class Server:
    """A server that answers by its script and counts. `gate` holds answers back while it is not set."""

    def __init__(self, script: Script, certificate: Path | None = None) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Say nothing."""

            def do_POST(self) -> None:
                """Answer."""
                outer._answer(self)

            do_GET = do_POST  # noqa: N815 - the base class looks for this name

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Go away."""
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", "0")))
        seen = Seen(method=handler.command, path=handler.path, headers=headers, body=body)
        self.seen.append(seen)
        self.arrived.set()
        self.gate.wait(10)
        status, kind, said = self.script(seen)
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)


@contextmanager
def serving(script: Script, certificate: Path | None = None) -> Iterator[Server]:
    """Serve for a while."""
    server = Server(script, certificate)
    try:
        yield server
    finally:
        server.stop()


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def turn(self, seconds: float) -> None:
        """Go on."""
        self.time += seconds


def call(body: Payload = b"{}", *headers: tuple[bytes, bytes], origin: Origin | None = None, **given: Any) -> Call:
    """A call to a provider, as forwarding makes it."""
    fields = {"method": "POST", "target": b"/model/amazon.nova-lite-v1%3A0/converse?b=2&a=1", **given}
    sent = ((b"content-type", b"application/json"), (b"user-agent", b"trustgate"), *headers)
    place = origin or Origin(scheme="https", host="bedrock-runtime.eu-west-1.amazonaws.com", port=443)
    return Call(origin=place, headers=sent, body=body, **fields)


def header(call_: Call, name: bytes) -> str:
    """The value of the only header of that name."""
    [value] = [value for key, value in call_.headers if key == name]
    return value.decode()


def check_signature(seen: Seen, secret: str, *, scheme: str = "http") -> str:
    """Compute the signature of what arrived and compare; return the scope. AWS does the same with what it gets."""
    said = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        seen.headers["authorization"],
    )
    assert said, seen.headers["authorization"]
    key, _, region, service, signed, signature = said.groups()
    names = [name for name in signed.split(";") if name != "host"]
    request = AWSRequest(
        method=seen.method,
        url=f"{scheme}://{seen.headers['host']}{seen.path}",
        headers={name: seen.headers[name] for name in names},
        data=seen.body,
    )
    signer = SigV4Auth(Proof(key, secret), service, region)
    request.context["timestamp"] = seen.headers["x-amz-date"]
    assert signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request) == signature
    assert "host" in signed.split(";")
    return f"{key}/{region}/{service}"


@lru_cache(maxsize=1)
def private_key() -> rsa.RSAPrivateKey:
    """A key that is made once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem() -> str:
    """The private key as key files have it."""
    return (
        private_key()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, with its key, signed by itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key().public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(private_key(), hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_text(pem() + made.public_bytes(serialization.Encoding.PEM).decode())
    return path


def service_account(address: str, **changes: Any) -> str:
    """A key file of a service account."""
    return msgspec.json.encode(
        {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "1",
            "private_key": pem(),
            "client_email": "me@my-project.iam.gserviceaccount.com",
            "token_uri": address,
            **changes,
        }
    ).decode()
