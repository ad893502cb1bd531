"""Service accounts, against a token endpoint of ours that checks their signatures."""

import asyncio
import logging
from typing import Any

import jwt
import msgspec
import pytest

from trustgate.config.records import ProviderAuth
from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials import BadCredential, credential, project_of
from trustgate.settings import References

from .kit import Hand, Script, Server, call, header, json, pem, private_key, service_account, text

pytestmark = pytest.mark.anyio


def made(text: str, now: Hand | None = None, references: References | None = None) -> Any:
    """The credential of a key file."""
    auth = ProviderAuth(type="gcp_service_account", gcp_service_account=text)
    return credential(auth, service="", options={}, references=references or References(), now=now or Hand())[1]


async def test_a_token(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.gate.clear()
    found = made(service_account(f"{server.url}/token"))
    asking = [asyncio.create_task(found.authorise(call())) for _ in range(100)]
    await asyncio.to_thread(server.arrived.wait, 5)
    server.gate.set()
    assert {header(sent, b"authorization") for sent in await asyncio.gather(*asking)} == {"Bearer token-1"}
    [seen] = server.seen
    assert seen.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(
        seen.form["assertion"],
        private_key().public_key(),
        algorithms=["RS256"],
        audience="https://oauth2.googleapis.com/token",
    )
    assert claims["iss"] == "me@my-project.iam.gserviceaccount.com"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert not [secret for secret in ("token-1", pem().splitlines()[1]) if secret in caplog.text + repr(found)]


async def test_its_token_runs_out_and_is_refused(server: Server) -> None:
    clock = Hand()
    found = made(service_account(server.url), clock)
    await found.authorise(call())
    clock.turn(3595)
    assert header(await found.authorise(call()), b"authorization") == "Bearer token-2"
    clock.turn(60)
    found.rejected()
    assert header(await found.authorise(call()), b"authorization") == "Bearer token-3"


@pytest.mark.parametrize(
    ("script", "says", "retryable"),
    [
        (
            json(400, error="invalid_grant", error_description="leaked"),
            "refused the service account (invalid_grant)",
            False,
        ),
        (json(401, error="leaked"), "refused the service account", False),
        (text(b"<html>leaked</html>"), "no token", False),
        (text(b'["leaked"]'), "no token", False),
        (json(leaked="leaked"), "refused the service account", False),
        (json(access_token="x", expires_in="leaked"), "no token", False),
        (json(access_token="le\naked", expires_in=60), "without a token", False),
    ],
)
async def test_an_endpoint_that_goes_wrong(server: Server, script: Script, says: str, retryable: bool) -> None:
    server.script = script
    with pytest.raises(CannotAuthorise) as told:
        await made(service_account(server.url)).authorise(call())
    assert says in str(told.value)
    assert "leaked" not in str(told.value)
    assert told.value.retryable is retryable


async def test_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(CannotAuthorise, match="cannot be reached") as told:
        await made(service_account("http://127.0.0.1:1/token")).authorise(call())
    assert told.value.retryable


async def test_a_key_file_that_is_a_file(server: Server, tmp_path: Any) -> None:
    file = tmp_path / "key.json"
    file.write_text(service_account(server.url))
    references = References(folder=str(tmp_path))
    found = made(f"file:{file}", references=references)
    assert header(await found.authorise(call()), b"authorization") == "Bearer token-1"
    auth = ProviderAuth(type="gcp_service_account", gcp_service_account=f"file:{file}")
    assert project_of(auth, references) == "my-project"
    assert project_of(ProviderAuth(type="none"), references) == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": "external_account"}, "auth.gcp_service_account.type is not service_account"),
        ({"private_key": "leaked"}, "auth.gcp_service_account.private_key is no private key"),
        ({"token_uri": "file:///etc/passwd"}, "auth.gcp_service_account.token_uri is not an address"),
        ({"client_email": 7}, "$.client_email"),
    ],
)
def test_key_files_that_cannot_work(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCredential) as told:
        made(service_account("https://oauth2.googleapis.com/token", **changes))
    assert says in str(told.value)
    assert not [secret for secret in ("leaked", pem().splitlines()[1]) if secret in str(told.value)]


@pytest.mark.parametrize("given", ["", "{", "leaked", "[]", msgspec.json.encode({"type": "x"}).decode(), "[" * 10_000])
def test_what_is_no_key_file(given: str) -> None:
    with pytest.raises(BadCredential, match=r"auth\.gcp_service_account") as told:
        made(given)
    assert "leaked" not in str(told.value)
