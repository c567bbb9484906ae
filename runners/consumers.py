"""`/ws/functions/{name}/logs`: a function's log as it grows.

The store is the only source of lines. Hints of the channel layer, and a look every second,
say when to read on; so nothing is lost or repeated, whatever happens to a hint, and a
reader who comes back with the last number it saw misses nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from functions import selectors as functions
from hotswap.access import sockets
from hotswap.core import clock
from hotswap.core.errors import (
    BadRequest,
    Forbidden,
    HotSwapError,
    NotFound,
    PayloadTooLarge,
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

_encode = msgspec.json.Encoder().encode


class _Question(msgspec.Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """The one message that a client may send: its token, when it has no session."""

    token: str


class _Asked(msgspec.Struct):
    """The address's query. `after`: the last number seen; None is a fresh look."""

    after: int | None
    query: LogQuery


class LogConsumer(AsyncWebsocketConsumer):
    """Sends `ready`, then `lines`, `gap` and `heartbeat`; before an abnormal end `problem`.

    A slow reader slows down its own reading of the store and nobody else. When it falls
    more than `LAG_LINES` behind it gets a `gap` that says which numbers it can fetch.
    """

    async def connect(self) -> None:
        self._token = sockets.bearer_token(self.scope)
        self._news = asyncio.Event()
        self._token_given = asyncio.Event()
        await self.accept()
        self._task = asyncio.create_task(self._serve())

    async def disconnect(self, code: int) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if not text_data or len(text_data) > QUESTION_BYTES:
                raise PayloadTooLarge("Only a token is expected here.")
            self._token = msgspec.json.decode(text_data, type=_Question).token
        except (msgspec.DecodeError, HotSwapError):
            await self._end(BadRequest('Only {"type": "auth", "token": "..."} is understood.'))
        else:
            self._token_given.set()

    async def logs_hint(self, hint: dict[str, Any]) -> None:
        """The channel layer says that there are new lines."""
        self._news.set()

    async def _serve(self) -> None:
        """Everything from the handshake to the end; never lets an error out."""
        watched = ""
        try:
            await self._authorise(wait=True)
            self._name = self.scope["url_route"]["kwargs"]["name"]
            self._function_id = await _function_id(self._name)
            asked = _asked(self.scope)
            watched = live.group(self._function_id)
            await self._watch(watched)
            await self._pump(asked)
        except HotSwapError as error:
            await self._end(error)
        finally:
            if watched:
                with contextlib.suppress(Exception):
                    await self.channel_layer.group_discard(watched, self.channel_name)

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
        visitor.require(SCOPE)

    async def _watch(self, group: str) -> None:
        """Ask for hints; without a channel layer the look every second has to do."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(POLL_SECONDS):
                await self.channel_layer.group_add(group, self.channel_name)

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
        await self.send(text_data=_encode(message).decode())

    async def _end(self, error: HotSwapError) -> None:
        await self._say(**{**error.problem(), "type": "problem", "problem": error.slug})
        await self.close(code=_CLOSE_CODES.get(type(error), 1011))


def _asked(scope: dict[str, Any]) -> _Asked:
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


def _iso(moment: Any) -> str:
    text: str = moment.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@database_sync_to_async
def _function_id(name: str) -> int:
    return functions.function_get(name=name).id


# Threads of their own: a slow question of one visitor makes nobody else wait.
_after = database_sync_to_async(logs.log_after, thread_sensitive=False)
_before = database_sync_to_async(logs.log_before, thread_sensitive=False)
