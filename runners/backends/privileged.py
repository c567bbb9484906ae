"""The runner's side of the privileged process: asks, waits for answers, keeps no state."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from hotswap.core import clock
from hotswap.core.errors import BackendFailed
from runners.backends import verbs
from runners.backends.base import CellExit, CellLimits, CellStats
from runners.backends.verbs import Done, Exited, Failed, Opened, Reply, Request, Used

R = TypeVar("R", bound=Reply)
OnExit = Callable[[CellExit], None]
_PROJECT = Path(__file__).parents[2]
_START_SECONDS = 20.0
_RESTART_SECONDS = 5.0
_GONE = "The privileged process is gone; its supervisor starts it again."


class Privileged:
    """One connection to the privileged process. Many requests may be in flight.

    Args:
        path: its socket.
        command: starts it where no supervisor has; needs root.
    """

    def __init__(self, path: Path, *, command: list[str] | None = None) -> None:
        self._path = path
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._is_supervised = False
        self._connection: socket.socket | None = None
        self._connecting = asyncio.Lock()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Reply, list[int]]]] = {}
        self._exits: dict[str, OnExit] = {}

    async def connect(self) -> None:
        """Connect unless connected; start the process when nobody has and we may.

        Raises:
            BackendFailed: nobody listens, or this user may not connect.
        """
        async with self._connecting:
            if self._connection is not None:
                return
            try:
                self._connection = _connect(self._path)
                self._is_supervised = self._process is None
            except OSError as exc:
                self._connection = await self._arrange(exc)
            asyncio.get_running_loop().add_reader(self._connection.fileno(), self._read)

    async def _arrange(self, absent: OSError) -> socket.socket:
        """Wait for the one that somebody else starts again, or start our own.

        Two would fight for this installation's cells.
        """
        if self._is_supervised:
            return await self._arrival(_RESTART_SECONDS)
        if self._command is None:
            raise BackendFailed(_absent(absent)) from absent
        self._process = await asyncio.create_subprocess_exec(*self._command, cwd=_PROJECT)
        return await self._arrival(_START_SECONDS)

    async def _arrival(self, seconds: float) -> socket.socket:
        deadline = clock.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                return _connect(self._path)
            ended = self._process is not None and self._process.returncode is not None
            if ended or clock.monotonic() > deadline:
                raise BackendFailed("The privileged process did not start; its log says why.")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Hang up: every cell made over this connection ends. Idempotent."""
        self._hang_up()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        asyncio.get_running_loop().remove_reader(connection.fileno())
        connection.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BackendFailed(_GONE))
        exits, self._exits = self._exits, {}
        for on_exit in exits.values():
            on_exit(CellExit(code=None, out_of_memory=False))

    # Verbs

    async def open(self) -> Opened:
        reply, _ = await self._ask(verbs.Open(self._next()), Opened)
        return reply

    async def create(self, cell: str, runtime: str, output: int, on_exit: OnExit) -> socket.socket:
        """Make and boot a cell; return its control socket."""
        self._exits[cell] = on_exit
        request = verbs.Create(self._next(), cell, runtime)
        try:
            _, passed = await self._ask(request, Done, output)
        except BaseException:
            self._exits.pop(cell, None)
            raise
        return _control(passed)

    async def prepare(self, cell: str) -> Path:
        """A meeting directory for a cell that another engine makes."""
        reply, _ = await self._ask(verbs.Prepare(self._next(), cell), Done)
        return Path(reply.path)

    async def accept(self, cell: str) -> socket.socket:
        """The control socket of a prepared cell."""
        _, passed = await self._ask(verbs.Accept(self._next(), cell), Done)
        return _control(passed)

    async def adopt(self, cell: str, code: Path, limits: CellLimits) -> str:
        request = verbs.Adopt(
            self._next(), cell, str(code), limits.memory_mib, limits.cpu_weight,
            limits.cpu_cores, limits.pids, limits.tmp_mib, limits.open_files,
        )  # fmt: skip
        reply, _ = await self._ask(request, Done)
        return reply.path

    async def freeze(self, cell: str) -> None:
        await self._ask(verbs.Freeze(self._next(), cell), Done)

    async def thaw(self, cell: str) -> None:
        await self._ask(verbs.Thaw(self._next(), cell), Done)

    async def stats(self, cell: str) -> CellStats:
        used, _ = await self._ask(verbs.Stats(self._next(), cell), Used)
        return CellStats(
            memory_bytes=used.memory_bytes,
            memory_peak_bytes=used.memory_peak_bytes,
            cpu_seconds=used.cpu_seconds,
            pids=used.pids,
            oom_kills=used.oom_kills,
        )

    async def stop(self, cell: str) -> None:
        await self._ask(verbs.Stop(self._next(), cell), Done)
        self._exits.pop(cell, None)

    # Wire

    def _next(self) -> int:
        return next(self._numbers)

    async def _ask(
        self, request: Request, expected: type[R], descriptor: int | None = None
    ) -> tuple[R, list[int]]:
        connection = self._connection
        if connection is None:
            raise BackendFailed(_GONE)
        future = asyncio.get_running_loop().create_future()
        self._waiting[request.n] = future
        try:
            await _send(connection, verbs.encode(request), descriptor)
            reply, passed = await future
        except OSError as exc:
            self._hang_up()
            raise BackendFailed(_GONE) from exc
        finally:
            self._waiting.pop(request.n, None)
        if isinstance(reply, Failed):
            raise BackendFailed(reply.detail)
        if not isinstance(reply, expected):
            raise BackendFailed("The privileged process gave an answer to something else.")
        return reply, passed

    def _read(self) -> None:
        assert self._connection is not None
        try:
            packet, passed, _, _ = socket.recv_fds(self._connection, verbs.PACKET_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            packet, passed = b"", []
        if not packet:
            self._hang_up()
            return
        reply = verbs.decode_reply(packet)
        if isinstance(reply, Exited):
            self._on_exited(reply)
            return
        future = self._waiting.get(reply.n)
        if future is None or future.done():
            for number in passed:
                os.close(number)
            return
        future.set_result((reply, passed))

    def _on_exited(self, event: Exited) -> None:
        on_exit = self._exits.pop(event.cell, None)
        if on_exit is not None:
            on_exit(CellExit(code=event.code, out_of_memory=event.out_of_memory))


def _connect(path: Path) -> socket.socket:
    """Connect to `path`, however long it is (a socket's path ends at 108 bytes)."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{handle}/{path.name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(handle)
    connection.setblocking(False)
    return connection


def _absent(exc: OSError) -> str:
    return (
        f"The privileged process cannot be reached ({exc.strerror}). Start it as root with "
        "python -m runners.sandboxd --uid and the runner's user id."
    )


async def _send(connection: socket.socket, packet: bytes, descriptor: int | None) -> None:
    rights = [] if descriptor is None else [descriptor]
    while True:
        with contextlib.suppress(BlockingIOError):
            socket.send_fds(connection, [packet], rights)
            return
        await asyncio.sleep(0.001)


def _control(passed: list[int]) -> socket.socket:
    if len(passed) != 1:
        raise BackendFailed("The privileged process sent no control socket.")
    control = socket.socket(fileno=passed[0])
    control.setblocking(False)
    return control
