"""Signatures, held against botocore's own; and roles, from a real STS endpoint of ours."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from trustgate.config.records import AwsAuth, ProviderAuth
from trustgate.contract.upstream import Call, CannotAuthorise, Origin, Payload, pieces
from trustgate.forwarding.transport import Pool
from trustgate.providers.credentials import BadCredential, Credentials, credential
from trustgate.providers.credentials.aws import LARGE, digest_of, who_am_i
from trustgate.settings import References

from .kit import Answer, Hand, Seen, Server, call, check_signature, header, serving, text

pytestmark = pytest.mark.anyio
ID, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session/token=="
ROLE = "arn:aws:iam::123456789012:role/team/bedrock"
KEYS: dict[str, Any] = {"access_key_id": ID, "secret_access_key": SECRET}


def auth(**fields: Any) -> ProviderAuth:
    """An auth of type aws."""
    return ProviderAuth(type="aws", aws=AwsAuth(region="eu-west-1", **fields))


def made(auth: ProviderAuth, sts_url: str = "", now: Hand | None = None, **given: Any) -> Any:
    """The credential of an auth."""
    options = {"sts_url": sts_url} if sts_url else {}
    fields = {"service": "bedrock", "references": References(), "holder": "0192-registry", **given}
    headers, found = credential(auth, options=options, now=now or Hand(), **fields)
    assert headers == ()
    return found


def arrived(sent: Call) -> Seen:
    """A call as it would arrive over TLS at the standard port, its body in one piece."""
    headers = {name.decode(): value.decode() for name, value in sent.headers}
    return Seen(
        method=sent.method,
        path=sent.target.decode(),
        headers=headers | {"host": sent.origin.host},
        body=b"".join(pieces(sent.body)),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"messages": []}',
        bytearray(b"abc"),
        (b'{"a":', memoryview(b"1"), b"", b"}"),
        (),
        (b"x" * LARGE, memoryview(b"y" * 7)),
    ],
    ids=["empty", "one", "bytearray", "pieces", "none", "large"],
)
@pytest.mark.parametrize(
    "target", [b"/", b"/model/a.b-v1%3A0/converse", b"/model/a:b/converse?z=1&a=%20&a=", b"/a//b/../c"]
)
async def test_it_is_what_botocore_signs(body: Payload, target: bytes) -> None:
    sent = await made(auth(**KEYS, session_token=SESSION)).authorise(call(body, target=target))
    assert check_signature(arrived(sent), SECRET, scheme="https") == f"{ID}/eu-west-1/bedrock"
    assert header(sent, b"x-amz-security-token") == SESSION
    assert (sent.body, sent.target, sent.method) == (body, target, "POST")


async def test_what_was_there_before_is_replaced_and_little_is_signed() -> None:
    old = ((b"Authorization", b"old"), (b"x-amz-date", b"old"), (b"X-Amz-Security-Token", b"old"), (b"accept", b"*/*"))
    sent = await made(auth(**KEYS)).authorise(call(b"", *old, (b"x-amz-meta", b" a  b ")))
    check_signature(arrived(sent), SECRET, scheme="https")
    names = [name.lower() for name, _ in sent.headers]
    assert names.count(b"authorization") == names.count(b"x-amz-date") == 1
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-meta," in header(sent, b"authorization")
    assert (b"accept", b"*/*") in sent.headers


async def test_a_changed_body_has_another_signature() -> None:
    sent = await made(auth(**KEYS)).authorise(call((b"a", b"b")))
    changed = Seen(**{**{f: getattr(arrived(sent), f) for f in ("method", "path", "headers")}, "body": b"ac"})
    with pytest.raises(AssertionError):
        check_signature(changed, SECRET, scheme="https")
    with pytest.raises(AssertionError):
        check_signature(arrived(sent), SECRET + "x", scheme="https")


@pytest.mark.parametrize("body", [b"one piece", (b"two ", b"pieces"), b""])
async def test_what_our_transport_sends_is_what_was_signed(body: Payload) -> None:
    with serving(text(b"fine")) as server:
        origin = Origin(scheme="http", host="127.0.0.1", port=server.port)
        pool = Pool()
        answer = await pool.send(await made(auth(**KEYS)).authorise(call(body, origin=origin)))
        assert (answer.status, await answer.read()) == (200, b"fine")
        await pool.aclose()
        [seen] = server.seen
        assert check_signature(seen, SECRET) == f"{ID}/eu-west-1/bedrock"


def test_pieces_are_hashed_as_one() -> None:
    assert digest_of((b"a", memoryview(b"b"), b"")) == digest_of(b"ab") == digest_of(bytearray(b"ab"))


async def test_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = made(auth(**KEYS, session_token=SESSION))
    await found.authorise(call())
    said = repr(found) + caplog.text
    assert not [secret for secret in (SECRET, SESSION) if secret in said]


async def test_keys_in_files_are_looked_up_again(tmp_path: Any) -> None:
    file = tmp_path / "secret"
    file.write_text("first")
    clock = Hand()
    given = auth(access_key_id=ID, secret_access_key=f"file:{file}")
    found = made(given, now=clock, references=References(folder=str(tmp_path)))
    check_signature(arrived(await found.authorise(call())), "first", scheme="https")
    file.write_text("second")
    check_signature(arrived(await found.authorise(call())), "first", scheme="https")
    clock.turn(60)
    check_signature(arrived(await found.authorise(call())), "second", scheme="https")


# Roles.


class Sts:
    """AWS's Security Token Service, as far as it is needed. It checks signatures."""

    def __init__(self) -> None:
        self.lifetime = 3600.0
        self.assumed = 0

    def __call__(self, seen: Seen) -> Answer:
        check_signature(seen, "host-secret")
        fields = parse_qs(seen.body.decode())
        assert fields["Action"] == ["AssumeRole"]
        self.assumed += 1
        until = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        return (
            200,
            "text/xml",
            f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
            <AccessKeyId>ASIA{self.assumed}</AccessKeyId><SecretAccessKey>role-secret-{self.assumed}</SecretAccessKey>
            <SessionToken>role-session-{self.assumed}</SessionToken><Expiration>{until:%Y-%m-%dT%H:%M:%SZ}</Expiration>
            </Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode(),
        )


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """STS, and a host that has an identity."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDHOST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "host-secret")
    with serving(Sts()) as server:
        yield server


def role(sts: Server, now: Hand | None = None) -> Any:
    """A credential that assumes a role."""
    return made(auth(use_role=True, role=ROLE), sts.url, now)


async def test_a_role_is_assumed_once_for_all(sts: Server) -> None:
    sts.gate.clear()
    found = role(sts)
    asking = [asyncio.create_task(found.authorise(call())) for _ in range(100)]
    await asyncio.to_thread(sts.arrived.wait, 5)
    sts.gate.set()
    for sent in await asyncio.gather(*asking):
        assert check_signature(arrived(sent), "role-secret-1", scheme="https") == "ASIA1/eu-west-1/bedrock"
        assert header(sent, b"x-amz-security-token") == "role-session-1"
    [seen] = sts.seen
    assert (seen.form["RoleArn"], seen.form["RoleSessionName"]) == (ROLE, "trustgate-0192-registry")
    assert "AKIDHOST/" in seen.headers["authorization"]
    assert "/eu-west-1/sts/" in seen.headers["authorization"]


async def test_a_role_is_assumed_again_before_its_keys_run_out(sts: Server) -> None:
    clock = Hand()
    found = role(sts, clock)
    await found.authorise(call())
    clock.turn(3595)
    assert "ASIA2/" in header(await found.authorise(call()), b"authorization")
    clock.turn(60)
    found.rejected()
    assert "ASIA3/" in header(await found.authorise(call()), b"authorization")


def fault(code: str) -> bytes:
    """How STS says no."""
    return f"<ErrorResponse><Error><Code>{code}</Code><Message>leaked</Message></Error></ErrorResponse>".encode()


@pytest.mark.parametrize(
    ("status", "body", "says", "retryable"),
    [
        (403, fault("AccessDenied"), "did not give the role: status 403 (AccessDenied)", False),
        (403, fault("leaked 1"), "did not give the role: status 403", False),
        (400, fault("Throttling"), "status 400 (Throttling)", True),
        (500, fault("InternalFailure"), "status 500 (InternalFailure)", True),
        (503, b"<html>leaked</html>", "status 503", True),
        (200, b"leaked", "holds no keys", False),
        (200, b"<A/>", "holds no keys", False),
    ],
)
async def test_an_sts_that_goes_wrong(sts: Server, status: int, body: bytes, says: str, retryable: bool) -> None:
    sts.script = text(body, status)
    with pytest.raises(CannotAuthorise) as told:
        await role(sts).authorise(call())
    assert says in str(told.value)
    assert "leaked" not in str(told.value)
    assert told.value.retryable is retryable


async def test_a_host_without_identity_and_an_sts_that_is_not_there(
    sts: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotAuthorise, match="cannot be asked") as told:
        await made(auth(use_role=True, role=ROLE), "http://127.0.0.1:1").authorise(call())
    assert told.value.retryable
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CannotAuthorise, match="this host has no identity of AWS") as told:
        await role(sts).authorise(call())
    assert not told.value.retryable
    assert not sts.seen


async def test_a_role_s_keys_are_not_told(sts: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = role(sts)
    await found.authorise(call())
    said = repr(found) + repr(found._keys) + repr(found._keys._value) + caplog.text
    assert not [secret for secret in ("role-secret", "role-session", "host-secret") if secret in said]


async def test_who_i_am(sts: Server) -> None:
    asked = who_am_i("eu-west-1", sts.url)
    sent = await made(auth(**KEYS), service="sts").authorise(asked)
    assert check_signature(
        Seen(
            method=sent.method,
            path=sent.target.decode(),
            headers={n.decode(): v.decode() for n, v in sent.headers} | {"host": f"127.0.0.1:{sts.port}"},
            body=b"".join(pieces(sent.body)),
        ),
        SECRET,
    ).endswith("/eu-west-1/sts")
    assert who_am_i("cn-north-1", "").origin.host == "sts.cn-north-1.amazonaws.com.cn"
    assert who_am_i("us-east-1", "").origin == Origin(scheme="https", host="sts.us-east-1.amazonaws.com", port=443)


# What cannot work.


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "auth.aws needs exactly one of"),
        ({**KEYS, "use_role": True, "role": ROLE}, "auth.aws needs exactly one of"),
        ({**KEYS, "role": ROLE}, "auth.aws needs exactly one of"),
        ({"access_key_id": ID}, "auth.aws.secret_access_key is missing"),
        ({"secret_access_key": SECRET}, "auth.aws.access_key_id is missing"),
        ({"session_token": SESSION}, "auth.aws.access_key_id is missing"),
        ({"role": ROLE}, "auth.aws.use_role must be true"),
        ({"use_role": True}, "auth.aws.role is no ARN"),
        ({"use_role": True, "role": "bedrock"}, "auth.aws.role is no ARN"),
        ({"use_role": True, "role": ROLE + " x"}, "auth.aws.role is no ARN"),
        ({"use_role": True, "role": "arn:aws:iam::1:role/x"}, "auth.aws.role is no ARN"),
        ({"use_role": True, "role": ROLE.replace("role/", "user/")}, "auth.aws.role is no ARN"),
    ],
)
def test_what_cannot_work(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCredential) as told:
        made(auth(**fields))
    assert says in str(told.value)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("region", ["", "mars", "us-east-1.evil.com", "US-EAST-1", "eu-west-1/x"])
def test_what_is_no_region(region: str) -> None:
    with pytest.raises(BadCredential, match=r"auth\.aws\.region"):
        made(ProviderAuth(type="aws", aws=AwsAuth(region=region, **KEYS)))


def test_each_use_has_a_credential_of_its_own(sts: Server) -> None:
    kept = Credentials()
    one = auth(**KEYS)
    found = [
        kept.credential(id_, each, service=service, options=options)[1]
        for id_, each, service, options in (
            ("a", one, "bedrock", {}),
            ("a", auth(**KEYS), "bedrock", {"region": "x"}),
            ("b", one, "bedrock", {}),
            ("a", one, "sts", {}),
            ("a", one, "bedrock", {"sts_url": sts.url}),
            ("a", auth(**KEYS, session_token="t"), "bedrock", {}),
        )
    ]
    assert found[0] is found[1]
    assert len({id(each) for each in found}) == 5
