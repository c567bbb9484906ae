"""`/ws/functions/{name}/logs`: a function's log as it grows.

The store is the only source of lines. Hints of the channel layer, and a look every second,
say when to read on; so nothing is lost or repeated, whatever happens to a hint, and a
reader who comes back with the last number it saw misses nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async

from functions import selectors as functions
from hotswap.access import sockets
from hotswap.core import clock
from hotswap.core.errors import (
    BadRequest,
    Forbidden,
    HotSwapError,
    NotFound,
    Unauthenticated,
)
from runners import live
from runners.selectors import logs
from runners.services.log_lines import LEVELS
from runners.types import LogPage, LogQuery, LogRow

SCOPE: Final = "invocations:read"
HISTORY_LINES: Final = 200
BATCH_LINES: Final = 500
MESSAGE_BYTES: Final = 256 * 1024  # clients often take no more than 1 MiB
LAG_LINES: Final = 20_000
POLL_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
TOKEN_SECONDS: Final = 10.0
QUESTION_BYTES: Final = 8_192

_CLOSE_CODES = {Unauthenticated: 4401, Forbidden: 4403, NotFound: 4404, BadRequest: 4400}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

log = logging.getLogger("hotswap.logs")

_encode = msgspec.json.Encoder().encode


class _Question(msgspec.Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """The one message that a client may send: its token, when it has no session."""

    token: str


_question = msgspec.json.Decoder(_Question).decode


class _Gone(Exception):
    """The visitor left."""


class _Asked(msgspec.Struct):
    """The address's query. `after`: the last number seen; None is a fresh look."""

    after: int | None
    query: LogQuery


async def log_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of one visit.

    Not one of Channels' consumers: they refuse visitors when the channel layer is down, and
    wait for a message while they close, which keeps Granian from sending the close frame.
    """
    await receive()
    await send({"type": "websocket.accept"})
    visit = LogVisit(scope, send)
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


class LogVisit:
    """Sends `ready`, then `lines`, `gap` and `heartbeat`; before an abnormal end `problem`.

    A slow reader slows down its own reading of the store and nobody else. When it falls
    more than `LAG_LINES` behind it gets a `gap` that says which numbers it can fetch.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._name: str = scope["url_route"]["kwargs"]["name"]
        self._function_id = 0
        self._token = sockets.bearer_token(scope)
        self._token_given = asyncio.Event()
        self._news = asyncio.Event()

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
        """Let the visitor in and send lines until it is cancelled.

        Raises:
            HotSwapError: why the visit ends.
        """
        try:
            await self._authorise(wait=not sockets.is_browser(self._scope))
            self._function_id = await _function_id(self._name)
            asked = _asked(self._scope)
            follower = asyncio.create_task(live.follow(self._function_id, self._news))
            try:
                await self._pump(asked)
            finally:
                follower.cancel()
        except (_Gone, HotSwapError):
            raise
        except Exception as exc:
            log.exception("a log websocket failed")
            raise HotSwapError("Something broke on our side; connect again.") from exc

    async def refuse(self, error: HotSwapError) -> None:
        """Say why, then close; the visitor may be gone already."""
        with contextlib.suppress(_Gone):
            await self._say(type="problem", problem=error.problem())
            code = _CLOSE_CODES.get(type(error), 1011)
            await self._send({"type": "websocket.close", "code": code})

    async def _authorise(self, *, wait: bool = False) -> None:
        """Check the visitor anew; at first wait a while for a token to arrive."""
        try:
            visitor = await sockets.visitor(self._scope, self._token)
        except Unauthenticated:
            if not wait or self._token is not None:
                raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._token_given.wait(), TOKEN_SECONDS)
            visitor = await sockets.visitor(self._scope, self._token)
        visitor.require(SCOPE)

    async def _pump(self, asked: _Asked) -> None:
        page = await self._first(asked)
        await self._say(type="ready", function=self._name, cursor=page.first - 1)
        beat_at = clock.monotonic() + HEARTBEAT_SECONDS
        while True:
            await self._send_lines(page)
            if clock.monotonic() >= beat_at:
                await self._beat(page.last)
                beat_at = clock.monotonic() + HEARTBEAT_SECONDS
            if page.at_end:
                await self._wait()
            cursor = await self._skip(page) if page.newest - page.last > LAG_LINES else page.last
            self._news.clear()
            page = await _after(
                function_id=self._function_id, after=cursor, limit=BATCH_LINES, query=asked.query
            )

    async def _first(self, asked: _Asked) -> LogPage:
        if asked.after is None:
            return await _before(
                function_id=self._function_id, limit=HISTORY_LINES, query=asked.query
            )
        return await _after(
            function_id=self._function_id, after=asked.after, limit=BATCH_LINES, query=asked.query
        )

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), POLL_SECONDS)

    async def _beat(self, cursor: int) -> None:
        """Say the time; end the visit of somebody who may no longer look."""
        await self._authorise()
        await _function_id(self._name)
        await self._say(type="heartbeat", time=_iso(clock.utc_now()), cursor=cursor)

    async def _skip(self, page: LogPage) -> int:
        """Leave out what the reader cannot keep up with; returns where to go on."""
        first, last = page.last + 1, page.newest - HISTORY_LINES
        history = f"/api/v1/functions/{self._name}/logs?after={page.last}"
        await self._say(type="gap", first=first, last=last, count=last - first + 1, history=history)
        return last

    async def _send_lines(self, page: LogPage) -> None:
        for lines in _chunks(page.lines):
            cursor = lines[-1].seq
            await self._say(type="lines", lines=[_line(line) for line in lines], cursor=cursor)

    async def _say(self, **message: object) -> None:
        try:
            await self._send({"type": "websocket.send", "text": _encode(message).decode()})
        except (RuntimeError, OSError) as exc:  # each server has its own word for "closed"
            raise _Gone from exc


def _asked(scope: Scope) -> _Asked:
    """The parameters of the address; raises BadRequest."""
    given = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
    after = given.get("after")
    if after is not None and not (after.isdecimal() and len(after) < 19):
        raise BadRequest("after: must be a line's number.")
    levels = frozenset(level.upper() for level in given.get("level", "").split(",") if level)
    if unknown := levels - set(LEVELS):
        raise BadRequest(f"level: {min(unknown)} is not one of {', '.join(LEVELS)}.")
    query = LogQuery(levels=levels, text=given.get("q", "")[:200])
    return _Asked(None if after is None else int(after), query)


def _chunks(lines: Sequence[LogRow]) -> Iterator[list[LogRow]]:
    """Lines in messages of a size that every client takes."""
    chunk: list[LogRow] = []
    size = 0
    for line in lines:
        if chunk and size + len(line.text) > MESSAGE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line.text)
    if chunk:
        yield chunk


def _line(line: LogRow) -> dict[str, object]:
    return {
        "seq": line.seq,
        "time": _iso(line.time),
        "level": line.level,
        "requestId": line.request_id,
        "version": f"v{line.version}" if line.version else None,
        "instance": line.instance,
        "text": line.text,
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _find(name: str) -> int:
    return functions.function_get(name=name).id


# Threads of their own: a slow question of one visitor makes nobody else wait.
_function_id: Callable[..., Awaitable[int]] = database_sync_to_async(_find, thread_sensitive=False)
_after: Callable[..., Awaitable[LogPage]] = database_sync_to_async(
    logs.log_after, thread_sensitive=False
)
_before: Callable[..., Awaitable[LogPage]] = database_sync_to_async(
    logs.log_before, thread_sensitive=False
)
