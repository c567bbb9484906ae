"""Where gateways meet this runner: frames over a unix socket, many calls in flight."""

import logging
from typing import Protocol

import msgspec

from runners.agent.job import Job
from runners.link.frames import FrameProtocol, decode_json, encode_json
from runtimes.protocol.framing import PROTOCOL_VERSION, FrameType

log = logging.getLogger("hotswap.runner.server")

_INVOKE = int(FrameType.INVOKE)


class Dispatcher(Protocol):
    """What a link needs of the runner."""

    node: str
    is_draining: bool

    def admit(self, job: Job) -> None:
        """Run, queue or refuse a call; answers through the job."""

    def cancel(self, job: Job) -> None:
        """The caller hung up."""

    def credit(self, job: Job, size: int) -> None:
        """The caller took `size` bytes of the job's stream."""


class GatewayLink(FrameProtocol):
    """One gateway's connection. When it closes, its calls are cancelled."""

    __slots__ = ("_dispatcher", "_jobs", "_links", "node")

    def __init__(self, dispatcher: Dispatcher, links: set["GatewayLink"]) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._jobs: dict[int, Job] = {}
        self._links = links
        links.add(self)
        self.node = ""

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        try:
            if kind == _INVOKE:
                if stream in self._jobs:
                    raise ValueError("stream number in use")
                job = Job(self, stream, flags, decode_json(header), body)
                self._jobs[stream] = job
                self._dispatcher.admit(job)
            elif kind == FrameType.CANCEL:
                if stream in self._jobs:
                    self._dispatcher.cancel(self._jobs[stream])
            elif kind == FrameType.CREDIT:
                if stream in self._jobs:
                    self._dispatcher.credit(self._jobs[stream], int(decode_json(header)[0]))
            elif kind == FrameType.PING:
                self.send(FrameType.PONG, stream)
            elif kind == FrameType.HELLO:
                self._greet(decode_json(header))
            else:
                raise ValueError(f"frame type {kind}")
        except (ValueError, TypeError, IndexError, msgspec.MsgspecError) as exc:
            self.on_violation(str(exc))

    def _greet(self, header: list[object]) -> None:
        if header[0] != PROTOCOL_VERSION:
            raise ValueError(f"protocol {header[0]}; this runner speaks {PROTOCOL_VERSION}")
        self.node = str(header[1])
        self.send(FrameType.HELLO, 0, encode_json([PROTOCOL_VERSION, self._dispatcher.node]))
        if self._dispatcher.is_draining:
            self.ask_to_leave()

    def ask_to_leave(self) -> None:
        """The runner will end: the gateway sends no new calls, and hangs up after its last."""
        self.send(FrameType.SHUTDOWN, 0)

    @property
    def is_used(self) -> bool:
        """Whether a gateway is there; one that was asked to leave may still have calls to send."""
        return bool(self.node or self._jobs)

    def forget(self, stream: int) -> None:
        self._jobs.pop(stream, None)

    def on_violation(self, what: str) -> None:
        log.error("gateway %s broke the protocol: %s", self.node or "?", what)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._links.discard(self)
        for job in list(self._jobs.values()):
            self._dispatcher.cancel(job)
        self._jobs.clear()
