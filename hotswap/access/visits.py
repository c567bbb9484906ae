"""A visit by websocket: who may come in, how long it stays, and why it ends.

The store is the only source of what is said. Hints of the channel layer, and a look every
second, say when to read on; so nothing is lost, whatever happens to a hint.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from hotswap.access import hints, sockets
from hotswap.access.sockets import Scope
from hotswap.core import clock
from hotswap.core.errors import (
    BadRequest,
    Forbidden,
    HotSwapError,
    NotFound,
    Unauthenticated,
)

POLL_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
TOKEN_SECONDS: Final = 10.0
QUESTION_BYTES: Final = 8_192

_CLOSE_CODES = {Unauthenticated: 4401, Forbidden: 4403, NotFound: 4404, BadRequest: 4400}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Socket = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("hotswap.visits")

_encode = msgspec.json.Encoder().encode


class _Question(msgspec.Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """The one message that a client may send: its token, when it has no session."""

    token: str


_question = msgspec.json.Decoder(_Question).decode


class _Gone(Exception):
    """The visitor left."""


class Visit(ABC):
    """Says `heartbeat` now and then, and `problem` before an abnormal end.

    A subclass names the `wanted` scope, finds what is visited, and says the rest. It works in
    the visitor's own time: a slow reader slows down nobody else.
    """

    wanted: ClassVar[str]

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.news = asyncio.Event()
        self._send = send
        self._token = sockets.bearer_token(scope)
        self._token_given = asyncio.Event()
        self._beat_at = 0.0

    @abstractmethod
    async def enter(self) -> str:
        """Find what is visited; the group of its hints. Raises NotFound, BadRequest."""

    @abstractmethod
    async def stay(self) -> None:
        """Say what is new until cancelled."""

    @abstractmethod
    async def check(self) -> None:
        """Raise NotFound when what is visited is gone."""

    async def say(self, **message: object) -> None:
        """Send one message; ends the visit when the visitor left."""
        try:
            await self._send({"type": "websocket.send", "text": _encode(message).decode()})
        except (RuntimeError, OSError) as exc:  # each server has its own word for "closed"
            raise _Gone from exc

    async def wait(self, after: float = 0.0) -> None:
        """Wait for a hint, but `after` seconds at least, and a second at most."""
        await asyncio.sleep(after)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), max(0.0, POLL_SECONDS - after))

    async def beat(self, **facts: object) -> None:
        """When it is time: say the time, and end the visit of who may no longer look."""
        if clock.monotonic() < self._beat_at:
            return
        await self._authorise()
        await self.check()
        await self.say(type="heartbeat", time=iso(clock.utc_now()), **facts)
        self._beat_at = clock.monotonic() + HEARTBEAT_SECONDS

    async def hear(self, receive: Receive) -> None:
        """Take the visitor's token; return when it leaves.

        Raises:
            BadRequest: it said something else.
        """
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text") or ""
            try:
                if len(text) > QUESTION_BYTES:
                    raise msgspec.DecodeError
                self._token = _question(text).token
            except msgspec.DecodeError:
                expected = 'Only {"type": "auth", "token": "..."} is understood.'
                raise BadRequest(expected) from None
            self._token_given.set()

    async def serve(self) -> None:
        """Let the visitor in and stay until cancelled.

        Raises:
            HotSwapError: why the visit ends.
        """
        try:
            await self._authorise(wait=not sockets.is_browser(self.scope))
            group = await self.enter()
            follower = asyncio.create_task(hints.follow(group, self.news))
            self._beat_at = clock.monotonic() + HEARTBEAT_SECONDS
            try:
                await self.stay()
            finally:
                follower.cancel()
        except (_Gone, HotSwapError):
            raise
        except Exception as exc:
            log.exception("a websocket failed")
            raise HotSwapError("Something broke on our side; connect again.") from exc

    async def refuse(self, error: HotSwapError) -> None:
        """Say why, then close; the visitor may be gone already."""
        with contextlib.suppress(_Gone):
            await self.say(type="problem", problem=error.problem())
            code = _CLOSE_CODES.get(type(error), 1011)
            await self._send({"type": "websocket.close", "code": code})

    async def _authorise(self, *, wait: bool = False) -> None:
        """Check the visitor anew; at first wait a while for a token to arrive."""
        try:
            visitor = await sockets.visitor(self.scope, self._token)
        except Unauthenticated:
            if not wait or self._token is not None:
                raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._token_given.wait(), TOKEN_SECONDS)
            visitor = await sockets.visitor(self.scope, self._token)
        visitor.require(self.wanted)


def socket_of(visit_type: type[Visit]) -> Socket:
    """The ASGI application whose every visit is one of `visit_type`.

    Not one of Channels' consumers: they refuse visitors when the channel layer is down, and
    wait for a message while they close, which keeps Granian from sending the close frame.
    """

    async def socket(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        visit = visit_type(scope, send)
        tasks = {asyncio.create_task(visit.hear(receive)), asyncio.create_task(visit.serve())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, HotSwapError):
                await visit.refuse(end)

    return socket


def iso(moment: datetime) -> str:
    """A moment as messages spell it: UTC, milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
