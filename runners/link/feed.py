"""Long-polls the routing table, checks it, keeps the last good one on disk.

One feed serves both roles. It never blocks a call: it builds a new mapping aside and hands
it over whole. With the control plane down the process starts from the copy on disk and
keeps serving; the table's age is reported as a metric.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx2
import msgspec

from hotswap.core import clock
from hotswap.wire.table import SCHEMA, Entry, Feed, entry_sha256, table_digest

log = logging.getLogger("hotswap.feed")

POLL_SECONDS = 25.0
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

_feed_decoder = msgspec.json.Decoder(Feed)


@dataclass(slots=True)
class Table:
    """Entries by key as received: `(sha256, body)`."""

    revision: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)

    def changed_by(self, feed: Feed) -> "Table":
        """The table after `feed`. Raises ValueError when the result cannot be trusted."""
        if feed.schema != SCHEMA:
            raise ValueError(f"table schema {feed.schema}; this process reads {SCHEMA}")
        entries = {} if feed.full else dict(self.entries)
        for entry in feed.entries:
            if entry.is_gone:
                entries.pop(entry.key, None)
            elif entry_sha256(entry.key, bytes(entry.body)) != entry.sha256:
                raise ValueError(f"entry {entry.key} does not match its checksum")
            else:
                entries[entry.key] = entry
        if table_digest(entry.sha256 for entry in entries.values()) != feed.digest:
            raise ValueError("the table does not match its digest")
        return Table(feed.revision, entries)


Changed = Mapping[str, bytes | None]
"""Key -> new body, or None when the key is gone."""


class TableFeed:
    """Follows the control plane's table for one process.

    Args:
        on_change: gets the changed bodies after every revision, before it is acknowledged;
            a full table arrives as changes against what was known.
    """

    def __init__(
        self,
        *,
        role: Literal["gateway", "runner"],
        node: str,
        client: httpx2.AsyncClient,
        copy: Path,
        on_change: Callable[[Changed], None],
    ) -> None:
        self._role = role
        self._node = node
        self._client = client
        self._copy = copy
        self._on_change = on_change
        self._table = Table()
        self.fresh_at = 0.0
        """Monotonic time of the last answer; 0 before the first."""

    @property
    def revision(self) -> int:
        return self._table.revision

    def load_copy(self) -> bool:
        """Serve from disk until the control plane answers. False when there is no good copy."""
        try:
            feed = _feed_decoder.decode(self._copy.read_bytes())
            self._apply(feed)
        except (OSError, ValueError, msgspec.MsgspecError) as exc:
            log.info("no table on disk: %s", exc)
            return False
        return True

    async def follow(self) -> None:
        """Poll for ever; returns only by cancellation."""
        failures = 0
        while True:
            try:
                await self._poll()
                failures = 0
            except (httpx2.HTTPError, ValueError, msgspec.MsgspecError) as exc:
                if failures == 0:
                    log.warning("table feed: %s", exc or type(exc).__name__)
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1

    async def _poll(self) -> None:
        # The revision asked after is also this node's acknowledgement of it.
        response = await self._client.get(
            "/internal/v1/table",
            timeout=httpx2.Timeout(POLL_SECONDS + 10, connect=2.0),
            params={
                "role": self._role,
                "node": self._node,
                "after": self._table.revision,
                "wait": POLL_SECONDS,
            },
        )
        response.raise_for_status()
        feed = _feed_decoder.decode(response.content)
        self.fresh_at = clock.monotonic()
        if feed.revision == self._table.revision and not feed.full:
            return
        try:
            self._apply(feed)
        except ValueError:
            # Ask for everything: a table that does not add up must not be patched further.
            self._table = Table(0, self._table.entries)
            raise
        await asyncio.get_running_loop().run_in_executor(None, self._save)

    def _apply(self, feed: Feed) -> None:
        table = self._table.changed_by(feed)
        known = self._table.entries
        changed: dict[str, bytes | None] = {
            key: bytes(entry.body)
            for key, entry in table.entries.items()
            if key not in known or known[key].sha256 != entry.sha256
        }
        changed.update({key: None for key in known if key not in table.entries})
        self._on_change(changed)
        self._table = table

    def _save(self) -> None:
        """Write the whole table beside the old copy, then swap: a crash leaves one good copy."""
        table = self._table
        digest = table_digest(entry.sha256 for entry in table.entries.values())
        feed = Feed(SCHEMA, table.revision, True, digest, list(table.entries.values()))
        self._copy.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._copy.with_name(f"{self._copy.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk must not stop the feed
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(feed))
            fresh.replace(self._copy)
