"""Carrying what a server says back to the caller, as it comes.

Bytes that nobody has to change are passed on as they are. With several servers behind one address, ids that servers
choose are marked with whose they are, so that what the caller sends back finds its way.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from secrets import token_hex
from typing import Any, Final

from msgspec import Struct

from trustgate.contract import sse
from trustgate.contract.ports import Cache
from trustgate.mcp.asking import EVENTS, Asking, Reply, whole
from trustgate.mcp.meeting import Meeting
from trustgate.mcp.messages import (
    DENIED,
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    Json,
    Wrong,
    decode,
    encode,
    error,
    is_message,
    is_request,
    is_response,
    params,
    result,
)
from trustgate.mcp.revisions import STATELESS
from trustgate.mcp.servers import Away, Server
from trustgate.mcp.sessions import Up
from trustgate.mcp.speaking import Event, Incoming

Edit = Callable[[Json], Awaitable[Json]]
"""What becomes of the answer before the caller sees it."""
MARK: Final = "tg:"
ASKED: Final = "tgi:"
LOOK: Final = 0.25
"""Seconds between two looks for an answer that another process may have got."""
PATIENCE: Final = 600.0
"""Seconds that somebody behind a caller has to answer what a server asks."""
ROUNDS: Final = 16
NOT_FOR_STATELESS: Final = ("notifications/tools/list_changed", "notifications/resources/updated")


def marked(server: Server, message: Json) -> Json:
    """Return a server's request under an id that says whose it is."""
    return {**message, "id": f"{MARK}{server.registry_id}:{encode(message['id']).decode()}"}


def unmarked(message_id: Any) -> tuple[str, Any] | None:
    """Return the registry and the server's own id, of an id that was marked."""
    if not isinstance(message_id, str) or not message_id.startswith(MARK):
        return None
    registry_id, _, own = message_id[len(MARK) :].partition(":")
    try:
        return registry_id, decode(own.encode())
    except ValueError:
        return None


class Asked(Struct, frozen=True, kw_only=True):
    """What a server was asked: as it was met, and the message as it has it."""

    server: Server
    up: Up
    message: Json


class Relay:
    """Carries answers. `cache` is where an answer waits that came to another process than the one that waits for it."""

    def __init__(self, meeting: Meeting, cache: Cache) -> None:
        self._meeting = meeting
        self._cache = cache
        self._waiting: dict[str, asyncio.Future[Json]] = {}

    async def carry(self, asking: Asking, asked: Asked, incoming: Incoming, *, edit: Edit | None, marks: bool) -> Reply:
        """Return what the caller is sent of a server's answer. Raises Away, Wrong."""
        server, up = asked.server, asked.up
        if up.revision == STATELESS and not asking.stateless:
            return Reply(headers=EVENTS, events=self._in_rounds(asking, asked, incoming, edit))
        if incoming.streams:
            return Reply(headers=EVENTS, events=self._stream(asking, server, up, incoming, edit=edit, marks=marks))
        try:
            raw = await incoming.body()
        finally:
            await incoming.aclose()
        message = _one(raw)
        if message is None:
            raise Away(f"{server.name} answered with status {incoming.status} and no message")
        if is_response(message) and message["id"] == asking.id:
            message = await self._final(asking, up, message, edit)
        return whole(message, status=incoming.status)

    async def listen(
        self, asking: Asking, server: Server, up: Up, incoming: Incoming, *, edit: Edit | None, marks: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield what a server says by itself."""
        try:
            async for event in incoming.events():
                message = event.message
                if message is not None and is_request(message):
                    message = await self._question(asking, server, up, message, edit)
                    if message is None:
                        continue
                yield self._passed(server, event, message, marks=marks)
        finally:
            await incoming.aclose()

    async def hear(self, asking: Asking) -> bool:
        """Take the answer to something that the gateway asked this session. Returns whether it is such an answer.

        One that nobody waits for, here or in another process, is kept nowhere: callers could fill the cache with them.
        """
        message_id = asking.message["id"]
        if not isinstance(message_id, str) or not message_id.startswith(ASKED):
            return False
        key = _key(asking, message_id)
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(asking.message)
        elif await self._cache.get(key) is not None:
            await self._cache.set(f"{key}:answer", encode(asking.message), ttl=PATIENCE)
        return True

    async def _stream(
        self, asking: Asking, server: Server, up: Up, incoming: Incoming, *, edit: Edit | None, marks: bool
    ) -> AsyncGenerator[bytes, None]:
        answered = resumable = False
        try:
            async for event in incoming.events():
                resumable = resumable or bool(event.id)
                message = event.message
                if message is None or "method" not in message:
                    if message is not None and is_response(message) and message["id"] == asking.id:
                        answered = True
                        message = await self._final(asking, up, message, edit)
                    yield self._passed(server, event, message, marks=marks)
                elif asking.stateless and up.revision != STATELESS:
                    if (passed := await self._crossing(asking, server, up, message)) is not None:
                        yield passed
                elif is_request(message):
                    if (question := await self._question(asking, server, up, message, edit)) is not None:
                        yield self._passed(server, event, question, marks=marks)
                else:
                    self._heed(asking, message)
                    yield self._passed(server, event, message, marks=marks)
        except Away as away:
            if answered or resumable:
                raise  # the caller's connection breaks as the server's did, and it may come back for the rest
            yield _framed(error(asking.id, INTERNAL_ERROR, str(away)))
        finally:
            await incoming.aclose()

    async def _in_rounds(
        self, asking: Asking, asked: Asked, incoming: Incoming, edit: Edit | None
    ) -> AsyncGenerator[bytes, None]:
        """A server without sessions says what it needs to know instead of asking; the gateway asks in its place."""
        server, up, message = asked.server, asked.up, asked.message
        try:
            for _ in range(ROUNDS):
                needs: Json | None = None
                async for event in incoming.events():
                    said = event.message
                    if said is None or not (is_response(said) or "error" in said):
                        yield event.raw
                        continue
                    found = said.get("result")
                    if isinstance(found, dict) and found.get("resultType") == "input_required":
                        needs = found
                        break
                    yield _framed(await self._final(asking, up, {**said, "id": asking.id}, edit))
                    return
                await incoming.aclose()
                if needs is None:
                    break
                told: Json = {}
                for key, request in (needs.get("inputRequests") or {}).items():
                    question = {"jsonrpc": "2.0", "id": f"{ASKED}{token_hex(12)}", **request}
                    yield _framed(await _judged(question, edit))
                    told[key] = await self._await(_key(asking, question["id"]))
                given: Json = {**params(message), "inputResponses": told}
                if "requestState" in needs:
                    given["requestState"] = needs["requestState"]
                again = self._meeting.worded(asking, up, {**message, "params": given})
                incoming = await self._meeting.say(asking, server, up, again, within=server.patience)
            yield _framed(error(asking.id, INTERNAL_ERROR, f"{server.name} ended its answer before it was complete"))
        except Away as away:
            yield _framed(error(asking.id, INTERNAL_ERROR, str(away)))
        except Wrong as wrong:  # of a question
            asking.failure = wrong.code
            yield _framed(error(asking.id, wrong.code, wrong.message, wrong.data))
        finally:
            await incoming.aclose()

    async def _question(self, asking: Asking, server: Server, up: Up, message: Json, edit: Edit | None) -> Json | None:
        """Return what a server asks of the caller; one that a policy refuses is answered here."""
        try:
            return await _judged(message, edit)
        except Wrong as wrong:
            await self._refuse(asking, server, up, error(message["id"], wrong.code, wrong.message))
            return None

    async def _refuse(self, asking: Asking, server: Server, up: Up, refused: Json) -> None:
        told = await self._meeting.say(asking, server, up, refused, within=server.discovery)
        await told.aclose()

    async def _await(self, key: str) -> Json:
        """Wait for the caller's answer, to whichever process it comes."""
        waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        await self._cache.set(key, b"1", ttl=PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE):
                while not waiting.done():
                    await asyncio.wait((waiting,), timeout=LOOK)
                    if not waiting.done() and (raw := await self._cache.get(f"{key}:answer")) is not None:
                        await self._cache.delete(f"{key}:answer")
                        waiting.set_result(decode(raw))
        except TimeoutError:
            raise Away("the caller did not answer what the server asked") from None
        finally:
            del self._waiting[key]
            await self._cache.delete(key)
        answer = waiting.result()
        if "error" in answer:
            said = answer["error"] if isinstance(answer["error"], dict) else {}
            raise Away(f"the caller would not answer what the server asked: {said.get('message', '')}")
        found: Json = answer["result"]
        return found

    async def _crossing(self, asking: Asking, server: Server, up: Up, message: Json) -> bytes | None:
        """Return what a caller without a session can hear of a server that has one for it. Its questions are refused:
        such a caller can only be asked in an answer, which this server does not know how to."""
        if is_request(message):
            text = f"{message['method']} cannot be asked of a caller that speaks {STATELESS}"
            await self._refuse(asking, server, up, error(message["id"], METHOD_NOT_FOUND, text))
            return None
        return None if message["method"] in NOT_FOR_STATELESS else _framed(message)

    async def _final(self, asking: Asking, up: Up, message: Json, edit: Edit | None) -> Json:
        if edit is not None and "result" in message:
            try:
                message = await edit(message)
            except Wrong as wrong:
                asking.failure = wrong.code
                return error(message["id"], wrong.code, wrong.message, wrong.data)
        if isinstance(message.get("error"), dict):
            asking.failure = message["error"].get("code") or INTERNAL_ERROR
        found = message.get("result")
        asking.tool_error = isinstance(found, dict) and found.get("isError") is True
        if asking.stateless and up.revision != STATELESS and isinstance(found, dict):
            return {**message, "result": {**found, "resultType": "complete"}}
        if not asking.stateless and up.revision == STATELESS and isinstance(found, dict):
            rest = {name: value for name, value in found.items() if name not in ("resultType", "ttlMs", "cacheScope")}
            return {**message, "result": rest}
        return message

    def _heed(self, asking: Asking, message: Json) -> None:
        if message["method"].endswith("/list_changed"):
            asking.house.forget()

    def _passed(self, server: Server, event: Event, message: Json | None, *, marks: bool) -> bytes:
        """Return an event as the caller sees it: as it came, unless something in it is another thing for the caller."""
        changed = message
        if marks and message is not None and is_request(message):
            changed = marked(server, message)
        raw = event.raw if changed is event.message else sse.with_data(event.raw, encode(changed))
        if marks and event.id:
            lines = raw.rstrip(b"\n").split(b"\n")
            own = b"id: " + f"{server.registry_id}:{event.id}".encode("latin-1")
            raw = b"\n".join([own if line.startswith(b"id:") else line for line in lines]) + b"\n\n"
        return raw


async def _judged(question: Json, edit: Edit | None) -> Json:
    """Return what a server asks as policies let it through: they see it as what a newer server says it needs to know.

    Raises Wrong where one refuses it.
    """
    if edit is None:
        return question
    shown = {"question": {"method": question["method"], "params": params(question)}}
    judged = await edit(result(question["id"], {"inputRequests": shown}))
    try:
        changed: Json = judged["result"]["inputRequests"]["question"]["params"]
    except (KeyError, TypeError):
        raise Wrong(DENIED, "A policy answers in the place of what was asked, which cannot be.") from None
    return question if changed == params(question) else {**question, "params": changed}


def _key(asking: Asking, message_id: str) -> str:
    """Return under what a question waits: nobody answers what another session was asked."""
    return f"{asking.caller.gateway_id}:mcp_question:{asking.owner}:{message_id}"


def _one(raw: bytes) -> Json | None:
    try:
        message = decode(raw)
    except ValueError:
        return None
    return message if is_message(message) or (isinstance(message, dict) and "error" in message) else None


def _framed(message: Json) -> bytes:
    return sse.frame("message", encode(message))
