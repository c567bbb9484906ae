"""Open-loop callers with a ledger: calls begin on time whatever became of those before, and
every one of them is accounted for.

A closed loop waits for an answer before it calls again, and so hides every stall.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from tests.bench.figures import percentile

SLOW_SECONDS = 5.0
ANSWER_SECONDS = 60.0
IDLE_MOST = 64
NEW_CONNECTION_EVERY = 10
UNITS = 20
"""Calls carry `X-Unit`, so many different ones in turn."""

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


def source(version: int, *, beside: str = "") -> dict[str, str]:
    """Code that answers a call's id, its own version, and a count of what this instance ran.

    The counts of an instance have no gaps and no repeats exactly if every call that it ran
    was answered to somebody, once.

    Args:
        beside: more statements of the handler, which may read `event`.
    """
    code = f"""
import os, time

HERE = []

def handler(event, context):
    if not HERE:
        HERE.extend([os.urandom(8).hex(), 0])
    HERE[1] += 1
    {beside or "pass"}
    said = {{"id": event["id"], "version": "v{version}", "instance": HERE[0], "turn": HERE[1]}}
    time.sleep(event.get("seconds", 0))
    return said
"""
    return {"app.py": code}


@dataclass(slots=True)
class Entry:
    """One call. `status`: of the answer, or the name of what went wrong; times are monotonic."""

    id: int
    function: str
    sent: float
    answered: float = 0.0
    status: int | str = "none"
    version: str = ""
    rollout: str = ""
    echoed: int = -1
    instance: str = ""
    turn: int = 0

    @property
    def seconds(self) -> float:
        return self.answered - self.sent


@dataclass(frozen=True, slots=True)
class Window:
    """A version that an alias may have served from `since` to `until`."""

    version: str
    since: float
    until: float = float("inf")


@dataclass(slots=True)
class Served:
    """What the alias of one function may have served, as its deployer saw it."""

    windows: list[Window] = field(default_factory=list)

    def begin(self, version: str) -> None:
        """From now on a call may get it."""
        self.windows.append(Window(version, time.monotonic()))

    def end(self, version: str) -> None:
        """From now on no new call may get it."""
        now = time.monotonic()
        self.windows = [
            Window(w.version, w.since, now)
            if w.version == version and w.until == float("inf")
            else w
            for w in self.windows
        ]

    def allows(self, entry: Entry) -> bool:
        """Whether its version could be served at some moment of the call."""
        return any(
            w.version == entry.version and w.since <= entry.answered and entry.sent <= w.until
            for w in self.windows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The ledger reconciled.

    Attributes:
        dropped: calls without a good answer: those of `statuses` other than 200.
        duplicated: calls that ran more than once, or ran and were answered to nobody.
        wrong: calls answered by a version that the alias could not have served then, or with
            the words of another call.
        slow: calls that took longer than SLOW_SECONDS.
    """

    sent: int
    answered: int
    executed: int
    dropped: int
    duplicated: int
    wrong: int
    slow: int
    statuses: Mapping[int | str, int]

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.answered} answered, {self.executed} executed: "
            f"{self.dropped} dropped, {self.duplicated} duplicated, {self.wrong} of a wrong "
            f"version, {self.slow} slow {dict(self.statuses)}"
        )


def reconcile(entries: Iterable[Entry], served: Mapping[str, Served]) -> Account:
    """Match what was sent, answered and executed.

    Args:
        served: by function.
    """
    entries = list(entries)
    statuses = Counter(entry.status for entry in entries)
    good = [entry for entry in entries if entry.status == 200]
    turns: dict[str, list[int]] = defaultdict(list)
    for entry in good:
        turns[entry.instance].append(entry.turn)
    executed = sum(max(ran) for ran in turns.values())
    repeated = sum(len(ran) - len(set(ran)) for ran in turns.values())
    wrong = [e for e in good if e.echoed != e.id or not served[e.function].allows(e)]
    return Account(
        sent=len(entries),
        answered=len(good),
        executed=executed,
        dropped=len(entries) - len(good),
        duplicated=executed - len(good) + 2 * repeated,
        wrong=len(wrong),
        slow=sum(entry.seconds > SLOW_SECONDS for entry in good),
        statuses=dict(statuses),
    )


def p99(entries: Iterable[Entry]) -> float:
    """Seconds that 99 % of the good answers among these took at most."""
    return percentile([entry.seconds for entry in entries if entry.status == 200], 0.99)


class Ledger:
    """Calls functions at constant rates from a thread of its own until it is closed.

    Most calls use a connection that is kept; every tenth opens one of its own.
    """

    def __init__(self, url: str, token: str, *, alias: str = "production") -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._token, self._alias = token, alias
        self.entries: list[Entry] = []
        self._ids = itertools.count(1)
        self._idle: list[tuple[Reader, Writer]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._rates: dict[str, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(2 * ANSWER_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self, function: str, per_second: float, **event: object) -> None:
        """Call a function so often from now on, with these members beside the id."""

        def task() -> None:
            self._rates[function] = self._loop.create_task(self._paced(function, per_second, event))

        self._loop.call_soon_threadsafe(task)

    def end(self, function: str) -> None:
        """Begin no more calls of it; those that run are waited for at the end."""
        self._loop.call_soon_threadsafe(lambda: self._rates.pop(function).cancel())

    def once(self, function: str, **event: object) -> Entry:
        """Begin one call; its entry is filled in when the answer comes."""
        entry = Entry(next(self._ids), function, time.monotonic())
        self.entries.append(entry)
        self._loop.call_soon_threadsafe(self._start, entry, event)
        return entry

    def of(self, function: str, since: float = 0.0) -> list[Entry]:
        """Answered calls of a function that were sent at `since` or later."""
        found = [e for e in list(self.entries) if e.function == function and e.answered]
        return [e for e in found if e.sent >= since]

    async def _paced(self, function: str, per_second: float, event: Mapping[str, object]) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # Its time is when it was due: a generator that is late hides no waiting.
            entry = Entry(next(self._ids), function, due)
            self.entries.append(entry)
            self._start(entry, event)

    def _start(self, entry: Entry, event: Mapping[str, object]) -> None:
        task = self._loop.create_task(self._call(entry, event))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, entry: Entry, event: Mapping[str, object]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._exchange(entry, event)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            entry.status = type(error).__name__
        entry.answered = time.monotonic()

    async def _exchange(self, entry: Entry, event: Mapping[str, object]) -> None:
        is_kept = entry.id % NEW_CONNECTION_EVERY != 0
        reader, writer = await self._connection(is_kept=is_kept)
        try:
            writer.write(self._request(entry, event, is_kept=is_kept))
            status, headers, body = await _answer(reader)
        except BaseException:
            writer.close()
            raise
        if is_kept and headers.get("connection") != "close" and len(self._idle) < IDLE_MOST:
            self._idle.append((reader, writer))
        else:
            writer.close()
        entry.status = status
        entry.version = headers.get("x-hotswap-executed-version", "")
        entry.rollout = headers.get("x-hotswap-rollout", "")
        if status == 200:
            said = json.loads(body)
            entry.echoed, entry.instance, entry.turn = said["id"], said["instance"], said["turn"]
            if said["version"] != entry.version:
                entry.echoed = -1  # the words of one version under the name of another

    async def _connection(self, *, is_kept: bool) -> tuple[Reader, Writer]:
        while is_kept and self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    def _request(self, entry: Entry, event: Mapping[str, object], *, is_kept: bool) -> bytes:
        body = json.dumps({"id": entry.id, **event})
        head = (
            f"POST /api/v1/functions/{entry.function}/invoke HTTP/1.1\r\n"
            f"Host: {self._host}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nX-HotSwap-Mode: raw\r\n"
            f"X-HotSwap-Alias: {self._alias}\r\nX-Unit: {entry.id % UNITS}\r\n"
            f"Connection: {'keep-alive' if is_kept else 'close'}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    async def _finish(self) -> None:
        for task in self._rates.values():
            task.cancel()
        while self._calls:
            await asyncio.wait(self._calls)
        for _, writer in self._idle:
            writer.close()


async def _answer(reader: Reader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body
