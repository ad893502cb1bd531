"""How registries prove themselves, over HTTP: each kind is taken, masked, kept when left out, or refused by name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trustgate.config.records import ProviderAuth
from trustgate.planes.admin.plane import AdminServices
from trustgate.settings import References

from .api import Api
from .conftest import World

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
SECRETS = {
    name: f"{name}-that-nobody-reads-{number:04}"
    for number, name in enumerate(("key", "client", "id", "secret", "session", "refresh", "user", "password", "extra"))
}
REFERENCES = References(
    allowed=("*_API_KEY",), variables={"SHARED_API_KEY": "the-value-behind-the-reference"}, folder="/nonexistent"
)
ENDPOINT = {"endpoint": "https://my.openai.azure.com", "version": "2024-10-21"}
PRINCIPAL = {**ENDPOINT, "client_id": "app", "client_secret": SECRETS["client"], "tenant_id": "tenant"}
MANAGED = {"type": "azure", "azure": {**ENDPOINT, "use_managed_identity": True}}
KEYS = {
    "region": "eu-west-1",
    "access_key_id": SECRETS["id"],
    "secret_access_key": SECRETS["secret"],
    "session_token": SECRETS["session"],
}
ROLE = {"region": "eu-west-1", "use_role": True, "role": "arn:aws:iam::123456789012:role/bedrock"}
CLIENT = {
    "token_url": "https://login.example.com/token",
    "grant_type": "client_credentials",
    "client_id": "app",
    "client_secret": SECRETS["client"],
    "use_basic_auth": True,
    "scopes": ["a", "b"],
    "audience": "https://api.example.com",
    "extra": {"resource": SECRETS["extra"]},
}
GRANT = {"token_url": "https://login.example.com/token"}
REFRESH = {**GRANT, "grant_type": "refresh_token", "refresh_token": SECRETS["refresh"]}
PASSWORD = {**GRANT, "grant_type": "password", "username": SECRETS["user"], "password": SECRETS["password"]}


def key_file() -> str:
    """A key file of a service account."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fields = {
        "type": "service_account",
        "project_id": "p",
        "client_email": "me@p",
        "token_uri": "https://t.example.com",
    }
    return json.dumps({**fields, "private_key": key.decode()}, indent=2)


KEY_FILE = key_file()
OPTIONS = {"vertex": {"location": "global"}}
EACH: dict[str, tuple[str, Json, Json]] = {
    "azure key": (
        "azure",
        {"type": "azure", "azure": {**ENDPOINT, "api_key": SECRETS["key"]}},
        {"type": "azure", "azure": {**ENDPOINT, "api_key": "***0000"}},
    ),
    "azure principal": (
        "azure",
        {"type": "azure", "azure": PRINCIPAL},
        {"type": "azure", "azure": PRINCIPAL | {"client_secret": "***0001"}},
    ),
    "azure identity": ("azure", MANAGED, MANAGED),
    "aws keys": (
        "bedrock",
        {"type": "aws", "aws": KEYS},
        {
            "type": "aws",
            "aws": KEYS | {"access_key_id": "***0002", "secret_access_key": "***0003", "session_token": "***0004"},
        },
    ),
    "aws role": ("bedrock", {"type": "aws", "aws": ROLE}, {"type": "aws", "aws": ROLE}),
    "oauth2 client": (
        "openai",
        {"type": "oauth2", "oauth": CLIENT},
        {"type": "oauth2", "oauth": CLIENT | {"client_secret": "***0001", "extra": {"resource": "***0008"}}},
    ),
    "oauth2 refresh": (
        "openai",
        {"type": "oauth2", "oauth": REFRESH},
        {"type": "oauth2", "oauth": REFRESH | {"refresh_token": "***0005"}},
    ),
    "oauth2 password": (
        "openai",
        {"type": "oauth2", "oauth": PASSWORD},
        {"type": "oauth2", "oauth": {**GRANT, "grant_type": "password"}},  # not even masked, says the contract
    ),
    "gcp": (
        "vertex",
        {"type": "gcp_service_account", "gcp_service_account": KEY_FILE},
        {"type": "gcp_service_account"},
    ),
}


def _bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("trustgate.db*"))


ALL = pytest.mark.parametrize("name", EACH)


@pytest.fixture
async def services(services: AdminServices) -> AdminServices:
    """A plane whose registries may refer to secrets."""
    return msgspec.structs.replace(services, tools=msgspec.structs.replace(services.tools, references=REFERENCES))


@pytest.fixture(autouse=True)
def hidden(api: Api) -> None:
    """No answer and no log line may hold any of these."""
    for secret in (*SECRETS.values(), *REFERENCES.variables.values(), KEY_FILE.split("\\n")[1]):
        api.hide(secret)


def body(provider: str, auth: Json, **more: Any) -> Json:
    """What makes a registry."""
    return {"name": "it", "provider": provider, "provider_options": OPTIONS.get(provider, {}), "auth": auth} | more


async def stored(services: AdminServices, world: World, registry_id: str) -> ProviderAuth:
    """What is really stored."""
    async with services.store.read() as unit:
        found = await unit.registries.get(registry_id, gateway_id=world.gateway)
        assert found is not None
        return found.auth


@ALL
async def test_it_is_read_back_masked_and_can_be_written_back(
    api: Api, world: World, services: AdminServices, name: str
) -> None:
    provider, sent, shown = EACH[name]
    made = await api.ok("POST", f"{world.root}/registries", body(provider, sent))
    path = f"{world.root}/registries/{made['id']}"
    masked = made["auth"].pop("gcp_service_account", "***")
    assert masked.startswith("***") and len(masked) <= 7
    assert made["auth"] == shown
    before = await stored(services, world, made["id"])
    read = await api.ok("GET", path)
    assert await api.ok("PUT", path, read) == read
    assert await stored(services, world, made["id"]) == before
    compact = json.loads(msgspec.json.encode(before))
    assert compact == sent | ({"gcp_service_account": before.gcp_service_account} if provider == "vertex" else {})


@ALL
async def test_secrets_that_are_left_out_empty_or_masked_stay(
    api: Api, world: World, services: AdminServices, name: str
) -> None:
    provider, sent, _ = EACH[name]
    made = await api.ok("POST", f"{world.root}/registries", body(provider, sent))
    path = f"{world.root}/registries/{made['id']}"
    before = await stored(services, world, made["id"])
    secrets = (*SECRETS.values(), KEY_FILE)
    for left in (None, "", "***"):
        block = next(value for key, value in sent.items() if key != "type")
        if isinstance(block, dict):
            put: Any = {key: left if value in secrets else value for key, value in block.items() if key != "extra"}
            put |= {"extra": {"resource": "***"}} if "extra" in block else {}
        else:
            put = left
        field = next(key for key in sent if key != "type")
        await api.ok("PUT", path, {"auth": {"type": sent["type"], field: put}})
        assert await stored(services, world, made["id"]) == before


@ALL
async def test_it_is_sealed_where_it_is_stored(
    api: Api, world: World, services: AdminServices, tmp_path: Path, name: str
) -> None:
    provider, sent, _ = EACH[name]
    await api.ok("POST", f"{world.root}/registries", body(provider, sent))
    data = _bytes_of(tmp_path)
    assert data
    assert not [secret for secret in SECRETS.values() if secret.encode() in data]
    assert b"PRIVATE KEY" not in data


@pytest.mark.parametrize("name", [name for name in EACH if name not in ("azure identity", "aws role")])
async def test_a_masked_secret_is_nothing_new(api: Api, world: World, name: str) -> None:
    provider, sent, _ = EACH[name]
    field = next(key for key in sent if key != "type")
    secrets = set(SECRETS.values())
    block = sent[field]
    masked = (
        {key: "***0000" if isinstance(value, str) and value in secrets else value for key, value in block.items()}
        if isinstance(block, dict)
        else "***0000"
    )
    await api.no(
        "POST",
        f"{world.root}/registries",
        body(provider, {"type": sent["type"], field: masked}),
        code="validation_failed",
        says="is a masked secret",
    )


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("azure key", {"azure": PRINCIPAL | {"client_secret": "***"}}, "auth.azure.client_secret is a masked secret"),
        (
            "azure principal",
            {"azure": PRINCIPAL | {"client_secret": None, "client_id": "other"}},
            "client_secret missing",
        ),
        (
            "azure principal",
            {"azure": PRINCIPAL | {"client_secret": "***", "tenant_id": "other"}},
            "is a masked secret",
        ),
        ("azure principal", {"azure": ENDPOINT}, "exactly one of"),
        ("aws keys", {"aws": {"region": "eu-west-1", "access_key_id": "AKIAOTHER"}}, "secret_access_key is missing"),
        ("aws keys", {"aws": ROLE | {"session_token": "***"}}, "auth.aws.session_token is a masked secret"),
        ("oauth2 client", {"oauth": CLIENT | {"client_secret": "***", "token_url": "https://evil.com"}}, "masked"),
        (
            "oauth2 client",
            {"oauth": CLIENT | {"client_secret": None, "client_id": "other"}},
            "client_secret is missing",
        ),
        ("oauth2 refresh", {"oauth": REFRESH | {"refresh_token": "", "token_url": "https://evil.com"}}, "is missing"),
    ],
)
async def test_a_secret_stays_only_for_the_same_use(api: Api, world: World, name: str, change: Json, says: str) -> None:
    provider, sent, _ = EACH[name]
    made = await api.ok("POST", f"{world.root}/registries", body(provider, sent))
    put = {"auth": {"type": sent["type"], **change}}
    await api.no("PUT", f"{world.root}/registries/{made['id']}", put, code="validation_failed", says=says)


async def test_another_way_clears_the_one_before(api: Api, world: World, services: AdminServices) -> None:
    made = await api.ok("POST", f"{world.root}/registries", body("azure", EACH["azure principal"][1]))
    for name in ("azure key", "azure identity", "azure principal"):
        _, sent, shown = EACH[name]
        after = await api.ok("PUT", f"{world.root}/registries/{made['id']}", {"auth": sent})
        assert after["auth"] == shown
        assert json.loads(msgspec.json.encode(await stored(services, world, made["id"]))) == sent


async def test_a_key_file_may_be_an_object_and_is_compacted(api: Api, world: World, services: AdminServices) -> None:
    root = f"{world.root}/registries"
    auth = {"type": "gcp_service_account", "gcp_service_account": json.loads(KEY_FILE)}
    made = await api.ok("POST", root, body("vertex", auth))
    one = await stored(services, world, made["id"])
    text = auth | {"gcp_service_account": KEY_FILE}
    other = await stored(services, world, (await api.ok("POST", root, body("vertex", text, name="2")))["id"])
    assert one == other
    assert "\n" not in one.gcp_service_account
    assert json.loads(one.gcp_service_account) == json.loads(KEY_FILE)


REFERENCE = "env:SHARED_API_KEY"
REFERRING: list[tuple[str, Json]] = [
    ("openai", {"type": "api_key", "api_key": {"api_key": REFERENCE}}),
    ("openai", {"type": "api_key", "api_key": {"header_name": "x-key", "header_value": REFERENCE}}),
    ("azure", {"type": "azure", "azure": {**PRINCIPAL, "client_secret": REFERENCE}}),
    ("bedrock", {"type": "aws", "aws": dict.fromkeys(KEYS, REFERENCE) | {"region": "eu-west-1"}}),
    ("openai", {"type": "oauth2", "oauth": {**CLIENT, "client_secret": REFERENCE, "extra": {"a": REFERENCE}}}),
    ("openai", {"type": "oauth2", "oauth": {**PASSWORD, **dict.fromkeys(("username", "password"), REFERENCE)}}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "auth"), REFERRING)
async def test_references_are_read_back_as_they_are(
    api: Api, world: World, services: AdminServices, provider: str, auth: Json
) -> None:
    made = await api.ok("POST", f"{world.root}/registries", body(provider, auth))
    assert made["auth"] == auth
    path = f"{world.root}/registries/{made['id']}"
    assert await api.ok("PUT", path, made) == made
    assert json.loads(msgspec.json.encode(await stored(services, world, made["id"]))) == auth


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("env:OPENAI_API_KEY", "auth.api_key.api_key: env:OPENAI_API_KEY may not be referred to"),
        ("env:SERVER_SECRET_KEY", "auth.api_key.api_key: env:SERVER_SECRET_KEY may not be referred to"),
        ("env:HOME", "auth.api_key.api_key: env:HOME may not be referred to"),
        ("env:MISSING_API_KEY", "auth.api_key.api_key: env:MISSING_API_KEY is not set where the gateway runs"),
        ("file:/etc/passwd", "auth.api_key.api_key: file:/etc/passwd does not lie below CREDENTIAL_FILE_DIR"),
    ],
)
async def test_references_that_may_not_be(api: Api, world: World, key: str, says: str) -> None:
    auth = {"type": "api_key", "api_key": {"api_key": key}}
    root = f"{world.root}/registries"
    await api.no("POST", root, body("openai", auth), code="validation_failed", says=says)
    await api.no("PUT", f"{root}/{world.registry}", {"auth": auth}, code="validation_failed", says=says)
    await api.no("POST", f"{root}/test-connection", {"provider": "openai", "auth": auth}, code="validation_failed")


def aws(**changes: Any) -> Json:
    return {"type": "aws", "aws": {**KEYS, **changes}}


def oauth(**changes: Any) -> Json:
    return {"type": "oauth2", "oauth": {**CLIENT, **changes}}


@pytest.mark.parametrize(
    ("provider", "auth", "says"),
    [
        ("azure", {"type": "azure"}, "auth.azure: missing the required field `endpoint`"),
        ("azure", {"type": "azure", "azure": {"endpoint": "my"}}, "auth.azure.endpoint is not an address"),
        ("azure", {"type": "azure", "azure": ENDPOINT}, "auth.azure needs exactly one of"),
        ("azure", {"type": "azure", "azure": {**PRINCIPAL, "api_key": "k"}}, "auth.azure needs exactly one of"),
        ("azure", {"type": "azure", "azure": {**PRINCIPAL, "tenant_id": ""}}, "auth.azure.tenant_id missing"),
        ("azure", {"type": "azure", "azure": {**ENDPOINT, "use_managed_identity": "yes"}}, "use_managed_identity"),
        (
            "azure",
            {"type": "api_key", "api_key": {"api_key": "k"}},
            'auth.type "api_key" is not taken by provider azure',
        ),
        ("bedrock", {"type": "aws"}, "auth.aws: missing the required field `region`"),
        ("bedrock", aws(region="mars"), "auth.aws.region is no region"),
        ("bedrock", aws(secret_access_key=""), "auth.aws.secret_access_key is missing"),
        ("bedrock", aws(use_role=True, role="x"), "auth.aws needs exactly one of"),
        ("bedrock", {"type": "aws", "aws": ROLE | {"role": "x"}}, "auth.aws.role is no ARN"),
        ("openai", {"type": "oauth2"}, "auth.oauth: missing the required field `token_url`"),
        ("openai", oauth(token_url="x"), "auth.oauth.token_url is not an address"),
        ("openai", oauth(grant_type="implicit"), "auth.oauth.grant_type"),
        ("openai", oauth(grant_type="authorization_code"), "authorization_code needs somebody in front of a browser"),
        ("openai", oauth(code="c"), "authorization_code needs somebody in front of a browser"),
        ("openai", oauth(client_secret=None), "auth.oauth.client_secret is missing"),
        ("openai", oauth(scopes=["a b"]), "auth.oauth.scopes"),
        ("openai", oauth(scopes="a"), "auth.oauth.scopes"),
        ("openai", oauth(password="p"), "auth.oauth.password is not used by grant_type client_credentials"),
        ("openai", oauth(extra={"scope": "x"}), "auth.oauth.extra may not have scope"),
        ("vertex", {"type": "gcp_service_account"}, "auth.gcp_service_account is missing"),
        ("vertex", {"type": "gcp_service_account", "gcp_service_account": "x"}, "auth.gcp_service_account is not JSON"),
        (
            "vertex",
            {"type": "gcp_service_account", "gcp_service_account": {}},
            "auth.gcp_service_account is no key file",
        ),
        ("vertex", {"type": "gcp_service_account", "gcp_service_account": 7}, "auth.gcp_service_account"),
        ("vertex", {"type": "aws", "aws": KEYS}, 'auth.type "aws" is not taken by provider vertex'),
        ("openai", {**oauth(), "aws": KEYS}, "auth.aws is not used by auth.type oauth2: leave it out"),
    ],
)
async def test_what_cannot_work_is_refused_by_name(
    api: Api, world: World, provider: str, auth: Json, says: str
) -> None:
    await api.no("POST", f"{world.root}/registries", body(provider, auth), code="validation_failed", says=says)
