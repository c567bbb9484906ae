"""The cells that the privileged process keeps, and everything it does to them."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hotswap.core.errors import BackendFailed
from runners.backends.base import CellExit, CellLimits, CellStats
from runners.backends.bundle import STEM_LIMITS, TASK, CellPlace, make_root, write_bundle
from runners.backends.programs import Program, find_program
from runners.backends.rendezvous import Rendezvous, peer
from runners.sandboxd import linux
from runners.sandboxd.cgroups import PARENT, Cgroups
from runners.sandboxd.engine import Engine

_UNKNOWN = CellStats(None, None, None, None, None)
_KILL_SECONDS = 5.0


@dataclass(slots=True)
class PrivilegedCell:
    """What is kept of one cell.

    Attributes:
        uid: the user it runs as; -1 where another engine chose it.
        pidfd: its first process, -1 until that is known.
        ended: set once the first process has ended.
        on_exit: told once how it ended, for cells made here.
    """

    id: str
    uid: int
    meeting: Rendezvous
    on_exit: Callable[[str, CellExit], None]
    pid: int = 0
    pidfd: int = -1
    cgroup: str = ""
    bundle: Path | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Future[None] | None = None


class Cells:
    """All cells of one installation on this machine.

    Args:
        base: a directory that only root can enter, such as `/run/hotswap/<mark>`; its
            `cells` is a shared mount.
        group: control group of the installation, below `PARENT`.
        first_uid: cells run as users from here on, each as another one.
        code_root: code may come from below this directory only.
    """

    def __init__(
        self, *, base: Path, group: str, first_uid: int, code_root: Path, cgroups: Cgroups,
        engine: Engine | None,
    ) -> None:  # fmt: skip
        self._base = base
        self._group = group
        self._first_uid = first_uid
        self._code_root = code_root
        self._cgroups = cgroups
        self._engine = engine
        self._cells: dict[str, PrivilegedCell] = {}
        self._roots: dict[str, tuple[Path, Program]] = {}
        self._preparing = asyncio.Lock()

    # Making

    async def create(
        self, cell_id: str, runtime: str, output: int, on_exit: Callable[[str, CellExit], None]
    ) -> socket.socket:
        """Boot a cell and return its control socket.

        Raises:
            BackendFailed: it did not come up; nothing is left of it.
        """
        if self._engine is None:
            raise BackendFailed("Neither crun nor runc works here: apt-get install crun.")
        root, program = await self._root(runtime)
        cell = self._new(cell_id, on_exit, uid=self._free_uid())
        try:
            cell.cgroup = f"{self._group}/{cell_id}"
            cell.bundle = self._base / "bundles" / cell_id
            place = CellPlace(cell_id, root, cell.meeting.directory, cell.uid, cell.cgroup)
            write_bundle(cell.bundle, place, program)
            self._watch(cell, await self._engine.run(cell_id, cell.bundle, output))
            return await self._meet(cell)
        except BaseException:
            await asyncio.shield(self.stop(cell_id))
            raise

    def prepare(self, cell_id: str) -> Path:
        """Make the meeting directory of a cell that another engine will make."""
        cell = self._new(cell_id, lambda _id, _exit: None, uid=-1)
        return cell.meeting.directory

    async def accept(self, cell_id: str) -> socket.socket:
        """Wait for a prepared cell's bootstrap; its control group is ours from then on.

        Raises:
            BackendFailed: nobody came, or somebody who is not in a group of ours.
        """
        cell = self._known(cell_id)
        connected = await self._meet(cell)
        try:
            found = peer(connected)
            group = self._cgroups.of_process(found[0]) if found else ""
            if found is None or not group.startswith((f"{PARENT}/", f"{PARENT}.slice/")):
                raise BackendFailed(f"Cell {cell_id} is not in a control group of HotSwap.")
            cell.cgroup = group
            self._watch(cell, found[0])
        except BaseException:
            connected.close()
            raise
        return connected

    def _new(
        self, cell_id: str, on_exit: Callable[[str, CellExit], None], *, uid: int
    ) -> PrivilegedCell:
        if cell_id in self._cells:
            raise BackendFailed(f"There is already a cell {cell_id}.")
        meeting = Rendezvous(self._base / "cells", cell_id)
        cell = self._cells[cell_id] = PrivilegedCell(cell_id, uid, meeting, on_exit)
        try:
            meeting.open()
            (meeting.directory / "task").mkdir(mode=0o755)
        except BaseException:
            del self._cells[cell_id]
            raise
        return cell

    async def _root(self, runtime: str) -> tuple[Path, Program]:
        """The shared root of a runtime, made at its first use."""
        async with self._preparing:
            if runtime not in self._roots:
                program = await asyncio.to_thread(find_program, runtime)
                root = self._base / "roots" / runtime
                await asyncio.to_thread(make_root, root, program)
                self._roots[runtime] = (root, program)
        return self._roots[runtime]

    def _free_uid(self) -> int:
        used = {cell.uid for cell in self._cells.values()}
        return next(
            uid for uid in range(self._first_uid, self._first_uid + 65_536) if uid not in used
        )

    def _watch(self, cell: PrivilegedCell, pid: int) -> None:
        cell.pid = pid
        cell.pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(cell.pidfd, self._ended, cell)

    async def _meet(self, cell: PrivilegedCell) -> socket.socket:
        """The bootstrap's connection, unless the cell ends first."""
        arriving = asyncio.ensure_future(cell.meeting.accept())
        ending = asyncio.ensure_future(cell.ended.wait())
        try:
            await asyncio.wait((arriving, ending), return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():
                raise BackendFailed(f"Cell {cell.id} ended before its bootstrap connected.")
            connected = arriving.result()
        except TimeoutError as exc:
            raise BackendFailed(f"The bootstrap of cell {cell.id} did not connect.") from exc
        finally:
            arriving.cancel()
            ending.cancel()
        if cell.uid >= 0 and peer(connected) != (cell.pid, cell.uid):
            connected.close()
            raise BackendFailed(f"A stranger connected to cell {cell.id}.")
        return connected

    # Use

    def adopt(self, cell_id: str, code: str, limits: CellLimits) -> str:
        """Bind the code and set the limits; return the code's path inside."""
        cell = self._running(cell_id)
        self._cgroups.limit(cell.cgroup, limits)
        if limits.tmp_mib != STEM_LIMITS.tmp_mib:
            linux.resize_tmpfs(f"/proc/{cell.pid}/root/tmp", limits.tmp_mib << 20)
        if limits.open_files != STEM_LIMITS.open_files:
            files = (limits.open_files, limits.open_files)
            resource.prlimit(cell.pid, resource.RLIMIT_NOFILE, files)
        source = self._open_code(code)
        try:
            linux.bind_read_only(source, str(cell.meeting.directory / "task"))
        finally:
            os.close(source)
        return TASK

    def _open_code(self, code: str) -> int:
        """The directory, held open, after a check that it is what its path says."""
        handle = os.open(code, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        real = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if not real.is_relative_to(self._code_root):
            os.close(handle)
            raise BackendFailed("Code may only come from the state directory.")
        return handle

    def freeze(self, cell_id: str) -> None:
        self._cgroups.freeze(self._running(cell_id).cgroup)

    def thaw(self, cell_id: str) -> None:
        self._cgroups.thaw(self._running(cell_id).cgroup)

    def stats(self, cell_id: str) -> CellStats:
        cell = self._cells.get(cell_id)
        return self._cgroups.stats(cell.cgroup) if cell and cell.cgroup else _UNKNOWN

    # End

    async def stop(self, cell_id: str) -> None:
        """Kill a cell and remove every trace. Idempotent; concurrent calls share the work."""
        cell = self._cells.get(cell_id)
        if cell is None:
            return
        if cell.stopping is None:
            cell.stopping = asyncio.ensure_future(self._stop(cell))
        await asyncio.shield(cell.stopping)

    async def _stop(self, cell: PrivilegedCell) -> None:
        cell.meeting.close()
        if cell.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(cell.pidfd, signal.SIGKILL)
            self._cgroups.kill(cell.cgroup)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await cell.ended.wait()
        cell.ended.set()
        with contextlib.suppress(OSError):
            linux.unmount(str(cell.meeting.directory / "task"))
        await asyncio.to_thread(self._remove, cell)
        del self._cells[cell.id]

    def _remove(self, cell: PrivilegedCell) -> None:
        if cell.bundle is not None and self._engine is not None:
            self._cgroups.remove(cell.cgroup)
            self._engine.forget(cell.id)
            shutil.rmtree(cell.bundle, ignore_errors=True)
        shutil.rmtree(cell.meeting.directory, ignore_errors=True)

    def _ended(self, cell: PrivilegedCell) -> None:
        asyncio.get_running_loop().remove_reader(cell.pidfd)
        os.close(cell.pidfd)
        cell.pidfd = -1
        code = None
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(cell.pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status)
        killed = code is None or code == -signal.SIGKILL
        out_of_memory = killed and bool(self._cgroups.stats(cell.cgroup).oom_kills)
        cell.ended.set()
        cell.on_exit(cell.id, CellExit(code=code, out_of_memory=out_of_memory))

    def _known(self, cell_id: str) -> PrivilegedCell:
        cell = self._cells.get(cell_id)
        if cell is None or cell.stopping is not None:
            raise BackendFailed(f"There is no cell {cell_id}.")
        return cell

    def _running(self, cell_id: str) -> PrivilegedCell:
        """A cell whose bootstrap has connected: only then its control group is known."""
        cell = self._known(cell_id)
        if not cell.cgroup or cell.ended.is_set():
            raise BackendFailed(f"Cell {cell_id} is not running.")
        return cell

    async def close(self) -> None:
        """Stop every cell."""
        await asyncio.gather(*(self.stop(cell_id) for cell_id in list(self._cells)))
