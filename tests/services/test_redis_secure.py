"""A Redis that speaks TLS and lets in one user who may do as little as possible."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from tests.certificates import self_signed
from tests.contracts.redis_server import RedisServer
from tests.e2e.program import running, until
from tests.fleet.kit import ASKED, Town
from tests.services.kafka_server import free_port
from trustgate.connections import RedisVariables
from trustgate.contract.ports import StateUnavailable
from trustgate.state.redis_limiter import RedisLimiter
from trustgate.state.redis_link import Link

pytestmark = pytest.mark.anyio

USER, PASSWORD = "gate", "an-acl-secret"
RIGHTS = "~tg:* resetchannels -@all +@read +@write +@scripting +@connection +time +role -@dangerous"
"""What docs/operations.md says that is enough."""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisVariables]:
    """How to reach a Redis of Debian's, which is built with TLS."""
    folder = tmp_path_factory.mktemp("redis")
    certificate, key = self_signed(folder)
    users = folder / "users.acl"
    users.write_text(f"user default off\nuser {USER} on >{PASSWORD} {RIGHTS}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_REDIS_SERVER", shutil.which("redis-server") or "")
        port = free_port()
        server = RedisServer(
            port=port,
            tls_port=str(port),
            tls_cert_file=str(certificate),
            tls_key_file=str(key),
            tls_auth_clients="no",
            aclfile=str(users),
        )
        server.start(port=0)
    yield replace(server.place(), tls=True, tls_ca_cert=str(certificate), username=USER, password=PASSWORD, timeout=2.0)
    server.close()


@pytest.fixture
async def link(secure: RedisVariables) -> AsyncIterator[Link]:
    link = Link(secure)
    await link.open()
    yield link
    await link.aclose()


async def test_limits_are_counted_there(link: Link) -> None:
    limiter = RedisLimiter(link)
    told = [(await limiter.take("gw:k", limit=2, window=60.0)).allowed for _ in range(3)]
    assert told == [True, True, False]


async def test_nothing_else_may_be_done_there(link: Link) -> None:
    for words in (("FLUSHALL",), ("GET", "somebody-else"), ("CONFIG", "GET", "*"), ("KEYS", "*")):
        with pytest.raises(StateUnavailable, match="NOPERM"):
            await link.ask(*words)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "not-it"}, "does not let us in: WRONGPASS"),
        ({"username": ""}, "does not let us in"),
        ({"tls_ca_cert": ""}, "cannot be reached: SSLCertVerificationError"),
        ({"tls": False}, "the connection"),
    ],
)
async def test_what_is_wrong_is_said_without_the_password(
    secure: RedisVariables, wrong: dict[str, object], said: str
) -> None:
    link = Link(replace(secure, **wrong))
    await link.open()
    try:
        with pytest.raises(StateUnavailable) as told:
            await link.ask("PING")
        assert said in str(told.value)
        assert "not-it" not in str(told.value)
        assert PASSWORD not in str(told.value)
    finally:
        await link.aclose()


def test_a_whole_gateway_needs_no_more_rights(secure: RedisVariables, tmp_path: Path) -> None:
    variables = {
        "REDIS_HOST": secure.host,
        "REDIS_PORT": str(secure.port),
        "REDIS_TLS_ENABLED": "true",
        "REDIS_TLS_CA_CERT": secure.tls_ca_cert,
        "REDIS_USERNAME": USER,
        "REDIS_PASSWORD": PASSWORD,
        "REDIS_TIMEOUT": "2s",
    }
    with running("run", folder=tmp_path / "data", variables=variables) as program, program.admin() as admin:
        town = Town(admin)
        town.gateway.policy("rate_limiter", town.consumer, limit=3, window="1h", concurrency=2)
        town.gateway.policy("token_rate_limiter", town.consumer, aggregate={"max": 10**6, "time_window": "1h"})
        town.gateway.policy("semantic_cache", town.consumer)
        url = program.url("proxy", "/app/v1/chat/completions")
        statuses = [
            httpx.post(url, json=ASKED, headers=town.key.headers, trust_env=False).status_code for _ in range(4)
        ]
        assert statuses == [200, 200, 200, 429]
        until(lambda: program.readiness("proxy") == 200 or None)
        assert "NOPERM" not in program.stderr + program.stdout, program.stderr[-2000:]
        assert PASSWORD not in program.stderr + program.stdout
        assert "x-ag-policy-degraded" not in httpx.post(url, json=ASKED, headers=town.key.headers).headers
