"""Raw output of a container, read from the engine's attach stream."""

import asyncio
import socket
import struct

from runners.backends.base import Output

_READ_BYTES = 64 * 1024
_HEADER = struct.Struct(">BxxxI")  # which stream, how many bytes


class AttachedOutput:
    """Takes the engine's frames apart; `ended` is set when the container's streams end.

    Each turn of the event loop reads 64 KiB at most, so a flood slows its writer down.
    """

    def __init__(self, stream: socket.socket, on_output: Output) -> None:
        self.ended = asyncio.Event()
        self._stream = stream
        self._on_output = on_output
        self._header = b""
        self._left = 0  # bytes of the current frame that are still to come
        self._loop = asyncio.get_running_loop()
        stream.setblocking(False)
        self._loop.add_reader(stream.fileno(), self._read)

    def close(self) -> None:
        """Stop reading. Idempotent."""
        if self._stream.fileno() >= 0:
            self._loop.remove_reader(self._stream.fileno())
            self._stream.close()
            self.ended.set()

    def _read(self) -> None:
        try:
            data = self._stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.close()

    def _take(self, data: bytes) -> None:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._on_output(piece)
                continue
            missing = _HEADER.size - len(self._header)
            self._header, data = self._header + data[:missing], data[missing:]
            if len(self._header) == _HEADER.size:
                _, self._left = _HEADER.unpack(self._header)
                self._header = b""
