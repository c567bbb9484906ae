"""Raw output of a cell: a pipe that is read as fast as the runner can, and no faster."""

import asyncio
import os

from runners.backends.base import Output

_READ_BYTES = 64 * 1024


class OutputPipe:
    """A pipe whose write end a cell gets as its stdout and stderr.

    Each turn of the event loop reads 64 KiB at most; a flood fills the pipe and then blocks
    the process that writes it.
    """

    def __init__(self, on_output: Output) -> None:
        self._on_output = on_output
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._read)

    def close_writer(self) -> None:
        """Let go of the write end, once the cell has its copy. Idempotent."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Stop reading and close both ends. Idempotent."""
        self.close_writer()
        if self._reader >= 0:
            self._drain()
            self._close_reader()

    def _read(self) -> None:
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._on_output(data)
        else:
            self._close_reader()

    def _drain(self) -> None:
        """Hand over what a dead cell left in the pipe: one pipe's worth, not more."""
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._on_output(data)

    def _close_reader(self) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        self._reader = -1
