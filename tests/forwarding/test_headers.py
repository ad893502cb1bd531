"""What goes on to a provider and what comes back: by list, and nothing else."""

from collections.abc import Sequence

import pytest

from trustgate.contract.target import Target
from trustgate.contract.upstream import Header, Origin
from trustgate.forwarding.headers import FORWARDED, RETURNED, Outgoing, lookup, returned

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OURS: list[Header] = [(b"user-agent", b"trustgate/1.0"), (b"accept-encoding", b"identity"), (b"traceparent", TRACE)]


def target(*headers: Header) -> Target:
    origin = Origin(scheme="https", host="api.example.com", port=443)
    names = frozenset(name for name, _ in headers)
    return Target(
        registry_id="r1", provider="openai", dialect="openai", origin=origin, ways={}, headers=headers, names=names
    )


def sent(caller: Sequence[Header], *own: Header, agent: bytes | None = None) -> list[Header]:
    return Outgoing("1.0").headers(caller, target(*own), agent=agent, traceparent=TRACE, translated=False)


@pytest.mark.parametrize("name", sorted(FORWARDED))
def test_forwarded(name: bytes) -> None:
    assert sent([(name, b"value")]) == [(name, b"value"), *OURS]


@pytest.mark.parametrize(
    "name",
    [
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-authorization"),
        *(b"host", b"content-length", b"content-encoding", b"accept-encoding", b"expect", b"range", b"if-match"),
        *(
            b"authorization",
            b"x-api-key",
            b"api-key",
            b"x-goog-api-key",
            b"cookie",
            b"set-cookie",
            b"origin",
            b"referer",
        ),
        *(b"x-forwarded-for", b"x-real-ip", b"forwarded", b"via", b"cf-connecting-ip", b"x-forwarded-host"),
        *(b"x-ag-api-key", b"x-ag-gateway-slug", b"x-session-id", b"x-echo-options", b"x-anything"),
        *(b"traceparent", b"user-agent", b"x-request-id"),
    ],
)
def test_never_forwarded(name: bytes) -> None:
    assert sent([(name, b"value")]) == OURS


def test_a_header_that_is_sent_twice_goes_on_twice_in_its_order() -> None:
    twice: list[Header] = [(b"openai-beta", b"a"), (b"x-other", b"no"), (b"openai-beta", b"b")]
    assert sent(twice) == [twice[0], twice[2], *OURS]


def test_what_the_registry_sets_wins_over_what_the_caller_sent() -> None:
    own = (b"openai-organization", b"org-ours")
    assert sent([(b"openai-organization", b"org-theirs"), (b"accept", b"*/*")], own) == [
        (b"accept", b"*/*"),
        own,
        *OURS,
    ]


def test_the_callers_agent_stands_behind_ours() -> None:
    assert (b"user-agent", b"trustgate/1.0 OpenAI/Python 2") in sent([], agent=b"OpenAI/Python 2")


@pytest.mark.parametrize("name", [b"user-agent", b"accept-encoding", b"traceparent"])
def test_no_header_is_sent_in_two_versions_where_the_registry_sets_one(name: bytes) -> None:
    found = [value for known, value in sent([], (name, b"mine"), agent=b"caller") if known == name]
    assert len(found) == 1


@pytest.mark.parametrize(
    "name", [*sorted(RETURNED), b"x-ratelimit-limit-requests", b"x-ratelimit-reset-tokens", b"anthropic-ratelimit-x"]
)
def test_returned(name: bytes) -> None:
    assert returned([(name, b"value")]) == [(name, b"value")]


@pytest.mark.parametrize(
    "name",
    [
        *(b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"set-cookie", b"server", b"date"),
        *(
            b"alt-svc",
            b"strict-transport-security",
            b"cf-ray",
            b"access-control-allow-origin",
            b"via",
            b"x-ag-revision",
        ),
        *(b"www-authenticate", b"location", b"x-ratelimit", b"traceparent", b"server-timing"),
    ],
)
def test_never_returned(name: bytes) -> None:
    assert returned([(name, b"value")]) == []


def test_returned_headers_keep_their_order_and_number() -> None:
    headers: list[Header] = [
        (b"x-request-id", b"1"),
        (b"server", b"x"),
        (b"retry-after", b"2"),
        (b"x-request-id", b"3"),
    ]
    assert returned(headers) == [headers[0], headers[2], headers[3]]


def test_lookup_knows_the_last() -> None:
    assert lookup([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]) == {b"a": b"3", b"b": b"2"}
