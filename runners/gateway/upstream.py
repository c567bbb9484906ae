"""Links to this machine's runners: many calls in flight on one connection each."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

from hotswap.core import clock
from hotswap.core.errors import Unavailable
from runners.link.frames import FrameProtocol, decode_json, encode_json
from runtimes.protocol.framing import FLAG_STREAM, PROTOCOL_VERSION, FrameType

log = logging.getLogger("hotswap.upstream")

RECONNECT_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)
SWEEP_SECONDS = 0.25
LEAVE_LOOK_SECONDS = 0.01

_INVOKE = int(FrameType.INVOKE)


class Answered(Protocol):
    """A call in flight, told what the runner says. `deadline`: monotonic seconds."""

    deadline: float

    def on_frame(self, kind: int, header: bytes, body: bytes) -> bool:
        """One frame of the answer; True when it was the last."""

    def on_link_lost(self) -> None:
        """The runner's connection broke; nobody will answer."""

    def on_deadline(self) -> None:
        """The runner did not keep its word; the safety net of the gateway."""


class RunnerLink(FrameProtocol):
    """One connection to a runner. In service from the runner's greeting on.

    Attributes:
        name: the runner's; empty before its greeting.
        over: set once it takes no new calls: the runner leaves, or the connection broke.
    """

    __slots__ = ("_calls", "_stream", "_upstream", "name", "over")

    def __init__(self, upstream: "Upstream") -> None:
        super().__init__()
        self._calls: dict[int, Answered] = {}
        self._stream = 0
        self._upstream = upstream
        self.name = ""
        self.over = asyncio.Event()

    def invoke(self, call: Answered, header: bytes, body: bytes, wants_stream: bool) -> int:
        """Send a call; return its stream number."""
        self._stream = stream = (self._stream + 1) & 0x7FFFFFFF
        self._calls[stream] = call
        self.send(_INVOKE, stream, header, body, FLAG_STREAM if wants_stream else 0)
        return stream

    def cancel(self, stream: int) -> None:
        """The caller hung up. Answers still on their way are dropped."""
        if self._calls.pop(stream, None) is not None:
            self.send(FrameType.CANCEL, stream)

    def credit(self, stream: int, size: int) -> None:
        """The caller took `size` bytes of a stream."""
        if stream in self._calls:
            self.send(FrameType.CREDIT, stream, encode_json([size]))

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    @property
    def is_broken(self) -> bool:
        """Whether frames written now would be lost."""
        return self.transport is None or self.transport.is_closing()

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        call = self._calls.get(stream)
        if call is None:
            if stream == 0:
                self._on_word(kind, header)
        elif call.on_frame(kind, header, body):
            self._calls.pop(stream, None)

    def _on_word(self, kind: int, header: bytes) -> None:
        """What the runner says of itself."""
        if kind == FrameType.HELLO:
            self.name = str(decode_json(header)[1])
            self._upstream.enter(self)
        elif kind == FrameType.SHUTDOWN:
            self._upstream.leave(self)
            self._hang_up_when_idle()

    def _hang_up_when_idle(self) -> None:
        """The runner waits for that: whatever was sent to it has its answer then."""
        if self._calls:
            loop = asyncio.get_running_loop()
            loop.call_later(LEAVE_LOOK_SECONDS, self._hang_up_when_idle)
        elif self.transport is not None:
            self.transport.close()

    def sweep(self, now: float) -> None:
        for stream, call in [(s, c) for s, c in self._calls.items() if c.deadline <= now]:
            self.cancel(stream)
            call.on_deadline()

    def on_violation(self, what: str) -> None:
        log.error("the runner broke the protocol: %s", what)
        self.close()

    def eof_received(self) -> None:
        """The runner is gone: no call may be given to it while the connection closes."""
        self._upstream.leave(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        calls, self._calls = list(self._calls.values()), {}
        self._upstream.lost(self)
        for call in calls:
            call.on_link_lost()


class Upstream:
    """Keeps a connection to every runner of this machine and hands out the best one.

    Args:
        sockets: one of each runner.
    """

    def __init__(self, *, sockets: Sequence[Path], node: str) -> None:
        self._sockets = sockets
        self._node = node
        self._links: list[RunnerLink] = []
        self._only: RunnerLink | None = None  # of `_links`, where there is but one
        self._leaving: set[RunnerLink] = set()
        self._turn = 0

    @property
    def is_connected(self) -> bool:
        """Whether at least one runner takes calls."""
        return bool(self._links)

    @property
    def in_flight(self) -> int:
        return sum(link.in_flight for link in self._all())

    def _all(self) -> Iterator[RunnerLink]:
        return chain(self._links, self._leaving)

    def link(self) -> RunnerLink:
        """The open connection with the fewest calls in flight; several equals take turns.

        A call may be given to it in the same turn of the event loop only.

        Raises:
            Unavailable: there is none now; nothing was sent, so the caller may retry.
        """
        if self._only is not None:
            return self._only
        return self._least_busy()

    def _least_busy(self) -> RunnerLink:
        links = self._links
        if not links:
            raise Unavailable("no runner is connected to this gateway; try again in a second")
        self._turn = turn = (self._turn + 1) % len(links)
        best = links[turn]
        for link in links:
            if link.in_flight < best.in_flight:
                best = link
        if best.is_broken:  # it will say so itself in a moment; nothing was written to it
            self.leave(best)
            return self.link()
        return best

    # Told by links

    def enter(self, link: RunnerLink) -> None:
        """The runner has greeted: it takes calls."""
        if link not in self._links and not link.over.is_set():
            self._set_links([*self._links, link])
            log.info("connected to runner %s", link.name)

    def leave(self, link: RunnerLink) -> None:
        """It takes no new calls; those in flight may still be answered."""
        self._set_links([known for known in self._links if known is not link])
        self._leaving.add(link)
        link.over.set()

    def lost(self, link: RunnerLink) -> None:
        """The connection is closed."""
        self.leave(link)
        self._leaving.discard(link)

    def _set_links(self, links: list[RunnerLink]) -> None:
        self._links = links
        self._only = links[0] if len(links) == 1 else None

    # Connecting

    async def keep_connected(self) -> None:
        """Connect to every runner, and again whenever a link breaks; for ever."""
        async with asyncio.TaskGroup() as connecting:
            for path in self._sockets:
                connecting.create_task(self._keep_connected(path))

    async def _keep_connected(self, path: Path) -> None:
        failures = 0
        while True:
            try:
                link = await self._connect(path)
                await link.over.wait()
                if not link.name:
                    raise ConnectionResetError("it hung up before its greeting")
                log.warning("the link to runner %s is over", link.name)
                failures = 0
            except OSError as exc:
                if failures == 0:
                    log.warning("runner at %s: %s", path.name, exc)
                await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
                failures += 1

    async def _connect(self, path: Path) -> RunnerLink:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: RunnerLink(self), str(path))
        link.send(FrameType.HELLO, 0, encode_json([PROTOCOL_VERSION, self._node]))
        return link

    async def sweep(self) -> None:
        """End calls whose runner missed its own deadline; for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for link in list(self._all()):
                link.sweep(clock.monotonic())

    def close(self) -> None:
        for link in list(self._all()):
            link.close()
