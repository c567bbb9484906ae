"""One invocation on this machine, from a gateway's frame to its last answer."""

from typing import Protocol

from hotswap.core import clock
from runners.link.frames import encode_json
from runtimes.protocol.framing import FLAG_STREAM, FrameType

_REPLY, _BEGIN, _CHUNK, _END, _ERROR = (
    int(FrameType.REPLY),
    int(FrameType.BEGIN),
    int(FrameType.CHUNK),
    int(FrameType.END),
    int(FrameType.ERROR),
)


class Caller(Protocol):
    """Where answers go: the link to the gateway that sent the invocation."""

    def send(
        self, kind: int, stream: int, header: bytes = b"", body: bytes = b"", flags: int = 0
    ) -> None: ...

    def forget(self, stream: int) -> None:
        """The invocation is over; its stream number is free."""


class Job:
    """State of one invocation. Exactly one of `reply`, `end`, `fail` finishes it.

    Times are monotonic seconds; the header's deadline is epoch milliseconds.
    """

    __slots__ = (
        "alias", "arrived", "body", "caller", "cancel_at", "cold", "content_type", "deadline",
        "dispatched", "done", "init_us", "instance_id", "is_told", "log_bytes", "log_dropped",
        "log_stream", "queue_us", "request_id", "started_ms", "stream", "traceparent", "version_id",
        "wants_stream",
    )  # fmt: skip

    def __init__(
        self, caller: Caller, stream: int, flags: int, header: list[object], body: bytes
    ) -> None:
        request_id, version_id, _deadline_ms, traceparent, content_type, alias = header[:6]
        if not (isinstance(request_id, str) and isinstance(version_id, int)):
            raise TypeError("request id and version id")
        self.caller = caller
        self.stream = stream
        self.wants_stream = bool(flags & FLAG_STREAM)
        self.request_id = request_id
        self.version_id = version_id
        self.traceparent = traceparent
        self.content_type = content_type
        self.alias = alias
        self.body = body
        self.arrived = clock.monotonic()
        self.dispatched = 0.0
        self.deadline = 0.0
        self.cancel_at = 0.0
        self.cold = False
        self.done = False
        self.queue_us = 0
        self.init_us = 0
        self.instance_id = ""
        self.log_stream = ""
        self.log_bytes = 0
        self.log_dropped = 0
        self.is_told = False  # its START is in the log, so END and REPORT follow
        self.started_ms = 0

    def reply(self, header: list[object], body: bytes) -> None:
        """Answer with the instance's REPLY `[duration_us, memory_kib, status, type, headers]`."""
        duration_us, memory_kib, status, content_type, headers = header[:5]
        self._finish(
            _REPLY,
            [
                status, content_type, headers, int(self.cold), self.queue_us, self.init_us,
                duration_us, memory_kib, self.instance_id, self.log_stream,
            ],
            body,
        )  # fmt: skip

    def begin(self, header: list[object]) -> None:
        """Start a streamed answer from the instance's `[status, type, headers]`."""
        status, content_type, headers = header[:3]
        fields = [
            status, content_type, headers, int(self.cold), self.queue_us, self.init_us,
            self.instance_id, self.log_stream,
        ]  # fmt: skip
        self.caller.send(_BEGIN, self.stream, encode_json(fields))

    def chunk(self, body: bytes) -> None:
        self.caller.send(_CHUNK, self.stream, b"", body)

    def end(self, header: list[object]) -> None:
        self._finish(_END, header[:2], b"")

    def fail(
        self,
        slug: str,
        error: dict[str, object],
        *,
        duration_us: int = 0,
        memory_kib: int = 0,
        retry_after_ms: int = 0,
    ) -> None:
        """Answer with a problem; `slug` is one of `hotswap.core.errors`."""
        self._finish(
            _ERROR,
            [
                slug, int(self.cold), self.queue_us, self.init_us, duration_us, memory_kib,
                self.instance_id, self.log_stream, retry_after_ms,
            ],
            encode_json(error),
        )  # fmt: skip

    def _finish(self, kind: int, fields: list[object], body: bytes) -> None:
        if self.done:
            return
        self.done = True
        self.caller.send(kind, self.stream, encode_json(fields), body)
        self.caller.forget(self.stream)


def error_object(kind: str, message: str) -> dict[str, object]:
    """The body of an ERROR frame that the platform itself writes."""
    return {"errorType": kind, "errorMessage": message, "stackTrace": []}
