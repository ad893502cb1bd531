"""Who is asking: the key in its forms and places, and every way to be refused."""

import pytest
from msgspec.structs import asdict

from trustgate.admission.consumer import presented_key
from trustgate.config.records import Gateway
from trustgate.config.snapshot import build

from .kit import LOST, OFF, OURS, RECORDS, SHARED, THEIRS, enter, refusal

KEYS: list[tuple[dict[bytes, bytes], bytes]] = [
    ({b"x-ag-api-key": b"one"}, b"one"),
    ({b"x-ag-api-key": b" one\t"}, b"one"),
    ({b"x-api-key": b"two"}, b"two"),
    ({b"authorization": b"Bearer three"}, b"three"),
    ({b"authorization": b"bearer three"}, b"three"),
    ({b"authorization": b"BEARER   three "}, b"three"),
    ({b"x-ag-api-key": b"one", b"x-api-key": b"two", b"authorization": b"Bearer three"}, b"one"),
    ({b"x-api-key": b"two", b"authorization": b"Bearer three"}, b"two"),
    ({b"x-ag-api-key": b"", b"x-api-key": b"two"}, b"two"),
    ({b"x-ag-api-key": b"", b"x-api-key": b"", b"authorization": b"Bearer three"}, b"three"),
    ({b"authorization": b"Basic dXNlcjpwYXNz"}, b""),
    ({b"authorization": b"Bearer"}, b""),
    ({b"authorization": b"Bearer "}, b""),
    ({b"authorization": b"three"}, b""),
    ({b"authorization": b"Bearerthree"}, b""),
    ({}, b""),
]


@pytest.mark.parametrize(("headers", "key"), KEYS)
def test_where_the_key_is(headers: dict[bytes, bytes], key: bytes) -> None:
    assert presented_key(headers) == key


def bearer(key: bytes, **others: bytes) -> dict[bytes, bytes]:
    named = {name.replace("_", "-").encode(): value for name, value in others.items()}
    return {b"authorization": b"Bearer " + key, **named}


def test_the_caller_has_names_and_ids_and_no_secret() -> None:
    caller = enter(bearer(OURS), "my-app").caller
    assert asdict(caller) == {
        "gateway_id": "g1",
        "gateway_slug": "demo",
        "tenant_id": "t1",
        "consumer_id": "my-app",
        "consumer_slug": "my-app",
        "consumer_name": "App my-app",
        "auth_id": "ours",
        "auth_name": "key ours",
    }
    assert OURS.decode() not in repr(caller)


@pytest.mark.parametrize(
    ("headers", "slug", "consumer"),
    [
        (bearer(OURS), "my-app", "my-app"),
        (bearer(OURS), "", "my-app"),  # its other consumer is asleep
        (bearer(OURS, x_ag_gateway_slug=b"demo"), "", "my-app"),
        (bearer(OURS, host=b"demo.llm.example.com"), "", "my-app"),
        (bearer(SHARED), "second", "second"),
        (bearer(THEIRS), "", "my-app-2"),
        (bearer(THEIRS, x_ag_gateway_slug=b"other"), "my-app-2", "my-app-2"),
    ],
)
def test_admitted(headers: dict[bytes, bytes], slug: str, consumer: str) -> None:
    admitted = enter(headers, slug)
    assert admitted.caller.consumer_slug == consumer
    assert admitted.consumer is admitted.tenant.consumers[admitted.consumer.id]


@pytest.mark.parametrize(
    ("headers", "slug", "code", "status"),
    [
        ({}, "my-app", "missing_api_key", 401),
        ({b"authorization": b"Basic x"}, "my-app", "missing_api_key", 401),
        ({b"x-ag-api-key": b"   "}, "my-app", "missing_api_key", 401),
        (bearer(b"ag_nobody"), "my-app", "invalid_api_key", 401),
        (bearer(b"\xff\x00"), "my-app", "invalid_api_key", 401),
        (bearer(OURS.upper()), "my-app", "invalid_api_key", 401),
        (bearer(OFF), "my-app", "invalid_api_key", 401),
        (bearer(OURS, x_ag_gateway_slug=b"other"), "my-app", "invalid_api_key", 401),
        (bearer(OURS, host=b"other.llm.example.com"), "my-app", "invalid_api_key", 401),
        (bearer(THEIRS, host=b"llm.demo.org"), "", "invalid_api_key", 401),
        (bearer(b"ag_shut"), "shut-app", "gateway_inactive", 403),
        (bearer(b"ag_shut"), "nobody", "gateway_inactive", 403),
        (bearer(OURS), "nobody", "consumer_not_found", 404),
        (bearer(OURS), "my-app-2", "consumer_not_found", 404),  # another tenant's
        (bearer(OURS), "asleep", "consumer_not_found", 404),
        (bearer(OURS), "MY-APP", "consumer_not_found", 404),
        (bearer(OURS), "second", "forbidden", 403),
        (bearer(LOST), "", "forbidden", 403),
        (bearer(LOST), "my-app", "forbidden", 403),
        (bearer(SHARED), "", "ambiguous_consumer", 400),
    ],
)
def test_refused(headers: dict[bytes, bytes], slug: str, code: str, status: int) -> None:
    told = refusal(headers, slug)
    assert (told.code, told.status, told.retry, told.source) == (code, status, False, "gateway")
    challenged = (b"www-authenticate", b'Bearer realm="trustgate"') in told.headers
    assert challenged == (status == 401)


@pytest.mark.parametrize("key", [OURS, OFF, b"ag_nobody"])
def test_no_refusal_tells_the_key(key: bytes) -> None:
    assert key.decode() not in refusal(bearer(key), "nobody").message


def test_a_refusal_tells_a_stranger_nothing_of_consumers() -> None:
    """Who has no valid key must not learn which consumers there are."""
    assert refusal(bearer(b"ag_nobody"), "my-app").message == refusal(bearer(b"ag_nobody"), "nobody").message


def test_a_key_of_a_gateway_that_went_is_unknown() -> None:
    snapshot = build(8, [record for record in RECORDS if not isinstance(record, Gateway) or record.id != "g2"])
    assert refusal(bearer(THEIRS), "", snapshot).code == "invalid_api_key"
