"""The privileged process's socket: who may speak, and what each verb does.

A connection is a lease: the cells that were made over it end with it, so a runner that is
killed leaves nothing behind.
"""

import array
import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import singledispatchmethod

import msgspec

from hotswap.core.errors import BackendFailed, HotSwapError
from runners.backends import verbs
from runners.backends.base import CellExit, CellLimits
from runners.backends.rendezvous import peer
from runners.backends.verbs import Done, Exited, Failed, Opened, Reply, Request, Used
from runners.sandboxd.cells import Cells

log = logging.getLogger("hotswap.sandboxd")

_DESCRIPTOR_BYTES = array.array("i").itemsize


class Server:
    """Serves one runner at a time or several; each owns only its own cells.

    Args:
        uid: the only user that may connect.
    """

    def __init__(self, *, cells: Cells, uid: int, opened: Callable[[int], Opened]) -> None:
        self._cells = cells
        self._uid = uid
        self._opened = opened

    async def serve(self, listener: socket.socket) -> None:
        """Accept for ever."""
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            found = peer(connection)
            if found is None or found[1] != self._uid:
                log.warning("refused a connection of another user")
                connection.close()
                continue
            connection.setblocking(False)
            Lease(connection, self._cells, self._opened).begin()


class Lease:
    """One connection, and the cells made over it."""

    def __init__(
        self, connection: socket.socket, cells: Cells, opened: Callable[[int], Opened]
    ) -> None:
        self._connection = connection
        self._cells = cells
        self._opened = opened
        self._mine: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        self._loop.add_reader(self._connection, self._read)

    def _read(self) -> None:
        descriptors = array.array("i")
        try:
            packet, ancillary, flags, _ = self._connection.recvmsg(
                verbs.PACKET_BYTES, socket.CMSG_SPACE(_DESCRIPTOR_BYTES), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            packet, ancillary, flags = b"", [], 0
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR_BYTES])
        if not packet or flags & socket.MSG_TRUNC:
            _close_all(descriptors)
            self._end()
            return
        self._start(self._serve(packet, descriptors))

    def _start(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = self._loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, packet: bytes, descriptors: "array.array[int]") -> None:
        try:
            request = verbs.decode_request(packet)
        except msgspec.DecodeError as exc:
            log.warning("refused a request: %s", exc)
            self._end()
            return
        finally:
            if not descriptors:
                descriptors.append(-1)
        try:
            reply, passed = await self._do(request, descriptors[0])
        except HotSwapError as exc:
            reply, passed = Failed(request.n, exc.detail), None
        except OSError as exc:
            reply, passed = Failed(request.n, f"The kernel refused: {exc.strerror}."), None
        finally:
            _close_all(descriptors)
        self._send(reply, passed)

    def _send(self, reply: Reply, passed: socket.socket | None = None) -> None:
        rights = [] if passed is None else [passed.fileno()]
        try:
            socket.send_fds(self._connection, [verbs.encode(reply)], rights)
        except OSError:
            self._end()
        finally:
            if passed is not None:
                passed.close()

    def _end(self) -> None:
        """The runner is gone, or does not follow the rules: its cells end."""
        if self._connection.fileno() < 0:
            return
        self._loop.remove_reader(self._connection)
        self._connection.close()
        for cell in list(self._mine):
            self._start(self._cells.stop(cell))

    @singledispatchmethod
    async def _do(self, request: Request, descriptor: int) -> tuple[Reply, socket.socket | None]:
        raise BackendFailed("There is no such verb.")

    @_do.register
    async def _(self, request: verbs.Open, _: int) -> tuple[Reply, None]:
        return self._opened(request.n), None

    @_do.register
    async def _(self, request: verbs.Create, descriptor: int) -> tuple[Reply, socket.socket]:
        if descriptor < 0:
            raise BackendFailed("A cell needs a descriptor for its output.")
        control = await self._cells.create(request.cell, request.runtime, descriptor, self._on_exit)
        return await self._made(request, control)

    @_do.register
    async def _(self, request: verbs.Prepare, _: int) -> tuple[Reply, None]:
        directory = self._cells.prepare(request.cell)
        self._mine.add(request.cell)
        return Done(request.n, path=str(directory)), None

    @_do.register
    async def _(self, request: verbs.Accept, _: int) -> tuple[Reply, socket.socket]:
        self._check(request.cell)
        return await self._made(request, await self._cells.accept(request.cell))

    @_do.register
    async def _(self, request: verbs.Adopt, _: int) -> tuple[Reply, None]:
        self._check(request.cell)
        limits = CellLimits(
            memory_mib=request.memory_mib,
            cpu_weight=request.cpu_weight,
            cpu_cores=request.cpu_cores,
            pids=request.pids,
            tmp_mib=request.tmp_mib,
            open_files=request.open_files,
        )
        return Done(request.n, path=self._cells.adopt(request.cell, request.code, limits)), None

    @_do.register
    async def _(self, request: verbs.Freeze, _: int) -> tuple[Reply, None]:
        self._check(request.cell)
        self._cells.freeze(request.cell)
        return Done(request.n), None

    @_do.register
    async def _(self, request: verbs.Thaw, _: int) -> tuple[Reply, None]:
        self._check(request.cell)
        self._cells.thaw(request.cell)
        return Done(request.n), None

    @_do.register
    async def _(self, request: verbs.Stats, _: int) -> tuple[Reply, None]:
        self._check(request.cell)
        used = self._cells.stats(request.cell)
        return Used(
            request.n,
            used.memory_bytes,
            used.memory_peak_bytes,
            used.cpu_seconds,
            used.pids,
            used.oom_kills,
        ), None

    @_do.register
    async def _(self, request: verbs.Stop, _: int) -> tuple[Reply, None]:
        if request.cell in self._mine:
            await self._cells.stop(request.cell)
            self._mine.discard(request.cell)
        return Done(request.n), None

    def _check(self, cell: str) -> None:
        if cell not in self._mine:
            raise BackendFailed(f"There is no cell {cell}.")

    async def _made(
        self, request: verbs.Create | verbs.Accept, control: socket.socket
    ) -> tuple[Reply, socket.socket]:
        """A cell whose runner hung up meanwhile must not stay."""
        if self._connection.fileno() < 0:
            control.close()
            await self._cells.stop(request.cell)
        self._mine.add(request.cell)
        return Done(request.n), control

    def _on_exit(self, cell: str, ended: CellExit) -> None:
        if self._connection.fileno() >= 0:
            self._send(Exited(0, cell, ended.code, ended.out_of_memory))


def _close_all(descriptors: "array.array[int]") -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
