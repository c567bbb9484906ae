"""Wakes the feeds of this process: one LISTEN connection per event loop.

NOTIFY is a hint. Whoever waits also looks again by itself after a second, so a lost
connection to Postgres costs a delay and nothing else.
"""

import asyncio
import logging
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection

from hotswap.records.table import CHANNEL

log = logging.getLogger("hotswap.feed")

RECONNECT_SECONDS = 1.0
_CONNECT_WITH = ("host", "port", "dbname", "user", "password")


class Listener:
    """Tells waiters that a new revision was published."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    def next_change(self) -> asyncio.Event:
        """Set at the next revision. Take it before looking, so that none is missed between."""
        return self._changed

    async def _listen(self) -> None:
        while True:
            try:
                await self._follow()
            except psycopg.Error as exc:
                log.warning("lost the connection that wakes the feeds: %s", exc)
            self._wake()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self) -> None:
        parameters: dict[str, Any] = connection.get_connection_params()
        known = {name: parameters[name] for name in _CONNECT_WITH if name in parameters}
        database = await psycopg.AsyncConnection.connect(**known, autocommit=True)
        async with database:
            await database.execute(f"LISTEN {CHANNEL}")
            self._wake()  # something may have been published before we listened
            async for _ in database.notifies():
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, Listener] = WeakKeyDictionary()


def listener() -> Listener:
    """The listener of the running loop, started on first use."""
    loop = asyncio.get_running_loop()
    if loop not in _listeners:
        _listeners[loop] = Listener()
    return _listeners[loop]
