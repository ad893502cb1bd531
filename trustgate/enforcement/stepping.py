"""Calling a hook: stepped once on the spot, and put under its clock only if it waits for something."""

import asyncio
from collections.abc import Coroutine, Generator
from types import CoroutineType
from typing import Any, Final

from trustgate.contract.context import RequestContext
from trustgate.contract.verdict import Count
from trustgate.enforcement.chain import Link
from trustgate.enforcement.counting import Counting
from trustgate.enforcement.trail import Trail


class _Waits:
    """Stands for a verdict that is still to come."""


WAITS: Final = _Waits()


def step(link: Link, ctx: RequestContext, subject: Any, trail: Trail) -> Any:
    """Step a hook once: what it decided on the spot, or `WAITS`, and what has to be awaited is `trail.pending`."""
    called = link.call(ctx, subject, trail.kept.get(link.policy.id))
    if link.direct and type(called) is not CoroutineType:
        if type(called) is Count:
            trail.pending = Counting(link, called)
            return WAITS
        return called
    try:
        waiting_for = called.send(None)
    except StopIteration as done:
        link.habit.waits = False
        return done.value
    link.habit.waits = True
    trail.pending = _wait(link, called, waiting_for)
    return WAITS


def stepped(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, Any]:
    """Step a coroutine once: what it returned, or else what it waits for."""
    try:
        return None, coroutine.send(None)
    except StopIteration as done:
        return done.value, None


async def call(link: Link, ctx: RequestContext, subject: Any, trail: Trail) -> Any:
    """Call a hook and wait for it, for as long as its policy may take. Raises TimeoutError, and what the hook does."""
    verdict = step(link, ctx, subject, trail)
    if verdict is not WAITS:
        return verdict
    assert trail.pending is not None, "whoever waits has said for what"
    return await trail.pending


async def _wait(link: Link, coroutine: Coroutine[Any, Any, Any], waiting_for: Any) -> Any:
    async with asyncio.timeout(link.timeout):
        return await _Started(coroutine, waiting_for)


class _Started:
    """A coroutine that has been stepped once and is waiting for `first`; awaiting it goes on from there."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        waiting_for = self._first
        while True:
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - what is thrown into us is the coroutine's to handle
                waiting_for, done = _advance(self._coroutine.throw, error)
            else:
                waiting_for, done = _advance(self._coroutine.send, sent)
            if done:
                return waiting_for


def _advance(step: Any, value: Any) -> tuple[Any, bool]:
    try:
        return step(value), False
    except StopIteration as done:
        return done.value, True
