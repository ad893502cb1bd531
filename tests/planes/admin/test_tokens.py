"""Tokens: whoever did not sign with our secret, or did not say until when, is nobody."""

import base64
import json
import time
import warnings
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from trustgate.contract.errors import Refused
from trustgate.planes.admin.services.work import Principal
from trustgate.planes.admin.tokens import authenticate, mint_token

from .api import SECRET, Api

pytestmark = pytest.mark.anyio


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are in order, but for `more`; None takes one away."""
    now = int(time.time())
    given: dict[str, Any] = {"sub": "admin", "iat": now, "exp": now + 60, **more}
    return {name: value for name, value in given.items() if value is not None}


def signed(**more: Any) -> str:
    """A token that we signed."""
    return jwt.encode(claims(**more), SECRET, algorithm="HS256")


def part(value: Any) -> str:
    """A part of a token, made by hand."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def refused(api: Api, header: str) -> str:
    """The message with which a header is refused."""
    answer = await api.no("GET", "/v1/gateways", headers={"authorization": header}, code="unauthorized")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    return answer.message


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Authorization required"),
        ("  ", "Authorization required"),
        ("Bearer", "Empty token provided"),
        ("Bearer   ", "Empty token provided"),
        ("Basic abc", "Invalid authorization format"),
        ("bearer abc", "Invalid authorization format"),
        ("abc", "Invalid authorization format"),
        ("Bearerabc", "Invalid authorization format"),
        ("Bearer abc", "Invalid token"),
        ("Bearer a.b.c", "Invalid token"),
        ("Bearer a.b.c.d", "Invalid token"),
    ],
)
async def test_headers(api: Api, header: str, message: str) -> None:
    assert await refused(api, header) == message


async def test_no_header_at_all(api: Api, client: Any) -> None:
    answer = await client.get("/v1/gateways")
    assert (answer.status_code, answer.json()["message"]) == (401, "Authorization required")


@pytest.mark.parametrize(
    "more",
    [
        {"exp": None},
        {"exp": int(time.time()) - 1},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": -1},
        {"iat": int(time.time()) + 86_400},
        {"iat": "now"},
        {"iat": [1]},
        {"nbf": int(time.time()) + 86_400},
        {"tenant_id": 7},
        {"tenant_id": ["a"]},
        {"sub": 7},
    ],
)
async def test_claims_that_are_not_in_order(api: Api, more: dict[str, Any]) -> None:
    assert await refused(api, f"Bearer {signed(**more)}") == "Invalid token"


@pytest.mark.parametrize("more", [{"purpose": "playground"}, {"token_use": "admin_m2m"}])
async def test_tokens_for_something_else(api: Api, more: dict[str, Any]) -> None:
    assert await refused(api, f"Bearer {signed(**more)}") == "Token not valid for admin API"


async def test_claims_that_no_encoder_would_write(api: Api) -> None:
    for body in (b'{"exp":1e400}', b'{"exp":NaN}', b"[]", b'"x"', b"[" * 5000, b'{"exp":9e99,"iat":NaN}'):
        payload = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
        head = part({"alg": "HS256", "typ": "JWT"})
        import hmac  # noqa: PLC0415 - only this test signs by hand

        mac = hmac.digest(SECRET.encode(), f"{head}.{payload}".encode(), "sha256")
        token = f"{head}.{payload}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert await refused(api, f"Bearer {token}") == "Invalid token", body


async def test_signatures_that_are_not_ours(api: Api) -> None:
    good = signed()
    head, body, signature = good.split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the key is meant to be one that nobody should use
        foreign = jwt.encode(claims(), "another-secret-key-of-somebody-else-00000", algorithm="HS256")
        longer = jwt.encode(claims(), SECRET, algorithm="HS512")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for token in (
        foreign,
        longer,
        jwt.encode(claims(), private, algorithm="RS256"),
        jwt.encode(claims(), "", algorithm="none"),
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{part(claims(sub='root'))}.{signature}",
        f"{part({'alg': 'none'})}.{body}.{signature}",
        f"{part({'alg': 'none'})}.{body}.",
        f"{part({'alg': 'HS256', 'crit': ['x']})}.{body}.{signature}",
        f"{part([])}.{body}.{signature}",
        f"{base64.urlsafe_b64encode(b'[' * 9000).rstrip(b'=').decode()}.{body}.{signature}",
        good[:-4],
    ):
        assert await refused(api, f"Bearer {token}") == "Invalid token", token


async def test_ours_are_let_in(api: Api) -> None:
    for token in (signed(), signed(sub=None, iat=None), signed(iat=int(time.time()) + 30), signed(iat=time.time())):
        await api.ok("GET", "/v1/gateways", token=token)


def test_minted_tokens_say_on_whose_behalf() -> None:
    platform = authenticate("Bearer " + mint_token(SECRET, subject="a", lifetime_seconds=5), SECRET)
    assert platform == Principal(subject="a")
    tenant = authenticate("Bearer " + mint_token(SECRET, subject="a", tenant_id="t", lifetime_seconds=5), SECRET)
    assert tenant == Principal(subject="a", tenant_id="t")
    with pytest.raises(Refused):
        authenticate("Bearer " + mint_token(SECRET, subject="a", lifetime_seconds=-1), SECRET)


@given(st.text())
def test_no_header_breaks_it(text: str) -> None:
    for header in (text, f"Bearer {text}", f"Bearer {part(text)}.{part(text)}.x"):
        with pytest.raises(Refused) as refusal:
            authenticate(header, SECRET)
        assert refusal.value.status == 401
