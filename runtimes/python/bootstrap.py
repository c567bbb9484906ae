"""The Python bootstrap: runs one function in one sandbox and speaks frames on one socket.

`python bootstrap.py SOCKET`. Standard library only, Python 3.8 and later, one file, because
it is all that is put into a sandbox. docs/runtime-contract.md says what every frame means.

A plain handler is called straight from a blocking read loop: one recv and one send per
call. The first awaitable or asynchronous generator moves the process to an event loop that
then runs for ever, which also lets several calls be in flight. Only then asyncio is imported:
it is half of an idle process's memory and of its time to boot.
"""

from __future__ import annotations

import base64
import binascii
import contextvars
import fcntl
import gc
import importlib
import io
import json
import logging
import os
import resource
import socket
import struct
import sys
import threading
import time
import traceback
import types
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    List,
    NoReturn,
    Optional,
    Tuple,
    Union,
)  # fmt: skip

if TYPE_CHECKING:
    import asyncio

HELLO, INIT, READY, INIT_ERROR, INVOKE, REPLY, BEGIN, CHUNK, END = range(9)
ERROR, CANCEL, CREDIT, LOG, SHUTDOWN = range(9, 14)
PROTOCOL_VERSION = 1
FLAG_STREAM = 1
PREFIX = struct.Struct("<IBBHI")
MAX_FRAME_BYTES = 8 * 1024 * 1024

RESPONSE_MAX_BYTES = 6 * 1024 * 1024
STREAM_WINDOW_BYTES = 256 * 1024
LOG_BYTES_PER_CALL = 1024 * 1024
LOG_LINE_MAX_BYTES = 16 * 1024
LOG_INTERVAL_NS = 200_000_000
ERROR_MAX_BYTES = 64 * 1024
RECEIVE_BYTES = 64 * 1024
CO_ASYNCHRONOUS = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR; `inspect` is slow to import
EX_PROTOCOL = 70  # sysexits.h EX_SOFTWARE

JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"
LINES = "application/x-ndjson"

Frame = Tuple[int, int, int, bytes, bytes]  # kind, flags, stream, header, body
Handler = Callable[[Any, "Context"], Any]

clock = time.perf_counter_ns
dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


loads = json.JSONDecoder(parse_constant=_refuse_constant).decode


class InvalidEvent(Exception):
    """The payload is not what its content type says."""


class CallCancelled(BaseException):
    """The caller hung up."""


class HandlerNotFound(Exception):
    """The code has no such handler."""


class Refused(Exception):
    """A result that cannot be sent; `kind` is the kind of the ERROR frame."""

    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


# --- the wire ---------------------------------------------------------------------------


def frame(kind: int, stream: int, header: bytes = b"", body: bytes = b"") -> bytes:
    """One frame as bytes."""
    return PREFIX.pack(8 + len(header) + len(body), kind, 0, len(header), stream) + header + body


class Link:
    """The control socket: whole frames in, whole writes out."""

    def __init__(self, path: str) -> None:
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        near.connect(path)
        # A high number: out of the way of code that closes or guesses low descriptors.
        high = fcntl.fcntl(near.fileno(), fcntl.F_DUPFD_CLOEXEC, 200 + os.getpid() % 600)
        near.close()
        self.socket = socket.socket(fileno=high)
        self._recv = self.socket.recv
        self._sendall = self.socket.sendall
        self._rest = b""
        # Re-entrant: a destructor that prints may run inside `send`, at a frame boundary.
        self._lock = threading.RLock()

    def receive(self, flags: int = 0) -> Frame:
        """The next frame; ends the process when the runner has gone.

        Raises:
            BlockingIOError: with MSG_DONTWAIT, when no frame has begun to arrive.
        """
        data = self._rest or self._recv(RECEIVE_BYTES, flags) or leave(0)
        while len(data) < PREFIX.size:
            data += self._recv(RECEIVE_BYTES) or leave(0)
        length, kind, marks, header_length, stream = PREFIX.unpack_from(data)
        end = length + 4
        if end > len(data):
            data = self._complete(data, end)
        self._rest = data[end:]
        body = 12 + header_length
        return kind, marks, stream, data[12:body], data[body:end]

    def _complete(self, start: bytes, size: int) -> bytes:
        if size > MAX_FRAME_BYTES:
            leave(EX_PROTOCOL)
        whole = bytearray(size)
        have = len(start)
        whole[:have] = start
        view = memoryview(whole)
        while have < size:
            have += self.socket.recv_into(view[have:]) or leave(0)
        return bytes(whole)

    @property
    def has_more(self) -> bool:
        """Whether bytes after the last frame were read with it."""
        return bool(self._rest)

    def send(self, data: bytes) -> None:
        """Write whole frames; ends the process when the runner has gone."""
        try:
            with self._lock:
                self._sendall(data)
        except OSError:
            leave(0)


def leave(status: int) -> NoReturn:
    """End at once: no user code (atexit, finalisers) runs on the way out."""
    os._exit(status)


# --- logs -------------------------------------------------------------------------------


class Log:
    """Captured lines of one call, or of the time between calls (stream 0)."""

    __slots__ = ("stream", "lines", "bytes", "dropped", "partial", "sent_ns")

    def __init__(self, stream: int, since_ns: int) -> None:
        self.stream = stream
        self.lines: List[Tuple[int, str, str]] = []
        self.bytes = 0
        self.dropped = 0
        self.partial: Dict[str, str] = {}
        self.sent_ns = since_ns

    def write(self, level: str, text: str) -> None:
        """Take text as a stream does: a line ends at its line feed."""
        lines = (self.partial.pop(level, "") + text).split("\n")
        rest = lines.pop()
        for line in lines:
            self.add(level, line)
        if rest:
            self.partial[level] = rest[:LOG_LINE_MAX_BYTES]

    def add(self, level: str, line: str) -> None:
        """Keep one line, cut to its limit, while the call's budget lasts."""
        size = len(line) if line.isascii() else len(line.encode("utf-8", "replace"))
        if size > LOG_LINE_MAX_BYTES:
            line = line.encode("utf-8", "replace")[:LOG_LINE_MAX_BYTES].decode("utf-8", "ignore")
            size = LOG_LINE_MAX_BYTES
        if self.bytes + size > LOG_BYTES_PER_CALL:
            self.dropped += 1
            return
        self.bytes += size
        self.lines.append((time.time_ns() // 1_000_000, level, line))

    def drain(self, *, last: bool) -> bytes:
        """What was captured since the last drain as a LOG frame, or nothing."""
        if last:
            for level in tuple(self.partial):
                self.add(level, self.partial.pop(level))
        lines, self.lines = self.lines, []
        dropped, self.dropped = self.dropped, 0
        self.sent_ns = clock()
        if not lines and not dropped:
            return b""
        return frame(LOG, self.stream, b"[%d]" % dropped, dumps(lines).encode("utf-8", "replace"))


class Logs:
    """Finds the log that the running code writes to."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._mine: contextvars.ContextVar[Optional[Call]] = contextvars.ContextVar("call")
        self.between = Log(0, clock())
        self.running: Optional[Call] = None
        """The only call in flight; for threads, which have no context of their own."""

    def enter(self, call: Call) -> None:
        """Tie the current task, and what it starts, to one call."""
        self._mine.set(call)

    def current(self) -> Log:
        """The log of the call that is running here."""
        call = self._mine.get(None) or self.running
        if call is None or call.done:
            return self.between
        if call.log is None:
            call.log = Log(call.stream, call.started_ns)
        return call.log

    def write(self, level: str, text: str) -> None:
        """Capture text; send what has waited for 200 ms."""
        log = self.current()
        log.write(level, text)
        if clock() - log.sent_ns > LOG_INTERVAL_NS:
            self._link.send(log.drain(last=False))

    def final(self, call: Call) -> bytes:
        """LOG frames that must precede the last frame of a call."""
        own = call.log.drain(last=True) if call.log is not None else b""
        between = self.between
        if between.lines or between.dropped:
            return own + self.renew_between()
        return own

    def renew_between(self) -> bytes:
        """Drain stream 0 and start its budget anew."""
        data = self.between.drain(last=True)
        self.between = Log(0, clock())
        return data


class Console(io.TextIOBase):
    """Stands in for sys.stdout and sys.stderr."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, logs: Logs, level: str, descriptor: int) -> None:
        self._logs = logs
        self._level = level
        self._descriptor = descriptor
        self.buffer = ConsoleBytes(self)

    def write(self, text: str) -> int:
        self._logs.write(self._level, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor


class ConsoleBytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text: Console) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode("utf-8", "replace"))
        return len(raw)

    def writable(self) -> bool:
        return True


class LogHandler(logging.Handler):
    """Gives records of `logging` their own level."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        number = record.levelno
        level = "ERROR" if number >= 40 else "WARN" if number >= 30 else "INFO"
        self._logs.write("DEBUG" if number < 20 else level, text + "\n")


class ContextLog:
    """`context.log`, which AWS Lambda's functions call, with levels besides."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def __call__(self, message: object) -> None:
        self.info(message)

    def debug(self, message: object) -> None:
        self._logs.write("DEBUG", f"{message}\n")

    def info(self, message: object) -> None:
        self._logs.write("INFO", f"{message}\n")

    def warn(self, message: object) -> None:
        self._logs.write("WARN", f"{message}\n")

    def error(self, message: object) -> None:
        self._logs.write("ERROR", f"{message}\n")

    warning = warn


# --- calls ------------------------------------------------------------------------------


class Context:
    """What a handler is told about its call, in AWS Lambda's names."""

    function_name: str
    function_version: str
    memory_limit_in_mb: str
    log_stream_name: str
    log_group_name: str
    log: ContextLog
    client_context = None
    identity = None

    def __init__(self, request_id: str, deadline_ms: int, trace_parent: str, alias: str) -> None:
        self.aws_request_id = request_id
        self.deadline_ms = deadline_ms
        self.trace_parent = trace_parent
        self.alias = alias

    @property
    def invoked_function_arn(self) -> str:
        return f"hotswap:{self.function_name}:{self.alias or self.function_version}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the call is stopped; never below 0."""
        return max(0, self.deadline_ms - time.time_ns() // 1_000_000)


class Call:
    """One invocation in flight."""

    __slots__ = (
        "stream", "started_ns", "wants_stream", "log", "done", "began", "credit", "cancelled",
        "task", "wake",
    )  # fmt: skip

    def __init__(self, stream: int, wants_stream: int) -> None:
        self.stream = stream
        self.started_ns = clock()
        self.wants_stream = wants_stream
        self.log: Optional[Log] = None
        self.done = False
        self.began = False
        self.credit = STREAM_WINDOW_BYTES
        self.cancelled = False
        self.task: Optional[asyncio.Task[None]] = None
        self.wake: Optional[asyncio.Future[None]] = None


class Reply:
    """A result as it goes out. `body` is bytes, or the items of a stream."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: Any,
        content_type: Optional[str] = JSON,
        status: int = 200,
        headers: Optional[Dict[str, str]] = None,
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.status = status
        self.headers = headers

    def header(self) -> bytes:
        """`status, content type, headers`, the part that REPLY and BEGIN share."""
        if self.headers is None:
            return b'%d,"%s",null' % (self.status, (self.content_type or BYTES).encode())
        return dumps([self.status, self.content_type or BYTES, self.headers]).encode()[1:-1]


def parse_event(content_type: str, body: bytes) -> Any:
    """The payload as the handler gets it. Raises InvalidEvent."""
    kind = content_type.partition(";")[0].strip().lower() if content_type else JSON
    try:
        if kind == JSON or kind.endswith("+json"):
            return loads(str(body, "utf-8")) if body else None
        return str(body, "utf-8") if kind.startswith("text/") else body
    except (ValueError, RecursionError) as error:
        named = kind if kind == JSON else content_type
        raise InvalidEvent(f"the payload is not valid {named}: {error}") from None


PLAIN = frozenset((dict, list, tuple, str, int, float, bool, type(None)))


def is_stream(value: Any) -> bool:
    """Generators, iterators and asynchronous iterables are sent item by item."""
    return type(value) not in PLAIN and isinstance(value, (Iterator, AsyncIterable))


def as_reply(result: Any) -> Reply:
    """Shape a handler's result. Raises Refused."""
    if type(result) is dict and is_http_shaped(result):
        return as_http_reply(result)
    if isinstance(result, (bytes, bytearray, memoryview)):
        return Reply(bytes(result), BYTES)
    return Reply(result, None) if is_stream(result) else Reply(as_json(result))


def is_http_shaped(result: Dict[Any, Any]) -> bool:
    status = result.get("statusCode")
    return type(status) is int and 100 <= status <= 599


def as_http_reply(result: Dict[str, Any]) -> Reply:
    headers = as_headers(result.get("headers") or {})
    body = result.get("body")
    if body is None:
        data, guess = b"", TEXT
    elif isinstance(body, str):
        data, guess = as_body_text(body, bool(result.get("isBase64Encoded")))
    elif isinstance(body, (bytes, bytearray, memoryview)):
        data, guess = bytes(body), BYTES
    elif is_stream(body):
        return Reply(body, headers.get("content-type"), result["statusCode"], headers)
    else:
        data, guess = as_json(body, "$.body"), JSON
    return Reply(data, headers.get("content-type", guess), result["statusCode"], headers or None)


def as_body_text(body: str, is_base64: bool) -> Tuple[bytes, str]:
    if is_base64:
        try:
            return base64.b64decode(body, validate=True), BYTES
        except (binascii.Error, ValueError):
            raise bad_result("the string at $.body is not base64") from None
    return as_utf8(body, "$.body"), JSON if body.lstrip()[:1] in ("{", "[") else TEXT


def as_headers(given: Any) -> Dict[str, str]:
    if not isinstance(given, dict):
        raise bad_result(f"{type(given).__name__} at $.headers is not an object of strings")
    headers = {}
    for name, value in given.items():
        if not isinstance(value, (str, int, float)):
            raise bad_result(f"{type(value).__name__} at $.headers[{name!r}] is not a string")
        as_utf8(f"{name}{value}", f"$.headers[{name!r}]")
        headers[str(name).lower()] = json.dumps(value) if value in (True, False) else str(value)
    return headers


def bad_result(message: str) -> Refused:
    return Refused("bad-result", "BadResult", message)


def as_utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise bad_result(f"the string at {path} holds half a surrogate pair") from None


def as_json(value: Any, path: str = "$") -> bytes:
    """Compact JSON, or Refused naming what does not fit and where it is."""
    try:
        return dumps(value).encode()
    except (TypeError, ValueError) as error:
        found = locate(value, path, ())
        raise bad_result(found or f"the result is not JSON: {error}") from None
    except RecursionError:
        raise bad_result("the result is nested too deeply for JSON") from None


def locate(value: Any, path: str, parents: Tuple[int, ...]) -> Optional[str]:
    """What in `value` JSON cannot hold, as a sentence with its path."""
    kind = type(value).__name__
    if isinstance(value, float) and value - value != 0:
        return f"the number {value!r} at {path} cannot be sent as JSON"
    if isinstance(value, str):
        broken = value.encode("utf-8", "ignore").decode() != value
        return f"the string at {path} holds half a surrogate pair" if broken else None
    if value is None or isinstance(value, (bool, int, float)):
        return None
    if not isinstance(value, (dict, list, tuple)):
        return f"{kind} at {path} cannot be sent as JSON"
    if id(value) in parents:
        return f"{kind} at {path} contains itself, which JSON cannot hold"
    for step, item in located_items(value):
        if step is None:
            return f"a key of type {type(item).__name__} at {path} cannot be sent as JSON"
        found = locate(item, path + step, (*parents, id(value)))
        if found:
            return found
    return None


def located_items(value: Any) -> Iterable[Tuple[Optional[str], Any]]:
    """(path step, item) of a container; (None, key) for a key that JSON cannot hold."""
    if not isinstance(value, dict):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
        return
    for key, item in value.items():
        if not (key is None or isinstance(key, (str, int, float))):
            yield None, key
        plain = isinstance(key, str) and key.isidentifier()
        yield f".{key}" if plain else f"[{key!r}]", item


def as_chunk(item: Any) -> bytes:
    """One item of a stream as bytes."""
    if isinstance(item, str):
        return as_utf8(item, "an item of the stream")
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)
    return as_json(item) + b"\n"


def chunk_type(item: Any) -> str:
    """Content type of a stream, told by its first item."""
    if isinstance(item, str):
        return TEXT
    return BYTES if isinstance(item, (bytes, bytearray, memoryview)) else LINES


# --- errors -----------------------------------------------------------------------------

OURS = (__file__, importlib.__file__, "<frozen importlib")


def error_object(error: BaseException) -> bytes:
    """`{errorType, errorMessage, stackTrace}` with the user's frames only."""
    return encode_error(type(error).__name__, message_of(error), stack_of(error))


def encode_error(name: str, message: str, stack: List[str]) -> bytes:
    fields = {"errorType": name, "errorMessage": message[:ERROR_MAX_BYTES], "stackTrace": stack}
    return dumps(fields).encode("utf-8", "replace")


def message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"(its message cannot be shown: str() raised {type(broken).__name__})"


def stack_of(error: BaseException) -> List[str]:
    """Frames of the error and of its causes, newest error first, cut to 64 KiB."""
    lines: List[str] = []
    left = ERROR_MAX_BYTES
    for line in stack_lines(error):
        left -= len(line.encode("utf-8", "replace"))
        if left < 0:
            return [*lines, "..."]
        lines.append(line)
    return lines


def stack_lines(error: BaseException) -> Iterable[str]:
    seen = set()
    cause: Optional[BaseException] = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if cause is not error:
            yield f"Caused by {type(cause).__name__}: {message_of(cause)[:1024]}"
        if isinstance(cause, SyntaxError):
            yield from traceback.format_exception_only(type(cause), cause)
        frames = traceback.extract_tb(cause.__traceback__, limit=-100)
        yield from traceback.format_list([f for f in frames if not f.filename.startswith(OURS)])
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


# --- the instance -----------------------------------------------------------------------


def rusage_peak_kib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def status_peak_kib() -> int:
    with open("/proc/self/status", "rb", buffering=0) as status:
        return int(status.read(4096).partition(b"VmHWM:")[2].split(None, 1)[0])


def peak_reader() -> Callable[[], int]:
    """How to read the peak resident size of this process.

    getrusage costs 1 us, the status file 12 us. But getrusage also counts what this process
    was before `exec`: where the parent was large, it is of no use.
    """
    try:
        return rusage_peak_kib if rusage_peak_kib() <= status_peak_kib() else status_peak_kib
    except OSError:
        return rusage_peak_kib


class Instance:
    """One process: waits to be adopted, loads one handler, answers its calls."""

    loop: asyncio.AbstractEventLoop  # there is none before `make_loop`

    def __init__(self, link: Link) -> None:
        self.link = link
        self.logs = Logs(link)
        self.calls: Dict[int, Call] = {}
        self.waiting: Deque[Frame] = deque()
        self.handler: Handler = _no_handler
        self.on_loop = False
        self.ticking = False
        self.peak_kib = peak_reader()

    # Adoption

    def adopt(self) -> None:
        """Wait for INIT, load the handler, answer READY or INIT_ERROR."""
        kind, _, _, _, body = self.link.receive()
        if kind == SHUTDOWN:
            leave(0)
        if kind != INIT:
            leave(EX_PROTOCOL)
        started = clock()
        failure: Optional[BaseException] = None
        try:
            self.handler = load(loads(str(body, "utf-8")), self.logs)
        except BaseException as error:
            failure = error
        if is_asynchronous(self.handler):
            self.make_loop()
        gc.freeze()
        header = b"[%d,%d]" % ((clock() - started) // 1000, self.peak_kib())
        answer = frame(READY, 0, header)
        if failure is not None:
            answer = frame(INIT_ERROR, 0, header, error_object(failure))
        self.link.send(self.logs.renew_between() + answer)
        if failure is not None:
            self.refuse_calls()

    def refuse_calls(self) -> NoReturn:
        """Without a handler there is only one frame to wait for."""
        kind = self.link.receive()[0]
        leave(0 if kind == SHUTDOWN else EX_PROTOCOL)

    # Plain handlers: a blocking loop

    def serve(self) -> NoReturn:
        """Answer calls until the runner ends the process."""
        receive, waiting = self.link.receive, self.waiting
        while not self.on_loop:
            got = waiting.popleft() if waiting else receive()
            if got[0] == INVOKE:
                self.run(got)
            else:
                self.control(got)
        self.serve_on_loop()

    def open_call(self, got: Frame) -> Tuple[Call, Context, str]:
        """Start a call's clock and make its context; returns its content type too."""
        _, flags, stream, header, _ = got
        call = Call(stream, flags & FLAG_STREAM)
        request_id, deadline_ms, trace, content_type, alias = loads(str(header, "utf-8"))[:5]
        self.calls[stream] = call
        return call, Context(request_id, deadline_ms, trace, alias), content_type

    def run(self, got: Frame) -> None:
        """One call of a plain handler, from its frame to its answer."""
        call, context, content_type = self.open_call(got)
        self.logs.running = call
        try:
            result = self.handler(parse_event(content_type, got[4]), context)
            if type(result) not in PLAIN and isinstance(result, (Awaitable, AsyncIterable)):
                self.move_to_loop(call, result)
                return
            reply = as_reply(result)
            if call.wants_stream or type(reply.body) is not bytes:
                self.send_items(call, reply)
            else:
                self.send_reply(call, reply, reply.body)
        except BaseException as error:
            self.send_error(call, error)

    def send_items(self, call: Call, reply: Reply) -> None:
        """Send a stream, or collect it when the caller wants one body."""
        items = iter((reply.body,)) if type(reply.body) is bytes else reply.body
        try:
            if call.wants_stream:
                for item in items:
                    self.stream_item(call, reply, item)
            else:
                collected = Collected(reply)
                for item in items:
                    collected.add(item)
                self.send_reply(call, reply, collected.body())
                return
        except BaseException:
            close(items)
            raise
        self.send_end(call, reply)

    def stream_item(self, call: Call, reply: Reply, item: Any) -> None:
        left = self.begin(call, reply, item)
        while left:
            left = self.send_part(call, left)
            if left or call.credit <= 0:
                self.take(self.link.receive())
        self.look(call)

    def look(self, call: Call) -> None:
        """Take the frames that arrived meanwhile; raise when one cancels this call."""
        try:
            while not call.cancelled:
                self.take(self.link.receive(socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        raise CallCancelled

    def take(self, got: Frame) -> None:
        """A frame that arrives while a plain generator is being sent."""
        if got[0] == INVOKE:
            self.waiting.append(got)
        else:
            self.control(got)

    def control(self, got: Frame) -> None:
        """Every frame that is not a call. Those of finished calls are late, not wrong."""
        kind, _, stream, header, _ = got
        if kind == SHUTDOWN:
            leave(0)
        if kind == INIT:
            leave(EX_PROTOCOL)
        call = self.calls.get(stream)
        if call is None:
            return
        if kind == CREDIT:
            call.credit += loads(str(header, "utf-8"))[0]
        elif kind == CANCEL:
            call.cancelled = True
            if call.task is not None:
                self.loop.call_soon(call.task.cancel)  # not before its first step
        if call.wake is not None and not call.wake.done():
            call.wake.set_result(None)

    # Asynchronous handlers: an event loop

    def move_to_loop(self, call: Call, result: Any) -> None:
        """A plain handler gave an awaitable: from now on every call runs on the loop."""
        self.make_loop()
        self.logs.running = None
        call.task = self.loop.create_task(self.finish_on_loop(call, result))

    def make_loop(self) -> None:
        """Get the event loop that this process will run on from now on."""
        import asyncio  # noqa: PLC0415  # see the module's docstring

        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.on_loop = True

    def serve_on_loop(self) -> NoReturn:
        self.loop.add_reader(self.link.socket.fileno(), self.readable)
        self.loop.call_soon(self.tick)
        for got in self.waiting:
            self.start(got)
        while True:
            try:
                self.loop.run_forever()
            except BaseException as error:  # a task of the user's raised SystemExit
                self.logs.write("ERROR", f"{type(error).__name__} in a background task\n")

    def readable(self) -> None:
        try:
            self.start(self.link.receive(socket.MSG_DONTWAIT))
            while self.link.has_more:
                self.start(self.link.receive())
        except BlockingIOError:
            return

    def start(self, got: Frame) -> None:
        if got[0] != INVOKE:
            self.control(got)
            return
        call, context, content_type = self.open_call(got)
        if not self.ticking:
            self.ticking = True
            self.loop.call_later(LOG_INTERVAL_NS / 1e9, self.tick)
        self.mark_running()
        coroutine = self.run_on_loop(call, context, content_type, got[4])
        call.task = new_task(self.loop, coroutine)

    def mark_running(self) -> None:
        self.logs.running = next(iter(self.calls.values())) if len(self.calls) == 1 else None

    def tick(self) -> None:
        """Send waiting lines every 200 ms while calls are in flight."""
        logs = [call.log.drain(last=False) for call in self.calls.values() if call.log]
        self.link.send(b"".join((*logs, self.logs.renew_between())))
        self.ticking = bool(self.calls)
        if self.ticking:
            self.loop.call_later(LOG_INTERVAL_NS / 1e9, self.tick)

    async def run_on_loop(self, call: Call, context: Context, kind: str, body: bytes) -> None:
        self.logs.enter(call)
        try:
            result = self.handler(parse_event(kind, body), context)
        except BaseException as error:
            self.send_error(call, error)
            return
        await self.finish_on_loop(call, result)

    async def finish_on_loop(self, call: Call, result: Any) -> None:
        """Wait for a result and send it."""
        self.logs.enter(call)
        try:
            if type(result) not in PLAIN and isinstance(result, Awaitable):
                result = await result
            reply = as_reply(result)
            if call.cancelled:
                raise CallCancelled
            if call.wants_stream or type(reply.body) is not bytes:
                await self.send_items_on_loop(call, reply)
            else:
                self.send_reply(call, reply, reply.body)
        except BaseException as error:
            self.send_error(call, error)

    async def send_items_on_loop(self, call: Call, reply: Reply) -> None:
        collected = Collected(reply)
        try:
            async for item in as_async_items(reply.body):
                if call.wants_stream:
                    await self.stream_item_on_loop(call, reply, item)
                else:
                    collected.add(item)
        except BaseException:
            await aclose(reply.body)
            raise
        if call.wants_stream:
            self.send_end(call, reply)
        else:
            self.send_reply(call, reply, collected.body())

    async def stream_item_on_loop(self, call: Call, reply: Reply, item: Any) -> None:
        left = self.begin(call, reply, item)
        while left:
            left = self.send_part(call, left)
            if left or call.credit <= 0:
                call.wake = self.loop.create_future()
                await call.wake
        await one_turn()  # lets CANCEL, CREDIT and other calls in

    # Answers

    def begin(self, call: Call, reply: Reply, item: Any) -> bytes:
        """An item's bytes; for the first item BEGIN goes out before them."""
        data = as_chunk(item)
        if not call.began:
            if reply.content_type is None:
                reply.content_type = chunk_type(item)
            self.send_begin(call, reply)
        return data

    def send_begin(self, call: Call, reply: Reply) -> None:
        call.began = True
        self.link.send(frame(BEGIN, call.stream, b"[" + reply.header() + b"]"))

    def send_part(self, call: Call, data: bytes) -> bytes:
        """Send as much as there is credit for; return the rest."""
        part = data[: min(call.credit, STREAM_WINDOW_BYTES)]
        if part:
            call.credit -= len(part)
            due = call.log is not None and clock() - call.log.sent_ns > LOG_INTERVAL_NS
            logs = call.log.drain(last=False) if due and call.log is not None else b""
            self.link.send(logs + frame(CHUNK, call.stream, b"", part))
        return data[len(part) :]

    def send_reply(self, call: Call, reply: Reply, body: bytes) -> None:
        if len(body) > RESPONSE_MAX_BYTES:
            raise too_large(len(body))
        header = b"[%d,%d,%b]" % (*self.spent(call), reply.header())
        self.close_call(call, REPLY, header, body)

    def send_end(self, call: Call, reply: Reply) -> None:
        if not call.began:
            self.send_begin(call, reply)
        self.close_call(call, END, b"[%d,%d]" % self.spent(call))

    def send_error(self, call: Call, error: BaseException) -> None:
        if call.cancelled:
            kind, body = "cancelled", encode_error("Cancelled", "the call was cancelled", [])
        elif isinstance(error, Refused):
            kind, body = error.kind, encode_error(error.name, str(error), [])
        else:
            kind, body = "raised", error_object(error)
        self.close_call(call, ERROR, b'["%b",%d,%d]' % (kind.encode(), *self.spent(call)), body)

    def spent(self, call: Call) -> Tuple[int, int]:
        """(microseconds, peak KiB), as the last frame of a call reports them."""
        return (clock() - call.started_ns) // 1000, self.peak_kib()

    def close_call(self, call: Call, kind: int, header: bytes, body: bytes = b"") -> None:
        """Send the last frame of a call, its logs before it in the same write."""
        call.done = True
        del self.calls[call.stream]
        self.mark_running()
        self.link.send(self.logs.final(call) + frame(kind, call.stream, header, body))


class Collected:
    """The items of a stream that nobody wants as a stream."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._parts: List[bytes] = []
        self._bytes = 0

    def add(self, item: Any) -> None:
        if self._reply.content_type is None:
            self._reply.content_type = chunk_type(item)
        self._parts.append(as_chunk(item))
        self._bytes += len(self._parts[-1])
        if self._bytes > RESPONSE_MAX_BYTES:
            raise too_large(self._bytes)

    def body(self) -> bytes:
        return b"".join(self._parts)


def too_large(size: int) -> Refused:
    message = f"the response has {size} bytes or more; the limit is {RESPONSE_MAX_BYTES}"
    return Refused("response-too-large", "ResponseTooLarge", message)


def close(items: Any) -> None:
    """Let a generator run its `finally`; what it raises there cannot be told any more."""
    try:
        getattr(items, "close", int)()
    except BaseException:
        return


async def aclose(items: Any) -> None:
    """The same for any kind of generator, on the event loop."""
    try:
        await items.aclose() if hasattr(items, "aclose") else close(items)
    except BaseException:
        return


async def as_async_items(items: Any) -> Any:
    if type(items) is bytes:
        yield items
    elif isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


@types.coroutine
def one_turn() -> Iterator[None]:
    """Wait for the loop's next turn, as `asyncio.sleep(0)` does."""
    yield


def new_task(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[None]:
    """A task that starts now (Python 3.12) instead of at the loop's next turn."""
    if sys.version_info >= (3, 12):
        from asyncio import Task  # noqa: PLC0415  # see the module's docstring

        return Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)


# --- loading ----------------------------------------------------------------------------


def load(order: Dict[str, Any], logs: Logs) -> Handler:
    """Make the process that of one function version and import its handler."""
    code, handler = order["code"], order["handler"]
    os.environ.update(order.get("environment") or {})
    os.environ.update(
        AWS_LAMBDA_FUNCTION_NAME=order["function"],
        AWS_LAMBDA_FUNCTION_VERSION=str(order["version"]),
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(order["memoryMib"]),
        AWS_LAMBDA_LOG_STREAM_NAME=order["logStream"],
        LAMBDA_TASK_ROOT=code,
        _HANDLER=handler,
        TZ=":UTC",
    )
    time.tzset()
    Context.function_name = order["function"]
    Context.function_version = str(order["version"])
    Context.memory_limit_in_mb = str(order["memoryMib"])
    Context.log_stream_name = order["logStream"]
    Context.log_group_name = f"/hotswap/{order['function']}"
    Context.log = ContextLog(logs)
    os.chdir(code)
    sys.path.insert(0, code)
    importlib.invalidate_caches()
    return import_handler(handler)


def import_handler(handler: str) -> Handler:
    path, _, attribute = handler.rpartition(".")
    name = path.replace("/", ".")
    if not name:
        raise HandlerNotFound(f"handler {handler!r} has no module; write module.function")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise HandlerNotFound(f"the code has no module {error.name!r}") from None
    found = getattr(module, attribute, None)
    if found is None:
        raise HandlerNotFound(f"module {name!r} has no {attribute!r}")
    if not callable(found):
        raise HandlerNotFound(f"{handler!r} is {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]  # any callable is a handler


def _no_handler(event: Any, context: Context) -> None:
    raise HandlerNotFound("the handler was not loaded")


def is_asynchronous(handler: Any) -> bool:
    """Whether the handler is known to need the event loop before its first call."""
    codes = (getattr(made, "__code__", None) for made in (handler, type(handler).__call__))
    return any(code is not None and code.co_flags & CO_ASYNCHRONOUS for code in codes)


# --- the process ------------------------------------------------------------------------


def capture(logs: Logs) -> None:
    """Put the user's output into LOG frames."""
    sys.stdout = Console(logs, "INFO", 1)
    sys.stderr = Console(logs, "ERROR", 2)
    handler = LogHandler(logs)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)


def forget_in_children(link: Link) -> None:
    """A forked child keeps neither the control socket nor the captured output."""

    def after_fork() -> None:
        link.socket.close()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

    os.register_at_fork(after_in_child=after_fork)


def main(path: str) -> NoReturn:
    sys.argv = ["bootstrap"]
    sys.dont_write_bytecode = True
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
    # User code that looks at `__main__`, as multiprocessing does, must not find this file.
    sys.modules["__main__"] = types.ModuleType("__main__")
    instance = Instance(Link(path))
    capture(instance.logs)
    forget_in_children(instance.link)
    hello: List[Union[int, str]] = [
        PROTOCOL_VERSION, "python", sys.version.split()[0], os.getpid(),
    ]  # fmt: skip
    gc.collect()
    gc.freeze()
    instance.link.send(frame(HELLO, 0, dumps(hello).encode()))
    instance.adopt()
    instance.serve()


if __name__ == "__main__":
    main(sys.argv[1])
