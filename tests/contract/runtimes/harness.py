"""A real bootstrap process, driven over a real unix socket as a runner drives it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtimes import catalog, interpreters
from runtimes.catalog import Runtime
from runtimes.interpreters import Interpreter
from runtimes.protocol.framing import FLAG_STREAM, PREFIX, PREFIX_BYTES, FrameType, encode

FUNCTIONS = Path(__file__).parent / "functions"
MODULES = {"python": "app", "node": "index"}
WAIT_SECONDS = 20.0
ALWAYS = ("python3.8", "python3.11", "node20", "node22")
"""Tested by `bin/check` where they are installed; the others are marked slow."""
FOUND = [
    pytest.param(item, id=name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name, item in catalog.all_runtimes().items()
    if interpreters.find(item)
]
LAST = (FrameType.REPLY, FrameType.END, FrameType.ERROR)


@dataclass(frozen=True)
class Frame:
    """One frame that the bootstrap sent."""

    kind: FrameType
    stream: int
    header: list[Any]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Outcome:
    """All that answered one call, in the order it came."""

    frames: list[Frame] = field(default_factory=list)

    @property
    def last(self) -> Frame:
        return self.frames[-1]

    @property
    def kinds(self) -> list[FrameType]:
        return [frame.kind for frame in self.frames]

    @property
    def chunks(self) -> list[bytes]:
        return [frame.body for frame in self.frames if frame.kind == FrameType.CHUNK]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Captured (level, text) pairs."""
        logs = [frame for frame in self.frames if frame.kind == FrameType.LOG]
        return [(level, text) for frame in logs for _, level, text in frame.json]

    @property
    def dropped(self) -> int:
        return sum(frame.header[0] for frame in self.frames if frame.kind == FrameType.LOG)

    @property
    def error(self) -> tuple[str, str, str]:
        """(kind, type, message) of the ERROR frame."""
        assert self.last.kind == FrameType.ERROR, self.last
        told = self.last.json
        return self.last.header[0], told["errorType"], told["errorMessage"]


class Instance:
    """The runner's side of one bootstrap."""

    def __init__(
        self, runtime: Runtime, process: "subprocess.Popen[bytes]", control: socket.socket
    ) -> None:
        self.runtime = runtime
        self.process = process
        self.control = control
        self.control.settimeout(WAIT_SECONDS)
        self._buffer = bytearray()

    @classmethod
    def start(cls, runtime: Runtime, interpreter: Interpreter, folder: Path) -> "Instance":
        """Start a bootstrap on this machine and accept its connection."""
        path = folder / "s"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(WAIT_SECONDS)
            command = runtime.argv(
                interpreter=str(interpreter.path),
                bootstrap=str(runtime.bootstrap),
                socket=str(path),
            )
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": "/usr/bin"}
            )
            control, _ = listener.accept()
        path.unlink()
        return cls(runtime, process, control)

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.communicate()

    def exit_status(self) -> int:
        return self.process.wait(WAIT_SECONDS)

    # Frames out

    def send(
        self,
        kind: FrameType,
        stream: int = 0,
        header: object = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> None:
        head = b"" if header is None else json.dumps(header).encode()
        self.control.sendall(encode(kind, stream, head, body, flags))

    def init(self, handler: str, **changes: object) -> None:
        """Send INIT. `handler` without a dot is a name in the language's main module."""
        full = handler if "." in handler else f"{MODULES[self.runtime.language]}.{handler}"
        order = {
            "function": "demo",
            "version": 7,
            "handler": full,
            "code": str(FUNCTIONS / self.runtime.language),
            "environment": {},
            "memoryMib": 256,
            "timeoutMs": 3000,
            "instance": "i-1",
            "logStream": "2026/01/01/[7]i-1",
            "concurrency": 1,
            **changes,
        }
        self.send(FrameType.INIT, body=json.dumps(order).encode())

    def invoke(
        self,
        stream: int,
        body: bytes = b"",
        *,
        content_type: str = "",
        wants_stream: bool = False,
        deadline_ms: int | None = None,
    ) -> None:
        due = deadline_ms if deadline_ms is not None else int(time.time() * 1000) + 5000
        header = [f"request-{stream}", due, "00-trace-01", content_type, "live"]
        self.send(FrameType.INVOKE, stream, header, body, FLAG_STREAM if wants_stream else 0)

    # Frames in

    def read(self) -> Frame:
        """The next frame. Raises EOFError when the process has gone."""
        while len(self._buffer) < PREFIX_BYTES or len(self._buffer) < self._size():
            received = self.control.recv(1 << 20)
            if not received:
                raise EOFError
            self._buffer += received
        size = self._size()
        _, kind, _, header_bytes, stream = PREFIX.unpack_from(self._buffer)
        header_end = PREFIX_BYTES + header_bytes
        header = bytes(self._buffer[PREFIX_BYTES:header_end])
        body = bytes(self._buffer[header_end:size])
        del self._buffer[:size]
        return Frame(FrameType(kind), stream, json.loads(header) if header else [], body)

    def _size(self) -> int:
        return int(PREFIX.unpack_from(self._buffer)[0]) + 4

    def frames(self) -> Iterator[Frame]:
        while True:
            yield self.read()

    def until(self, *kinds: FrameType) -> Outcome:
        """Every frame up to the first of one of `kinds`."""
        outcome = Outcome()
        for frame in self.frames():
            outcome.frames.append(frame)
            if frame.kind in kinds:
                break
        return outcome

    def is_silent(self, seconds: float = 0.15) -> bool:
        """Whether nothing arrives for a while."""
        self.control.settimeout(seconds)
        try:
            self._buffer += self.control.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.control.settimeout(WAIT_SECONDS)
        return False

    # Whole exchanges

    def adopt(self, handler: str, **changes: object) -> "Instance":
        """Take HELLO, send INIT, take READY."""
        assert self.read().kind == FrameType.HELLO
        self.init(handler, **changes)
        answer = self.until(FrameType.READY, FrameType.INIT_ERROR).last
        assert answer.kind == FrameType.READY, answer.body
        return self

    def refused(self, handler: str, **changes: object) -> dict[str, Any]:
        """Take HELLO, send INIT, return the error object of INIT_ERROR."""
        assert self.read().kind == FrameType.HELLO
        self.init(handler, **changes)
        answer = self.until(FrameType.READY, FrameType.INIT_ERROR).last
        assert answer.kind == FrameType.INIT_ERROR
        told: dict[str, Any] = answer.json
        return told

    def call(
        self,
        body: bytes = b"",
        *,
        content_type: str = "",
        wants_stream: bool = False,
        stream: int = 1,
    ) -> Outcome:
        """One call from INVOKE to its last frame."""
        self.invoke(stream, body, content_type=content_type, wants_stream=wants_stream)
        return self.until(*LAST)


def only(language: str) -> pytest.MarkDecorator:
    """Run a test class for the interpreters of one language."""
    mine = [param for param in FOUND if str(param.id).startswith(language)]
    return pytest.mark.parametrize("runtime", mine, indirect=True)
