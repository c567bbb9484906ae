"""The link to this machine's runner: many calls in flight on one connection."""

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from hotswap.core import clock
from hotswap.core.errors import Unavailable
from runners.link.frames import FrameProtocol, encode_json
from runtimes.protocol.framing import FLAG_STREAM, PROTOCOL_VERSION, FrameType

log = logging.getLogger("hotswap.upstream")

RECONNECT_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)
SWEEP_SECONDS = 0.25

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
    """One connection to a runner."""

    __slots__ = ("_calls", "_on_lost", "_stream")

    def __init__(self, on_lost: "Upstream") -> None:
        super().__init__()
        self._calls: dict[int, Answered] = {}
        self._stream = 0
        self._on_lost = on_lost

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

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        call = self._calls.get(stream)
        if call is not None and call.on_frame(kind, header, body):
            self._calls.pop(stream, None)

    def sweep(self, now: float) -> None:
        for stream, call in [(s, c) for s, c in self._calls.items() if c.deadline <= now]:
            self.cancel(stream)
            call.on_deadline()

    def on_violation(self, what: str) -> None:
        log.error("the runner broke the protocol: %s", what)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.on_link_lost()
        self._on_lost.lost(self)


class Upstream:
    """Keeps a connection to the runner and hands it out."""

    def __init__(self, *, path: Path, node: str) -> None:
        self._path = path
        self._node = node
        self._link: RunnerLink | None = None
        self._broken = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._link is not None

    @property
    def in_flight(self) -> int:
        return self._link.in_flight if self._link is not None else 0

    def link(self) -> RunnerLink:
        """The open connection.

        Raises:
            Unavailable: there is none now; nothing was sent, so the caller may retry.
        """
        if self._link is None:
            raise Unavailable("no runner is connected to this gateway; try again in a second")
        return self._link

    def lost(self, link: RunnerLink) -> None:
        if self._link is link:
            self._link = None
            self._broken.set()

    async def keep_connected(self) -> None:
        """Connect, and connect again whenever the link breaks; for ever."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
                self._broken.clear()
                await self._broken.wait()
                log.warning("the link to the runner broke")
            except OSError as exc:
                if failures == 0:
                    log.warning("runner at %s: %s", self._path.name, exc)
                await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
                failures += 1

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: RunnerLink(self), str(self._path))
        link.send(FrameType.HELLO, 0, encode_json([PROTOCOL_VERSION, self._node]))
        self._link = link
        log.info("connected to the runner")

    async def sweep(self) -> None:
        """End calls whose runner missed its own deadline; for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._link is not None:
                self._link.sweep(clock.monotonic())

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
