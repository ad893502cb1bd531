"""Entra: a service principal against an authority of ours over TLS, a managed identity against an endpoint of ours."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trustgate.config.records import AzureAuth, ProviderAuth
from trustgate.contract.upstream import CannotAuthorise
from trustgate.providers.credentials import BadCredential, credential, resolved_key
from trustgate.settings import References

from .kit import Hand, Script, Server, call, certificate, header, json, serving, text, tokens

pytestmark = pytest.mark.anyio
ENDPOINT = "https://my.openai.azure.com"
PRINCIPAL = {"client_id": "my-app", "client_secret": "its-secret", "tenant_id": "my-tenant"}


def auth(**fields: Any) -> ProviderAuth:
    """An auth of type azure."""
    return ProviderAuth(type="azure", azure=AzureAuth(endpoint=fields.pop("endpoint", ENDPOINT), **fields))


def made(auth: ProviderAuth, now: Hand | None = None) -> Any:
    """The credential of an auth."""
    return credential(auth, service="", options={}, references=References(), now=now or Hand())[1]


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Microsoft Entra, standing here."""
    path = certificate(tmp_path)
    with serving(tokens(), path) as server:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"127.0.0.1:{server.port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
        yield server


async def test_a_service_principal(entra: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    entra.gate.clear()
    found = made(auth(**PRINCIPAL))
    asking = [asyncio.create_task(found.authorise(call())) for _ in range(100)]
    await asyncio.to_thread(entra.arrived.wait, 5)
    entra.gate.set()
    assert {header(sent, b"authorization") for sent in await asyncio.gather(*asking)} == {"Bearer token-1"}
    [seen] = entra.seen
    assert seen.path == "/my-tenant/oauth2/v2.0/token"
    assert seen.form["grant_type"] == "client_credentials"
    assert (seen.form["client_id"], seen.form["client_secret"]) == ("my-app", "its-secret")
    assert seen.form["scope"] == "https://cognitiveservices.azure.com/.default"
    assert "its-secret" not in caplog.text + repr(found)
    assert "token-1" not in caplog.text


async def test_its_token_runs_out_and_is_refused(entra: Server) -> None:
    clock = Hand()
    found = made(auth(**PRINCIPAL), clock)
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
            json(401, error="invalid_client", error_description="AADSTS7000215: Invalid secret leaked."),
            "Microsoft Entra refused the identity (AADSTS7000215)",
            False,
        ),
        (json(400, error="leaked"), "Microsoft Entra", False),
        (text(b"<html>leaked</html>"), "Microsoft Entra", False),
        (text(b'["leaked"]'), "Microsoft Entra", False),
        (json(access_token=""), "Microsoft Entra", False),
        (json(503, error="leaked"), "Microsoft Entra answered with status 503", True),
    ],
)
async def test_an_entra_that_goes_wrong(entra: Server, script: Script, says: str, retryable: bool) -> None:
    entra.script = script
    with pytest.raises(CannotAuthorise) as told:
        await made(auth(**PRINCIPAL)).authorise(call())
    assert str(told.value).startswith(says)
    assert not [secret for secret in ("leaked", "its-secret") if secret in str(told.value)]
    assert told.value.retryable is retryable


async def test_an_entra_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "127.0.0.1:1")
    with pytest.raises(CannotAuthorise, match=r"^Microsoft Entra cannot be reached") as told:
        await made(auth(**PRINCIPAL)).authorise(call())
    assert told.value.retryable


async def test_a_managed_identity(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "the-host-s-header")
    expires_on = str(int(time.time()) + 3600)
    server.script = json(access_token="of-the-host", token_type="Bearer", expires_on=expires_on, resource="r")
    found = made(auth(use_managed_identity=True))
    assert header(await found.authorise(call()), b"authorization") == "Bearer of-the-host"
    [seen] = server.seen
    assert seen.headers["x-identity-header"] == "the-host-s-header"
    assert "resource=https://cognitiveservices.azure.com" in seen.path
    await found.authorise(call())
    assert len(server.seen) == 1


def test_a_key_is_a_key() -> None:
    key = auth(api_key="a-key")
    assert made(key) is None
    assert resolved_key(key, References()).api_key == "a-key"
    referred = auth(api_key="env:A_API_KEY")
    assert resolved_key(referred, References(variables={"A_API_KEY": "b"})).api_key == "b"
    assert resolved_key(auth(**PRINCIPAL), References()).api_key == ""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "auth.azure needs exactly one of"),
        ({"api_key": "k", **PRINCIPAL}, "auth.azure needs exactly one of"),
        ({"api_key": "k", "use_managed_identity": True}, "auth.azure needs exactly one of"),
        ({"use_managed_identity": True, "client_id": "x"}, "auth.azure needs exactly one of"),
        ({"client_id": "x"}, "auth.azure.client_secret, auth.azure.tenant_id missing"),
        ({**PRINCIPAL, "tenant_id": "a/b"}, "auth.azure.tenant_id may only have"),
        ({**PRINCIPAL, "client_id": "a b"}, "auth.azure.client_id may only have"),
        ({"api_key": "k", "endpoint": "my.openai.azure.com"}, "auth.azure.endpoint is not an address"),
        ({"api_key": "k", "endpoint": "https://a:b@c"}, "auth.azure.endpoint must hold no credentials"),
        ({"api_key": "k", "version": "1&x=y"}, "auth.azure.version is no API version"),
        ({"api_key": "a\nb"}, "auth.azure.api_key must be visible ASCII"),
    ],
)
def test_what_cannot_work(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCredential) as told:
        made(auth(**fields))
    assert says in str(told.value)
    assert "its-secret" not in str(told.value)
