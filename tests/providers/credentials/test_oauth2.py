"""OAuth 2.0 over a real socket: each grant as the standard writes it, and every way in which an endpoint goes wrong."""

import asyncio
from base64 import b64decode
from typing import Any
from urllib.parse import unquote_plus

import pytest

from trustgate.config.records import OAuth2Auth, ProviderAuth
from trustgate.contract.upstream import CannotAuthorise, Credential
from trustgate.providers.credentials import BadCredential, Credentials, credential
from trustgate.settings import References

from .kit import Hand, Script, Server, call, header, json, numbered, text

pytestmark = pytest.mark.anyio
CLIENT: dict[str, Any] = {"client_id": "me", "client_secret": "s3cr+t/ &=%:"}


def auth(server: Server, **fields: Any) -> ProviderAuth:
    """An auth that asks that server."""
    given = {"token_url": f"{server.url}/token", "grant_type": "client_credentials", **CLIENT, **fields}
    return ProviderAuth(type="oauth2", oauth=OAuth2Auth(**given))


def made(auth: ProviderAuth, now: Hand | None = None) -> Any:
    """The credential of an auth."""
    headers, found = credential(auth, service="", options={}, references=References(), now=now or Hand())
    assert headers == ()
    return found


async def token(found: Credential) -> str:
    """The token that a call is sent with."""
    return header(await found.authorise(call()), b"authorization")


async def failure(found: Credential) -> CannotAuthorise:
    """Why there is none; never with a secret in it."""
    with pytest.raises(CannotAuthorise) as told:
        await found.authorise(call())
    assert not [secret for secret in (CLIENT["client_secret"], "hunter2", "leaked") if secret in str(told.value)]
    return told.value


async def test_client_credentials(server: Server) -> None:
    fields = {"scopes": ("a", "b"), "audience": "https://api", "extra": {"resource": "r"}}
    assert await token(made(auth(server, **fields))) == "Bearer token-1"
    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", "/token")
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in seen.headers
    assert seen.form == {
        "grant_type": "client_credentials",
        **CLIENT,
        "scope": "a b",
        "audience": "https://api",
        "resource": "r",
    }


async def test_a_client_that_proves_itself_in_a_header(server: Server) -> None:
    await token(made(auth(server, use_basic_auth=True, client_id="a:b")))
    [seen] = server.seen
    assert seen.form == {"grant_type": "client_credentials"}
    name, _, secret = b64decode(seen.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (unquote_plus(name), unquote_plus(secret)) == ("a:b", CLIENT["client_secret"])


async def test_a_password(server: Server) -> None:
    fields = {"grant_type": "password", "username": "u", "password": "hunter2", "client_id": "", "client_secret": ""}
    assert await token(made(auth(server, **fields))) == "Bearer token-1"
    assert server.seen[0].form == {"grant_type": "password", "username": "u", "password": "hunter2"}


async def test_a_refresh_token_is_rotated(server: Server) -> None:
    server.script = numbered(access_token="t#", token_type="bearer", expires_in="60", refresh_token="r#")
    clock = Hand()
    found = made(auth(server, grant_type="refresh_token", refresh_token="r0"), clock)
    for number in (1, 2, 3):
        assert await token(found) == f"Bearer t{number}"
        clock.turn(61)
    assert [seen.form["refresh_token"] for seen in server.seen] == ["r0", "r1", "r2"]


async def test_a_refresh_token_that_is_not_rotated_stays(server: Server) -> None:
    clock = Hand()
    found = made(auth(server, grant_type="refresh_token", refresh_token="r0"), clock)
    for _ in range(2):
        await token(found)
        clock.turn(3600)
    assert [seen.form["refresh_token"] for seen in server.seen] == ["r0", "r0"]


async def test_one_token_for_a_hundred_calls_and_for_all_targets(server: Server) -> None:
    server.gate.clear()
    kept = Credentials()
    pairs = [kept.credential("registry", auth(server), service="", options={}) for _ in range(2)]
    first, second = (found for _, found in pairs)
    assert first is not None and first is second
    asking = [asyncio.create_task(token(first)) for _ in range(100)]
    await asyncio.to_thread(server.arrived.wait, 5)
    server.gate.set()
    assert await asyncio.gather(*asking) == ["Bearer token-1"] * 100
    assert len(server.seen) == 1


async def test_it_runs_out(server: Server) -> None:
    clock = Hand()
    found = made(auth(server), clock)
    assert await token(found) == "Bearer token-1"
    clock.turn(3000)
    assert await token(found) == "Bearer token-1"
    clock.turn(595)
    assert await token(found) == "Bearer token-2"


async def test_a_refused_token_is_dropped(server: Server) -> None:
    clock = Hand()
    found = made(auth(server), clock)
    await token(found)
    clock.turn(60)
    found.rejected()
    assert await token(found) == "Bearer token-2"


@pytest.mark.parametrize(
    ("script", "says", "retryable"),
    [
        (json(400, error="invalid_grant", error_description="leaked"), "status 400 (invalid_grant)", False),
        (json(401, error="invalid_client"), "status 401 (invalid_client)", False),
        (json(400, error="leaked"), "status 400", False),
        (json(429), "status 429", True),
        (json(503, error="temporarily_unavailable"), "status 503 (temporarily_unavailable)", True),
        (text(b"<html>leaked</html>", 500), "status 500", True),
        (text(b"<html>leaked</html>"), "no JSON object", False),
        (text(b"[" * 100_000), "no JSON object", False),
        (text(b'["leaked"]'), "no JSON object", False),
        (text(b""), "no JSON object", False),
        (text(b"x" * 300_000), "more than 256 KiB", False),
        (json(201, access_token="leaked"), "status 201", False),
        (text(b"", 302), "status 302", False),
        (json(), "without a token", False),
        (json(access_token=""), "without a token", False),
        (json(access_token=7), "without a token", False),
        (json(access_token="leaked\r\nx: y"), "without a token", False),
        (json(access_token="leakéd"), "without a token", False),
        (json(access_token="leaked", token_type="mac"), "no bearer token", False),
        (json(access_token="leaked", token_type=1), "no bearer token", False),
        (json(access_token="leaked", expires_in=0), "has run out", False),
        (json(access_token="leaked", expires_in=-5), "has run out", False),
        (json(access_token="leaked", expires_in="nan"), "has run out", False),
    ],
)
async def test_an_endpoint_that_goes_wrong(server: Server, script: Script, says: str, retryable: bool) -> None:
    server.script = script
    told = await failure(made(auth(server)))
    assert str(told).startswith("the token endpoint answered with")
    assert says in str(told)
    assert told.retryable is retryable
    assert len(server.seen) == 1


@pytest.mark.parametrize("said", [None, "soon", [], {}])
async def test_a_lifetime_that_nobody_tells(server: Server, said: object) -> None:
    server.script = numbered(access_token="t#", expires_in=said)
    clock = Hand()
    found = made(auth(server), clock)
    assert await token(found) == "Bearer t1"
    clock.turn(200)
    assert await token(found) == "Bearer t1"
    clock.turn(95)
    assert await token(found) == "Bearer t2"


async def test_it_recovers(server: Server) -> None:
    good, server.script = server.script, json(500)
    clock = Hand()
    found = made(auth(server), clock)
    await failure(found)
    await failure(found)
    assert len(server.seen) == 1
    server.script = good
    clock.turn(2)
    assert await token(found) == "Bearer token-1"
    assert len(server.seen) == 2


async def test_nobody_there() -> None:
    block = OAuth2Auth(token_url="http://127.0.0.1:1/token", grant_type="client_credentials", **CLIENT)
    told = await failure(made(ProviderAuth(type="oauth2", oauth=block)))
    assert str(told) == "the token endpoint cannot be reached (ConnectError)"
    assert told.retryable


async def test_secrets_are_looked_up_with_each_token(server: Server, tmp_path: Any) -> None:
    file = tmp_path / "secret"
    file.write_text("first")
    clock = Hand()
    references = References(folder=str(tmp_path))
    given = auth(server, client_secret=f"file:{file}")
    _, found = credential(given, service="", options={}, references=references, now=clock)
    assert found is not None
    await token(found)
    file.write_text("second")
    clock.turn(3600)
    await token(found)
    assert [seen.form["client_secret"] for seen in server.seen] == ["first", "second"]
    file.unlink()
    clock.turn(3600)
    told = await failure(found)
    assert f"auth.oauth.client_secret: file:{file} cannot be read" in str(told)
    assert told.retryable  # it may be there in a moment
    with pytest.raises(BadCredential):
        credential(given, service="", options={}, references=references)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"token_url": "ftp://x"}, "auth.oauth.token_url is not an address"),
        ({"token_url": "https://u:p@x/t"}, "auth.oauth.token_url must hold no credentials"),
        ({"token_url": "https://x/#f"}, "auth.oauth.token_url is not an address"),
        ({"token_url": "https://x:99999"}, "auth.oauth.token_url is not an address"),
        ({"client_id": ""}, "auth.oauth.client_id is missing"),
        ({"client_secret": ""}, "auth.oauth.client_secret is missing"),
        ({"username": "u"}, "auth.oauth.username is not used by grant_type client_credentials"),
        ({"refresh_token": "r"}, "auth.oauth.refresh_token is not used"),
        ({"grant_type": "refresh_token"}, "auth.oauth.refresh_token is missing"),
        ({"grant_type": "password", "username": "u"}, "auth.oauth.password is missing"),
        (
            {"grant_type": "password", "username": "u", "password": "p", "client_id": ""},
            "auth.oauth.client_id is missing",
        ),
        ({"grant_type": "refresh_token", "refresh_token": "r", "client_secret": "", "use_basic_auth": True}, "basic"),
        ({"scopes": ("a b",)}, "auth.oauth.scopes: 'a b' is no scope"),
        ({"extra": {"grant_type": "x"}}, "auth.oauth.extra may not have grant_type"),
    ],
)
def test_what_cannot_work(server: Server, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCredential) as told:
        made(auth(server, **fields))
    assert says in str(told.value)
    assert CLIENT["client_secret"] not in str(told.value)
