"""HTTP/1.1 of the gateway: the only file that sees the bytes of a request or a response.

One `Connection` per client. It reads whole requests, hands them over one at a time in order
(pipelined ones wait), and writes what it is told. Every size and every wait is bounded:
request line and headers, body, time to send either, idle time, unsent response bytes.
"""

import asyncio
from collections import deque
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from hotswap.core import clock
from hotswap.core.limits import MIB, REQUEST_MAX_BYTES

HEADERS_MAX_BYTES: Final = 32 * 1024
HEADERS_MAX_COUNT: Final = 100
BODY_MAX_BYTES: Final = 2 * REQUEST_MAX_BYTES + 64 * 1024  # an escaped payload in its envelope
PIPELINE_MAX: Final = 16
WRITE_HIGH_WATER: Final = 1 * MIB

WANTED: Final = frozenset(
    {
        b"authorization", b"content-type", b"content-length", b"traceparent", b"expect",
        b"x-hotswap-mode", b"x-hotswap-alias", b"x-hotswap-version",
    }
)  # fmt: skip

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n".encode()


class Request:
    """One request. `headers` holds those that its handler wants, names in lower case."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query", "started", "version")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.path = b""
        self.query = b""
        self.method = b""
        self.body = b""
        self.version = "1.1"
        self.keep_alive = True
        self.started = 0.0


class Exchange(Protocol):
    """What answers a request, told about its connection."""

    def disconnected(self) -> None:
        """The client went away before the answer was complete."""

    def drained(self) -> None:
        """The client has read enough: more of a stream may be written."""


class Handler(Protocol):
    """Takes requests; must call `respond`, or `begin` and `end`, or `abort` once for each."""

    @property
    def wanted(self) -> AbstractSet[bytes]:
        """Names of the headers to keep, one set for ever: `WANTED`, and others that may change."""

    def handle(self, connection: "Connection", request: Request) -> Exchange | None: ...

    def refuse(self, connection: "Connection", status: int, detail: str) -> None:
        """Answer a request that could not be read; the connection closes after it."""


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_body_parts", "_body_size", "_closing", "_connections", "_deadline", "_exchange",
        "_header_bytes", "_header_count", "_handler", "_parser", "_peer", "_request",
        "_timeouts", "_url", "_waiting", "_wanted", "busy", "current", "is_write_paused",
        "transport",
    )  # fmt: skip

    def __init__(
        self,
        handler: Handler,
        connections: set["Connection"],
        timeouts: tuple[float, float, float],
    ) -> None:
        self._handler = handler
        self._wanted = handler.wanted
        self._connections = connections
        self._timeouts = timeouts  # headers, body, idle
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._request: Request | None = None
        self._exchange: Exchange | None = None
        self._body_parts: list[bytes] = []
        self._body_size = 0
        self._header_bytes = 0
        self._header_count = 0
        self._url = b""
        self._peer: str | None = None
        self._closing = False
        self._deadline = 0.0
        self.current: Request | None = None
        self.busy = False
        self.is_write_paused = False
        self.transport: asyncio.Transport | None = None

    @property
    def peer(self) -> str:
        """The client's address without its port; asked of the socket once, when first wanted."""
        if self._peer is None:
            name = self.transport.get_extra_info("peername") if self.transport else None
            self._peer = str(name[0]) if name else ""
        return self._peer

    # Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._deadline = clock.monotonic() + self._timeouts[0]
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._connections.discard(self)
        self._waiting.clear()
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.disconnected()

    def pause_writing(self) -> None:
        self.is_write_paused = True

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.drained()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "this address does not upgrade connections")
        except httptools.HttpParserError as exc:
            self._refuse(400, f"the request is not HTTP/1.1: {exc}")

    def sweep(self, now: float) -> None:
        """Close a client that is too slow or was idle too long."""
        if self.busy or now < self._deadline or self._closing:
            return
        if self._request is not None:
            self._refuse(408, "the request did not arrive in time")
        elif self.transport is not None:
            self.transport.close()

    # Parser callbacks

    def on_message_begin(self) -> None:
        self._request = Request()
        self._header_bytes = self._header_count = 0
        self._body_parts = []
        self._body_size = 0
        self._url = b""
        self._deadline = clock.monotonic() + self._timeouts[0]

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)
        if self._header_bytes > HEADERS_MAX_BYTES:
            self._refuse_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        self._header_count += 1
        if self._header_bytes > HEADERS_MAX_BYTES or self._header_count > HEADERS_MAX_COUNT:
            self._refuse_headers()
        name = name.lower()
        if name in self._wanted and self._request is not None:
            headers = self._request.headers
            headers[name] = self._joined(name, value) if name in headers else value

    def _joined(self, name: bytes, value: bytes) -> bytes:
        """A header's second value: refused where it could be read in two ways."""
        assert self._request is not None
        if name in WANTED:
            self._refuse(400, f"header {name.decode()} was sent twice")
            return value
        return self._request.headers[name] + (b"; " if name == b"cookie" else b", ") + value

    def _refuse_headers(self) -> None:
        self._refuse(
            431, f"headers may have {HEADERS_MAX_BYTES // 1024} KiB and {HEADERS_MAX_COUNT} fields"
        )

    def on_headers_complete(self) -> None:
        request = self._request
        if request is None or self._closing:
            return
        request.method = self._parser.get_method()
        request.version = self._parser.get_http_version()
        length = request.headers.get(b"content-length")
        if length is not None and int(length) > BODY_MAX_BYTES:
            self._refuse_size()
        elif request.headers.get(b"expect", b"").lower() == b"100-continue" and self.transport:
            self.transport.write(CONTINUE)
        self._deadline = clock.monotonic() + self._timeouts[1]

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > BODY_MAX_BYTES:
            self._refuse_size()
        elif not self._closing:
            self._body_parts.append(body)

    def _refuse_size(self) -> None:
        self._refuse(413, f"a request may have {REQUEST_MAX_BYTES} bytes of payload (6 MiB)")

    def on_message_complete(self) -> None:
        request = self._request
        if request is None or self._closing:
            return
        self._request = None
        path, _, request.query = self._url.partition(b"?")
        request.path = path
        parts = self._body_parts
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        request.keep_alive = self._parser.should_keep_alive()
        request.started = clock.monotonic()
        if self.busy:
            self._waiting.append(request)
            if len(self._waiting) > PIPELINE_MAX:
                self._refuse(400, f"more than {PIPELINE_MAX} requests wait on one connection")
        else:
            self._start(request)

    # Requests

    def _start(self, request: Request) -> None:
        self.busy = True
        self.current = request
        exchange = self._handler.handle(self, request)
        if self.busy and self.current is request:
            self._exchange = exchange

    def _refuse(self, status: int, detail: str) -> None:
        if self._closing:
            return
        self._closing = True
        self._waiting.clear()
        if self.busy and self._exchange is not None:
            # An answer is being made for an earlier request; nothing may be written into it.
            exchange, self._exchange = self._exchange, None
            exchange.disconnected()
            self.abort()
            return
        self._handler.refuse(self, status, detail)

    def _finished(self) -> None:
        request, self.current = self.current, None
        self._exchange = None
        self.busy = False
        self._deadline = clock.monotonic() + self._timeouts[2]
        if self.transport is None:
            return
        if self._closing or (request is not None and not request.keep_alive):
            self.transport.close()
        elif self._waiting:
            self._start(self._waiting.popleft())

    def close_when_idle(self) -> None:
        """Draining: no further request on this connection."""
        if self.busy:
            if self.current is not None:
                self.current.keep_alive = False
        elif self.transport is not None:
            self.transport.close()

    # Answers

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Write a whole response. `headers`: complete lines, each with CRLF."""
        transport = self.transport
        if transport is not None:
            request = self.current
            tail = (
                b"\r\n" if request is None or request.keep_alive else b"Connection: close\r\n\r\n"
            )
            head = b"%b%bContent-Length: %d\r\n%b" % (
                status_line(status), headers, len(body), tail,
            )  # fmt: skip
            if request is not None and request.method == b"HEAD":
                body = b""
            if len(body) > 65_536:
                transport.writelines((head, body))
            else:
                transport.write(head + body)
        self._finished()

    def begin(self, status: int, headers: bytes) -> None:
        """Start a streamed response."""
        if self.transport is None or self.current is None:
            return
        if self.current.version == "1.0":
            self.current.keep_alive = False
            framing = b"Connection: close\r\n\r\n"
        elif self.current.keep_alive:
            framing = b"Transfer-Encoding: chunked\r\n\r\n"
        else:
            framing = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        self.transport.write(status_line(status) + headers + framing)

    def chunk(self, body: bytes) -> None:
        """Write one piece of a streamed response."""
        if self.transport is None or self.current is None or not body:
            return
        if self.current.version == "1.0":
            self.transport.write(body)
        else:
            self.transport.writelines((b"%x\r\n" % len(body), body, b"\r\n"))

    def end(self) -> None:
        """Finish a streamed response."""
        request = self.current
        if self.transport is not None and request is not None and request.version != "1.0":
            self.transport.write(b"0\r\n\r\n")
        self._finished()

    def abort(self) -> None:
        """Cut the connection, so that the client sees an incomplete answer as one."""
        self._exchange = None
        if self.transport is not None:
            self.transport.abort()
