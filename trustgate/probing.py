"""Asking registries whether they are up, where their `health_checks` say so: a path, or their list of models."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import random
from time import perf_counter
from typing import Final

from msgspec.structs import replace

from trustgate.config.records import HealthChecks, Registry
from trustgate.config.snapshot import Snapshot
from trustgate.contract.target import Target
from trustgate.contract.upstream import Call, CannotAuthorise, Clocks, Header, Transport, UpstreamFailure
from trustgate.forwarding.headers import IDENTITY
from trustgate.forwarding.health import Health
from trustgate.providers.credentials import Credentials
from trustgate.providers.targets import CannotTarget, compile_target

GOOD: Final = 400
"""Statuses below this say that a path is well; a list of models that is refused (401, 403) is a server that is up."""
log = logging.getLogger("trustgate.health")


class Prober:
    """One task for each registry that is to be asked. It has to be told every snapshot."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        health: Health,
        *,
        chance: Callable[[], float] = random,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._health = health
        self._chance = chance
        self._tasks: dict[str, tuple[Registry, asyncio.Task[None]]] = {}

    @property
    def asking(self) -> Sequence[str]:
        """The registries that are asked."""
        return tuple(self._tasks)

    def swap(self, snapshot: Snapshot) -> None:
        """Ask the registries of this snapshot from now on, and no others."""
        wanted = {
            registry.id: registry
            for tenant in snapshot.tenants.values()
            for registry in tenant.registries.values()
            if registry.enabled and registry.health_checks is not None and registry.health_checks.probes
        }
        for id_ in [id_ for id_, (known, _) in self._tasks.items() if wanted.get(id_) != known]:
            self._tasks.pop(id_)[1].cancel()
            self._health.is_up(id_)
        for id_, registry in wanted.items():
            if id_ not in self._tasks and registry.health_checks is not None:
                task = asyncio.create_task(self._watch(registry, registry.health_checks))
                self._tasks[id_] = registry, task

    async def aclose(self) -> None:
        """Ask nobody any more."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, registry: Registry, checks: HealthChecks) -> None:
        bad = good = 0
        await asyncio.sleep(self._chance() * min(1.0, checks.interval))  # not all processes at the same moment
        while True:
            started = perf_counter()
            why = await self._why_not(registry, checks)
            bad, good = (0, good + 1) if not why else (bad + 1, 0)
            if bad == checks.threshold:
                log.warning("registry %s (%s) is down: %s", registry.name, registry.id, why)
                self._health.is_down(registry.id, why)
            elif good == checks.healthy_threshold:
                self._health.is_up(registry.id)
            await asyncio.sleep(max(0.0, checks.interval - (perf_counter() - started)))

    async def _why_not(self, registry: Registry, checks: HealthChecks) -> str:
        """Say why a registry is not well, empty where it is."""
        try:
            target = compile_target(registry, None, 1, Clocks(), self._credentials)
            call = _call(target, checks)
            if call is None:
                return ""
            async with asyncio.timeout(checks.timeout):
                if target.credential is not None:
                    call = await target.credential.authorise(call)
                upstream = await self._transport.send(call)
                await upstream.aclose()
        except CannotTarget as error:
            return str(error)
        except CannotAuthorise:
            return "no credential for it could be had"
        except TimeoutError:
            return f"it did not answer within {checks.timeout} s"
        except UpstreamFailure as failure:
            return failure.kind
        refuses = upstream.status in (401, 403) and not checks.path
        return "" if upstream.status < GOOD or refuses else f"it answered {upstream.status}"


def _call(target: Target, checks: HealthChecks) -> Call | None:
    """Return what is asked, None of a provider that can be asked nothing without a price."""
    path = checks.path or (target.ways["models"][0].path if "models" in target.ways else "")
    if not path:
        return None
    headers: list[Header] = [*target.headers, *target.defaults, IDENTITY]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in checks.headers.items()]
    clocks = replace(target.clocks, connect=checks.timeout, first_byte=checks.timeout, total=checks.timeout)
    return Call(method="GET", origin=target.origin, target=path.encode(), headers=headers, clocks=clocks)
