"""A gateway to test in: a consumer in front of the upstream, one in front of the built-in echo, and their keys."""

import dataclasses

from .program import Admin, Gateway, Key, Program

PROVIDER_KEY = "sk-upstream-5f0c1d7a9b3e"
CLOCKS = {"connect": "2s", "first_byte": "400ms", "idle": "400ms", "total": "5s"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """`my-app` asks the upstream, `patient` too but with long clocks, `echo-app` the echo. `key` is good for all."""

    program: Program
    admin: Admin
    gateway: Gateway
    key: Key
    registry: str
    consumers: dict[str, str]

    @property
    def port(self) -> int:
        """The port of the proxy plane."""
        return self.program.ports["proxy"]

    @property
    def headers(self) -> dict[str, str]:
        """The two headers that let a caller in."""
        return self.key.headers


def open_place(program: Program, admin: Admin, upstream_url: str) -> Place:
    """Make the gateway."""
    gateway = admin.gateway()
    registry = gateway.registry("openai", "openai", key=PROVIDER_KEY, base_url=upstream_url, timeouts=CLOCKS)
    patient = gateway.registry("patient", "openai", key=PROVIDER_KEY, base_url=upstream_url)
    echo = gateway.registry("echo", "echo", timeouts=CLOCKS)
    consumers = {
        "my-app": gateway.consumer("my-app", registry),
        "patient": gateway.consumer("patient", patient),
        "echo-app": gateway.consumer("echo-app", echo, model_policies=[{"registry_id": echo, "default": "echo-1"}]),
    }
    key = gateway.key(*consumers.values())
    return Place(program=program, admin=admin, gateway=gateway, key=key, registry=registry, consumers=consumers)
