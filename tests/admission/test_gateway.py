"""Which gateway a request names: by header, by host, or not at all."""

import pytest

from trustgate.admission.gateway import named_gateway
from trustgate.contract.errors import Refused

from .kit import BASE_DOMAIN, SNAPSHOT

LONGEST = "a" * 63


def name(headers: dict[bytes, bytes], base_domain: str = BASE_DOMAIN) -> str:
    tenant = named_gateway(SNAPSHOT, headers, base_domain)
    return tenant.gateway.id if tenant else ""


def refused(headers: dict[bytes, bytes]) -> Refused:
    with pytest.raises(Refused) as told:
        named_gateway(SNAPSHOT, headers, BASE_DOMAIN)
    return told.value


@pytest.mark.parametrize(("slug", "id_"), [(b"demo", "g1"), (b"other", "g2"), (b" Demo ", "g1"), (b"OTHER", "g2")])
def test_by_header(slug: bytes, id_: str) -> None:
    assert name({b"x-ag-gateway-slug": slug}) == id_


@pytest.mark.parametrize(
    ("host", "id_"),
    [
        (b"demo.llm.example.com", "g1"),
        (b"other.llm.example.com:8081", "g2"),
        (b"DEMO.LLM.Example.COM:443", "g1"),
        (b"llm.demo.org", "g1"),
        (b"LLM.demo.org:8081", "g1"),
        (b"localhost:8081", ""),
        (b"127.0.0.1:8081", ""),
        (b"[::1]:8081", ""),
        (b"[2001:db8::1]", ""),
        (b"::1", ""),
        (b"llm.example.com", ""),
        (b"notllm.example.com", ""),
        (b"demo.llm.example.com.evil.org", ""),
        (b"", ""),
        (b"h\xf6st", ""),
    ],
)
def test_by_host(host: bytes, id_: str) -> None:
    assert name({b"host": host}) == id_


def test_without_a_host() -> None:
    assert name({}) == ""


def test_the_header_goes_before_the_host() -> None:
    assert name({b"x-ag-gateway-slug": b"other", b"host": b"demo.llm.example.com"}) == "g2"


@pytest.mark.parametrize(
    "slug", [b"", b"  ", b"-demo", b"demo-", b"de mo", b"demo/v1", b"a" * 64, b"d\xe9mo", b"demo\x00"]
)
def test_a_header_that_holds_no_slug(slug: bytes) -> None:
    told = refused({b"x-ag-gateway-slug": slug, b"host": b"demo.llm.example.com"})
    assert (told.code, told.status, told.retry) == ("invalid_auth_request", 400, False)
    assert told.message == "Invalid auth request: header X-AG-Gateway-Slug does not hold a gateway slug."


@pytest.mark.parametrize(
    "headers",
    [
        {b"x-ag-gateway-slug": b"nobody"},
        {b"x-ag-gateway-slug": LONGEST.encode()},
        {b"host": b"nobody.llm.example.com:8081"},
    ],
)
def test_an_unknown_gateway(headers: dict[bytes, bytes]) -> None:
    told = refused(headers)
    assert (told.code, told.status, told.retry) == ("invalid_auth_request", 400, False)
    assert "is unknown" in told.message


@pytest.mark.parametrize("host", [b"a.b.llm.example.com", b".llm.example.com", b"-x.llm.example.com"])
def test_a_host_below_the_base_domain_is_one_slug(host: bytes) -> None:
    told = refused({b"host": host})
    assert (told.code, told.status) == ("invalid_auth_request", 400)
    assert "one gateway slug before the base domain" in told.message
