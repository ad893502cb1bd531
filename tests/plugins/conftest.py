"""What the plugins are driven with: the limiter of one process, and a request."""

import pytest

from tests import world
from trustgate import Body, Caller, Operation, RequestContext, Services


@pytest.fixture
def services() -> Services:
    return world.services()


@pytest.fixture
def ctx() -> RequestContext:
    return RequestContext(
        id="0af7651916cd43dd8448eb211c80319c",
        started=0.0,
        caller=Caller(
            gateway_id="gateway-1",
            gateway_slug="demo",
            tenant_id="",
            consumer_id="consumer-1",
            consumer_slug="my-app",
            consumer_name="My app",
            auth_id="auth-1",
            auth_name="key",
        ),
        operation=Operation(name="chat_completions", dialect="openai", method="POST", family="chat"),
        path="/my-app/v1/chat/completions",
        headers={b"content-type": b"application/json"},
        body=Body(b'{"model":"m"}', model="m"),
    )
