"""A configuration with two gateways, and the ways to knock at it."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from trustgate.admission.consumer import Admitted, admit, presented_key
from trustgate.admission.gateway import named_gateway
from trustgate.config.records import AnyRecord, Auth, Consumer, Gateway
from trustgate.config.snapshot import Snapshot, build
from trustgate.contract.errors import Refused

BASE_DOMAIN = "llm.example.com"
OURS, THEIRS, SHARED, LOST, OFF = b"ag_ours", b"ag_theirs", b"ag_shared", b"ag_lost", b"ag_off"


def digest(key: bytes) -> str:
    return sha256(key).hexdigest()


def auth(id_: str, gateway_id: str, key: bytes, *, enabled: bool = True) -> Auth:
    return Auth(id=id_, gateway_id=gateway_id, name=f"key {id_}", key_hash=digest(key), enabled=enabled)


def consumer(id_: str, gateway_id: str, *auths: str, active: bool = True) -> Consumer:
    return Consumer(id=id_, gateway_id=gateway_id, name=f"App {id_}", slug=id_, auth_ids=auths, active=active)


RECORDS: Sequence[AnyRecord] = (
    Gateway(id="g1", slug="demo", name="Demo", domain="llm.demo.org", tenant_id="t1"),
    Gateway(id="g2", slug="other", name="Other"),
    Gateway(id="g3", slug="closed", name="Closed", status="inactive"),
    auth("ours", "g1", OURS),
    auth("shared", "g1", SHARED),
    auth("lost", "g1", LOST),
    auth("off", "g1", OFF, enabled=False),
    auth("theirs", "g2", THEIRS),
    auth("shut", "g3", b"ag_shut"),
    consumer("my-app", "g1", "ours", "shared", "off"),
    consumer("second", "g1", "shared"),
    consumer("asleep", "g1", "ours", "lost", active=False),
    consumer("my-app-2", "g2", "theirs"),
    consumer("shut-app", "g3", "shut"),
)
SNAPSHOT: Snapshot = build(7, RECORDS)


def enter(headers: dict[bytes, bytes], slug: str = "", snapshot: Snapshot = SNAPSHOT) -> Admitted:
    """Go through the three steps of admission that look at the configuration."""
    named = named_gateway(snapshot, headers, BASE_DOMAIN)
    return admit(snapshot, named, slug, presented_key(headers))


def refusal(headers: dict[bytes, bytes], slug: str = "", snapshot: Snapshot = SNAPSHOT) -> Refused:
    with pytest.raises(Refused) as told:
        enter(headers, slug, snapshot)
    return told.value
