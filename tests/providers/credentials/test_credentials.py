"""What holds for every type: keys, what is remembered and for how long, and that nothing is told."""

from typing import get_args

import msgspec
import pytest
from msgspec import inspect

from trustgate.config.records import ApiKeyAuth, AwsAuth, AzureAuth, OAuth2Auth, ProviderAuth
from trustgate.providers import credentials as package
from trustgate.providers.catalog import PROVIDERS, AuthType
from trustgate.providers.credentials import BadCredential, Credentials, check, credential
from trustgate.settings import References

from .kit import service_account

SECRET = "not-to-be-told"
ONE_OF_EACH = {
    "none": ProviderAuth(type="none"),
    "api_key": ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key=SECRET)),
    "azure": ProviderAuth(
        type="azure",
        azure=AzureAuth(endpoint="https://x.com", client_id="a", client_secret=SECRET, tenant_id="b"),
    ),
    "aws": ProviderAuth(
        type="aws",
        aws=AwsAuth(region="us-east-1", access_key_id="AKID", secret_access_key=SECRET, session_token=SECRET),
    ),
    "oauth2": ProviderAuth(
        type="oauth2",
        oauth=OAuth2Auth(
            token_url="https://x.com", grant_type="client_credentials", client_id="a", client_secret=SECRET
        ),
    ),
    "gcp_service_account": ProviderAuth(
        type="gcp_service_account", gcp_service_account=service_account("https://x.com")
    ),
}


def test_every_type_is_known_everywhere() -> None:
    node = inspect.type_info(ProviderAuth)
    assert isinstance(node, inspect.StructType)
    [kind] = [field.type for field in node.fields if field.name == "type"]
    assert isinstance(kind, inspect.LiteralType)
    assert set(kind.values) == set(get_args(AuthType)) == set(ONE_OF_EACH)
    assert {kind for provider in PROVIDERS.values() for kind in provider.auth_types} <= set(ONE_OF_EACH)


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_every_type_works_and_is_remembered(kind: str) -> None:
    auth = ONE_OF_EACH[kind]
    kept = Credentials()
    check(auth, References())
    first = kept.credential("id", auth, service="bedrock", options={})
    again = kept.credential(
        "id", msgspec.convert(msgspec.to_builtins(auth), ProviderAuth), service="bedrock", options={}
    )
    assert first == again
    assert (first[1] is None) == (kind in ("none", "api_key"))
    assert first[0] == ()
    assert kept.key(auth).api_key == (SECRET if kind == "api_key" else "")
    assert SECRET not in repr(first) + repr(kept)


@pytest.mark.parametrize("kind", sorted(set(ONE_OF_EACH) - {"none"}))
def test_a_type_without_its_block(kind: str) -> None:
    bare = msgspec.convert({"type": kind}, ProviderAuth)
    for refuse in (
        lambda: check(bare, References()),
        lambda: credential(bare, service="", options={}, references=References()),
    ):
        with pytest.raises(BadCredential, match=r"^auth\."):
            refuse()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (ApiKeyAuth(), "needs api_key"),
        (ApiKeyAuth(header_name="x"), "both halves"),
        (ApiKeyAuth(param_value="x"), "both halves"),
        (ApiKeyAuth(api_key=" x"), "auth.api_key.api_key must be visible ASCII"),
        (ApiKeyAuth(header_name="x", header_value="a\r\nb"), "auth.api_key.header_value must be visible ASCII"),
    ],
)
def test_keys_that_cannot_work(key: ApiKeyAuth, says: str) -> None:
    with pytest.raises(BadCredential, match=says):
        Credentials().key(ProviderAuth(type="api_key", api_key=key))


def test_what_a_reference_leads_to_is_checked_too() -> None:
    auth = ProviderAuth(type="api_key", api_key=ApiKeyAuth(api_key="env:A_API_KEY"))
    with pytest.raises(BadCredential, match="visible ASCII") as told:
        Credentials(References(variables={"A_API_KEY": f"{SECRET}\nx: y"})).key(auth)
    assert SECRET not in str(told.value)


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MOST", 3)
    kept, auth = Credentials(), ONE_OF_EACH["aws"]

    def of(name: str) -> object:
        return kept.credential(name, auth, service="bedrock", options={})[1]

    first = {name: of(name) for name in "abc"}
    assert of("a") is first["a"]
    of("d")  # forgets b, which was asked for longest ago
    assert of("a") is first["a"]
    assert of("b") is not first["b"]
    assert repr(kept) == "Credentials(3)"
