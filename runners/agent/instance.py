"""One instance: a cell that was given one version, and the calls in flight on it."""

import asyncio
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from hotswap.core import clock
from hotswap.core.limits import RESPONSE_MAX_BYTES, STREAM_WINDOW_BYTES
from hotswap.wire.table import VersionRoute
from runners.agent.job import Job, error_object
from runners.backends.base import Cell, CellExit
from runners.link.frames import FrameProtocol, decode_json, encode_json
from runtimes.protocol.framing import FLAG_STREAM, PROTOCOL_VERSION, FrameType

_ERROR_SLUGS = {
    "raised": "function-raised",
    "bad-result": "bad-result",
    "response-too-large": "response-too-large",
    "cancelled": "cancelled",
}
_decode_error = msgspec.json.Decoder(dict[str, Any]).decode
_INVOKE = int(FrameType.INVOKE)


class InitError(Exception):
    """The version could not be loaded; `error` is its error object."""

    def __init__(self, error: dict[str, object], init_us: int) -> None:
        super().__init__(error.get("errorMessage"))
        self.error = error
        self.init_us = init_us


class InstanceState(StrEnum):
    STARTING = "starting"
    IDLE = "idle"
    FROZEN = "frozen"
    BUSY = "busy"
    STOPPED = "stopped"


class Owner(Protocol):
    """Who is told about an instance's life: its pool."""

    def on_free(self, instance: "Instance", job: Job, duration_us: int, memory_kib: int) -> None:
        """A call ended and the instance can take another."""

    def on_error(self, instance: "Instance", job: Job, error: dict[str, Any]) -> None:
        """The function raised; its error object belongs into the log, too."""

    def on_gone(self, instance: "Instance", orphans: list[Job]) -> None:
        """The instance died or was killed with these calls in flight."""

    def on_logs(
        self, instance: "Instance", job: Job | None, dropped: int, lines: list[Any]
    ) -> None:
        """Lines the function printed."""


class Instance(FrameProtocol):
    """Speaks the runtime protocol with one bootstrap.

    Everything the instance sends is checked against what is in flight: user code lives in
    the same process as the bootstrap, so the socket is not trusted.
    """

    __slots__ = (
        "_hello", "_ready", "_unread", "cell", "freezing", "frozen", "idle_since", "init_us",
        "invocations", "jobs", "last_stream", "log_stream", "memory_kib", "owner", "ready",
        "started_ms", "stopping", "version",
    )  # fmt: skip

    def __init__(self, cell: Cell, version: VersionRoute, owner: Owner) -> None:
        super().__init__()
        self.cell = cell
        self.version = version
        self.owner = owner
        self.jobs: dict[int, Job] = {}
        self.last_stream = 0
        self.log_stream = f"v{version.number}/{cell.id}"
        self.invocations = 0
        self.memory_kib = 0
        self.init_us = 0
        self.ready = False
        self.frozen = False
        self.freezing: asyncio.Task[None] | None = None
        self.stopping = False
        self.idle_since = clock.monotonic()
        self.started_ms = clock.epoch_ms()
        self._unread: dict[int, int] = {}
        loop = asyncio.get_running_loop()
        self._hello: asyncio.Future[None] = loop.create_future()
        self._ready: asyncio.Future[None] = loop.create_future()

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def state(self) -> InstanceState:
        if self.stopping:
            return InstanceState.STOPPED
        if not self.ready:
            return InstanceState.STARTING
        if self.jobs:
            return InstanceState.BUSY
        return InstanceState.FROZEN if self.frozen else InstanceState.IDLE

    async def connect(self) -> None:
        """Take over the cell's control socket and wait for its HELLO."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=self.cell.control)
        await self._hello

    async def init(self, document: dict[str, object], within_seconds: float) -> None:
        """Load the version.

        Raises:
            InitError: the import failed, died or took too long.
        """
        self.send(FrameType.INIT, 0, b"", encode_json(document))
        try:
            async with asyncio.timeout(within_seconds):
                await self._ready
        except TimeoutError:
            error = error_object("InitTimeout", f"the import took over {within_seconds:g} s")
            raise InitError(error, int(within_seconds * 1e6)) from None
        self.ready = True

    def invoke(self, job: Job) -> None:
        """Send one call. The caller made sure that there is a free slot and no frost."""
        self.last_stream = stream = (self.last_stream + 1) & 0x7FFFFFFF
        self.jobs[stream] = job
        self.invocations += 1
        remaining_ms = int((job.deadline - clock.monotonic()) * 1000)
        job.started_ms = clock.epoch_ms()
        header = encode_json(
            (
                job.request_id, job.started_ms + remaining_ms, job.traceparent,
                job.content_type, job.alias,
            )
        )  # fmt: skip
        self.send(_INVOKE, stream, header, job.body, FLAG_STREAM if job.wants_stream else 0)
        job.body = b""

    def cancel(self, job: Job) -> None:
        """Ask the function to stop one call."""
        for stream, candidate in self.jobs.items():
            if candidate is job:
                self.send(FrameType.CANCEL, stream)

    def credit(self, job: Job, size: int) -> None:
        """The caller took `size` bytes of the job's stream."""
        for stream, candidate in self.jobs.items():
            if candidate is job:
                self._unread[stream] = self._unread.get(stream, 0) - size
                self.send(FrameType.CREDIT, stream, encode_json([size]))

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        try:
            handle = self._handlers.get(kind)
            if handle is None:
                raise ValueError(f"frame type {kind}")
            handle(self, stream, decode_json(header) if header else [], body)
        except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as exc:
            self.on_violation(str(exc) or type(exc).__name__)

    def _on_hello(self, stream: int, header: list[Any], body: bytes) -> None:
        if self._hello.done() or header[0] != PROTOCOL_VERSION:
            raise ValueError("unexpected HELLO")
        self._hello.set_result(None)

    def _on_ready(self, stream: int, header: list[Any], body: bytes) -> None:
        if self._ready.done():
            raise ValueError("unexpected READY")
        self.init_us, self.memory_kib = int(header[0]), int(header[1])
        self._ready.set_result(None)

    def _on_init_error(self, stream: int, header: list[Any], body: bytes) -> None:
        if self._ready.done():
            raise ValueError("unexpected INIT_ERROR")
        self._ready.set_exception(InitError(_decode_error(body), int(header[0])))

    def _on_reply(self, stream: int, header: list[Any], body: bytes) -> None:
        duration_us, memory_kib, status = header[0], header[1], header[2]
        if not (isinstance(duration_us, int) and 100 <= status <= 599):
            raise ValueError("REPLY header")
        job = self._take(stream)
        if len(body) > RESPONSE_MAX_BYTES:
            error = error_object("ResponseTooLarge", f"{len(body)} bytes; at most 6 MiB")
            job.fail("response-too-large", error, duration_us=duration_us)
        else:
            job.reply(header, body)
        self.owner.on_free(self, job, duration_us, memory_kib)

    def _on_begin(self, stream: int, header: list[Any], body: bytes) -> None:
        self.jobs[stream].begin(header)

    def _on_chunk(self, stream: int, header: list[Any], body: bytes) -> None:
        unread = self._unread.get(stream, 0) + len(body)
        if unread > 2 * STREAM_WINDOW_BYTES:
            raise ValueError("a stream went over its window")
        self._unread[stream] = unread
        self.jobs[stream].chunk(body)

    def _on_end(self, stream: int, header: list[Any], body: bytes) -> None:
        job = self._take(stream)
        duration_us, memory_kib = int(header[0]), int(header[1])
        job.end([duration_us, memory_kib])
        self.owner.on_free(self, job, duration_us, memory_kib)

    def _on_error(self, stream: int, header: list[Any], body: bytes) -> None:
        slug = _ERROR_SLUGS[header[0]]
        duration_us, memory_kib = int(header[1]), int(header[2])
        error = _decode_error(body)
        job = self._take(stream)
        self.owner.on_error(self, job, error)
        job.fail(slug, error, duration_us=duration_us, memory_kib=memory_kib)
        self.owner.on_free(self, job, duration_us, memory_kib)

    def _on_log(self, stream: int, header: list[Any], body: bytes) -> None:
        job = self.jobs.get(stream)
        self.owner.on_logs(self, job, int(header[0]) if header else 0, decode_json(body))

    def _take(self, stream: int) -> Job:
        self._unread.pop(stream, None)
        return self.jobs.pop(stream)

    _handlers = {
        int(FrameType.HELLO): _on_hello,
        int(FrameType.READY): _on_ready,
        int(FrameType.INIT_ERROR): _on_init_error,
        int(FrameType.REPLY): _on_reply,
        int(FrameType.BEGIN): _on_begin,
        int(FrameType.CHUNK): _on_chunk,
        int(FrameType.END): _on_end,
        int(FrameType.ERROR): _on_error,
        int(FrameType.LOG): _on_log,
    }

    def on_violation(self, what: str) -> None:
        error = error_object("ProtocolViolation", f"the function's process sent {what}")
        for job in self.jobs.values():
            job.fail("protocol-violation", error)
        self._fail_start(InitError(error, 0))
        self.close()

    def _fail_start(self, reason: Exception) -> None:
        for future in (self._hello, self._ready):
            if not future.done():
                future.set_exception(reason)
                future.exception()  # nobody may be waiting; that is not an error

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        error = error_object("ProcessExited", "the process ended while the code was loaded")
        self._fail_start(InitError(error, 0))
        orphans = list(self.jobs.values())
        self.jobs.clear()
        self.owner.on_gone(self, orphans)

    async def stop(self) -> CellExit:
        """Kill it and remove every trace; tell how it ended."""
        self.stopping = True
        self.close()
        await self.cell.stop()
        return await self.cell.wait()
