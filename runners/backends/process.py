"""Cells as child processes of the runner.

With the plain launcher nothing is isolated: functions see the machine as the runner's user
does. That exists so that the platform can be tried on macOS and other developers' machines.
With `runners.backends.rootless` the same processes live in user namespaces.
"""

import asyncio
import contextlib
import os
import resource
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from hotswap.core.errors import BackendFailed
from hotswap.core.limits import MIB
from runners.backends.base import (
    Cell,
    CellExit,
    CellLimits,
    CellStats,
    Isolation,
    Output,
)
from runners.backends.output import OutputPipe
from runners.backends.programs import Program, Programs
from runners.backends.rendezvous import (
    CONTROL,
    Rendezvous,
    fits_a_socket,
    installation_mark,
    peer,
    private_directory,
)

_LINUX = sys.platform.startswith("linux")
_PID_FILE = "pid"
_FILE_BYTES = 64 * MIB


class Launcher(Protocol):
    """How a child process is started and shown its code."""

    @property
    def name(self) -> str:
        """The backend's name in configuration."""

    def check(self) -> None:
        """Raise BackendFailed where it cannot work. May block."""

    def isolation(self) -> Isolation:
        """What it enforces."""

    def command(self, program: Program, meeting: Path) -> tuple[list[str], list[int]]:
        """The command line, and descriptors that it inherits and its caller closes."""

    def place(self, code: Path, meeting: Path) -> str:
        """Make the code visible; return its path inside. May block."""

    def exit_code(self, status: int) -> int:
        """The first process's own exit status, from that of the child."""


class Plain:
    """Nothing around the bootstrap: for development."""

    name = "process"

    def check(self) -> None:
        """Works everywhere."""

    def isolation(self) -> Isolation:
        nothing = "the process backend is a development mode"
        missing = ("process", "file system", "network", "user", "memory", "CPU")
        return Isolation(
            name=self.name,
            enforced=("limit on open files", "limit on file size"),
            missing=tuple(f"{what} isolation: {nothing}" for what in missing),
        )

    def command(self, program: Program, meeting: Path) -> tuple[list[str], list[int]]:
        bootstrap = str(program.runtime.bootstrap)
        return program.command(bootstrap=bootstrap, control=str(meeting / CONTROL)), []

    def place(self, code: Path, meeting: Path) -> str:
        return str(code)

    def exit_code(self, status: int) -> int:
        return status


class ProcessBackend:
    """Cells as child processes, started by a launcher.

    Args:
        cells: the directory for cells; a short one elsewhere is used when its path is too
            long for a socket.
        inherited: directories of runners that there are no more; cleared by `open`.
    """

    def __init__(
        self,
        *,
        cells: Path,
        programs: Programs,
        launcher: Launcher,
        inherited: Iterable[Path] = (),
    ) -> None:
        self._cells = _reachable(cells)
        self._inherited = [_reachable(directory) for directory in inherited]
        self._programs = programs
        self._launcher = launcher
        self._running: dict[str, ProcessCell] = {}

    @property
    def name(self) -> str:
        return self._launcher.name

    async def open(self) -> None:
        await asyncio.to_thread(self._launcher.check)
        left = (path for path in self._inherited if path.is_dir())
        for cells in (self._cells, *left):
            for directory in private_directory(cells).iterdir():
                _remove_orphan(directory)

    def isolation(self) -> Isolation:
        return self._launcher.isolation()

    async def runtimes(self) -> list[str]:
        return await self._programs.names()

    async def create_cell(self, runtime: str, on_output: Output) -> Cell:
        cell_id = f"p{secrets.token_hex(6)}"
        program = await self._programs.get(runtime)
        meeting = Rendezvous(self._cells, cell_id)
        meeting.open()
        output = OutputPipe(on_output)
        command, descriptors = self._launcher.command(program, meeting.directory)
        try:
            process = await _spawn(command, meeting.directory, output.writer, descriptors)
        except OSError as exc:
            output.close()
            shutil.rmtree(meeting.directory, ignore_errors=True)
            raise BackendFailed(f"{command[0]} cannot be started: {exc.strerror}.") from exc
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        output.close_writer()
        cell = ProcessCell(
            cell_id, process, meeting.directory, output, self._launcher, self._forget
        )
        self._running[cell_id] = cell
        await cell.connect(meeting)
        return cell

    async def close(self) -> None:
        await asyncio.gather(*(cell.stop() for cell in list(self._running.values())))

    def _forget(self, cell_id: str) -> None:
        self._running.pop(cell_id, None)


class ProcessCell:
    """One child process, leader of its own session and process group."""

    control: socket.socket

    def __init__(
        self,
        cell_id: str,
        process: asyncio.subprocess.Process,
        directory: Path,
        output: OutputPipe,
        launcher: Launcher,
        on_gone: Callable[[str], None],
    ) -> None:
        self.id = cell_id
        self._process = process
        self._directory = directory
        self._output = output
        self._launcher = launcher
        self._pid = process.pid  # of the bootstrap, once it has connected
        self._on_gone = on_gone
        self._frozen = False
        (directory / _PID_FILE).write_text(f"{process.pid} {_birth(process.pid)}")

    async def connect(self, meeting: Rendezvous) -> None:
        """Wait for the bootstrap; stop everything when it does not come."""
        ended = asyncio.ensure_future(self._process.wait())
        arrived = asyncio.ensure_future(meeting.accept())
        try:
            await asyncio.wait((ended, arrived), return_when=asyncio.FIRST_COMPLETED)
            if not arrived.done():
                raise BackendFailed(f"The bootstrap ended at once, with status {ended.result()}.")
            self.control = arrived.result()
            self._pid = (peer(self.control) or (self._pid, 0))[0]
        except BaseException as exc:
            arrived.cancel()
            meeting.close()
            await self.stop()
            if isinstance(exc, TimeoutError):
                raise BackendFailed("The bootstrap did not connect in time.") from exc
            raise
        finally:
            ended.cancel()

    async def adopt(self, code: Path, limits: CellLimits) -> str:
        if _LINUX:
            with contextlib.suppress(ProcessLookupError):
                _limit(self._pid, limits)
        return await asyncio.to_thread(self._launcher.place, code, self._directory)

    async def freeze(self) -> None:
        if not self._frozen:
            self._frozen = True
            self._signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal(signal.SIGCONT)

    async def stats(self) -> CellStats:
        return _stats(self._pid) if _LINUX else CellStats(None, None, None, None, None)

    async def stop(self) -> None:
        self._signal(signal.SIGKILL)
        await self._process.wait()
        self._output.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._on_gone(self.id)

    async def wait(self) -> CellExit:
        return CellExit(self._launcher.exit_code(await self._process.wait()), out_of_memory=False)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _spawn(
    command: list[str], home: Path, output: int, descriptors: list[int]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
        },
        cwd=home,
        start_new_session=True,
        pass_fds=descriptors,
    )


def _limit(pid: int, limits: CellLimits) -> None:
    """What the kernel limits per process. RLIMIT_DATA, because virtual memory says nothing
    about Node and Java, which reserve far more than they use."""
    memory = limits.memory_mib * MIB
    resource.prlimit(pid, resource.RLIMIT_DATA, (memory, memory))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limits.open_files, limits.open_files))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    if Path(f"/proc/{pid}/ns/user").stat().st_ino != Path("/proc/self/ns/user").stat().st_ino:
        # In a user namespace of its own the kernel counts its processes alone.
        resource.prlimit(pid, resource.RLIMIT_NPROC, (limits.pids, limits.pids))


def _stats(pid: int) -> CellStats:
    """Figures of the first process alone: children are not followed."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return CellStats(None, None, None, None, None)
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" not in sizes:
        return CellStats(None, None, None, None, None)
    return CellStats(
        memory_bytes=int(sizes["VmRSS"].split()[0]) * 1024,
        memory_peak_bytes=int(sizes["VmHWM"].split()[0]) * 1024,
        cpu_seconds=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        pids=int(fields[17]),
        oom_kills=None,
    )


def _birth(pid: int) -> str:
    """When a process began, so that its number, once recycled, is not mistaken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


def _remove_orphan(directory: Path) -> None:
    """End what an earlier runner left in `directory`, and the directory too."""
    with contextlib.suppress(OSError, ValueError):
        pid, birth = (directory / _PID_FILE).read_text().split()
        if birth != "0" and birth == _birth(int(pid)):
            os.killpg(int(pid), signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


def _reachable(cells: Path) -> Path:
    """`cells`, or a private directory with a short path, always the same for the same `cells`."""
    if fits_a_socket(cells):
        return cells
    name = f"hotswap-{os.getuid()}-{installation_mark(cells)}"
    return Path(tempfile.gettempdir()) / name
