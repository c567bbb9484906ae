"""`/ws/functions/{name}/logs`: a function's log as it grows.

Lines have numbers: nothing is lost or repeated, and a reader who comes back with the last
number it saw misses nothing.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async

from functions import selectors as functions
from hotswap.access.sockets import Scope
from hotswap.access.visits import Send, Visit, iso, socket_of
from hotswap.core.errors import BadRequest
from runners import live
from runners.selectors import logs
from runners.services.log_lines import LEVELS
from runners.types import LogPage, LogQuery, LogRow

HISTORY_LINES: Final = 200
BATCH_LINES: Final = 500
MESSAGE_BYTES: Final = 256 * 1024  # clients often take no more than 1 MiB
LAG_LINES: Final = 20_000


class _Asked(msgspec.Struct):
    """The address's query. `after`: the last number seen; None is a fresh look."""

    after: int | None
    query: LogQuery


class LogVisit(Visit):
    """Sends `ready`, then `lines` and `gap`.

    When a slow reader falls more than `LAG_LINES` behind it gets a `gap` that says which
    numbers it can fetch.
    """

    wanted = "invocations:read"

    def __init__(self, scope: Scope, send: Send) -> None:
        super().__init__(scope, send)
        self._name: str = scope["url_route"]["kwargs"]["name"]
        self._function_id = 0

    async def enter(self) -> str:
        """The function's lines."""
        self._function_id = await _function_id(self._name)
        self._asked = _asked(self.scope)
        return live.group(self._function_id)

    async def check(self) -> None:
        """The function may have been deleted."""
        await _function_id(self._name)

    async def stay(self) -> None:
        """Send lines as they come."""
        page = await self._first(self._asked)
        await self.say(type="ready", function=self._name, cursor=page.first - 1)
        while True:
            await self._send_lines(page)
            await self.beat(cursor=page.last)
            if page.at_end:
                await self.wait()
            cursor = await self._skip(page) if page.newest - page.last > LAG_LINES else page.last
            self.news.clear()
            page = await _after(
                function_id=self._function_id,
                after=cursor,
                limit=BATCH_LINES,
                query=self._asked.query,
            )

    async def _first(self, asked: _Asked) -> LogPage:
        if asked.after is None:
            return await _before(
                function_id=self._function_id, limit=HISTORY_LINES, query=asked.query
            )
        return await _after(
            function_id=self._function_id, after=asked.after, limit=BATCH_LINES, query=asked.query
        )

    async def _skip(self, page: LogPage) -> int:
        """Leave out what the reader cannot keep up with; returns where to go on."""
        first, last = page.last + 1, page.newest - HISTORY_LINES
        history = f"/api/v1/functions/{self._name}/logs?after={page.last}"
        await self.say(type="gap", first=first, last=last, count=last - first + 1, history=history)
        return last

    async def _send_lines(self, page: LogPage) -> None:
        for lines in _chunks(page.lines):
            cursor = lines[-1].seq
            await self.say(type="lines", lines=[_line(line) for line in lines], cursor=cursor)


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
        "time": iso(line.time),
        "level": line.level,
        "requestId": line.request_id,
        "version": f"v{line.version}" if line.version else None,
        "instance": line.instance,
        "text": line.text,
    }


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

log_socket = socket_of(LogVisit)
