"""The port to isolation backends: what a runner may ask of one.

A *cell* is a sandbox that is booted and waits without user code: the bootstrap runs in
it, connected to the runner. Adoption gives it one version's code and limits, once. A
cell is never given back: it is stopped, and a fresh one takes its place.

Nothing a user wrote reaches an engine's configuration: the port takes numbers, a
runtime name from the catalogue, and a directory that the runner itself unpacked.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CellLimits:
    """The six numbers that bound one instance."""

    memory_mib: int
    cpu_weight: int  # cgroup v1 shares
    cpu_cores: float  # hard ceiling
    pids: int = 64
    tmp_mib: int = 64
    open_files: int = 1024


@dataclass(frozen=True, slots=True)
class CellStats:
    """What one instance uses now; None where the backend cannot tell."""

    memory_bytes: int | None
    memory_peak_bytes: int | None
    cpu_seconds: float | None
    pids: int | None
    oom_kills: int | None


@dataclass(frozen=True, slots=True)
class CellExit:
    """How a cell ended. `code` is the exit status, or minus the signal number."""

    code: int | None
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a backend promises on this machine, for people to read.

    Attributes:
        name: the backend.
        enforced: protections in force, such as "pid namespace".
        missing: protections this machine cannot give, each with the reason.
    """

    name: str
    enforced: tuple[str, ...]
    missing: tuple[str, ...]


class Cell(Protocol):
    """One sandbox, booted, its bootstrap connected, no user code in it yet."""

    @property
    def id(self) -> str:
        """Unique on this machine: lower-case letters, digits and dashes."""

    @property
    def control(self) -> socket.socket:
        """The connected, non-blocking stream socket to the bootstrap. The runner owns it.

        The backend accepted exactly one connection and closed and unlinked the listener,
        so nothing in the sandbox can connect a second time.
        """

    async def adopt(self, code: Path, limits: CellLimits) -> str:
        """Give the cell its code (read-only) and its limits; return the code's path inside.

        Called at most once.

        Raises:
            BackendFailed: the code could not be made visible, or a limit not be set.
        """

    async def freeze(self) -> None:
        """Stop its CPU use while it is idle. Idempotent; may do nothing."""

    async def thaw(self) -> None:
        """Undo `freeze`. Idempotent."""

    async def stats(self) -> CellStats:
        """Current use. Never raises for a cell that has just ended: all None."""

    async def stop(self) -> None:
        """Kill everything in it and remove every trace: processes, mounts, cgroups,
        sockets, directories. Idempotent; works on frozen cells too."""

    async def wait(self) -> CellExit:
        """Return when the sandbox's first process has ended; any number of callers."""


Output = Callable[[bytes], None]


class Backend(Protocol):
    """One way to isolate instances on this machine."""

    @property
    def name(self) -> str:
        """Its name in configuration: docker, sandbox, process."""

    async def open(self) -> None:
        """Get ready, and remove every cell that an earlier runner left behind.

        Raises:
            BackendFailed: it cannot work here; the message says what to install or allow.
        """

    def isolation(self) -> Isolation:
        """What is enforced here and what is missing. Call after `open`."""

    async def runtimes(self) -> list[str]:
        """Runtime names of the catalogue that it can run now, such as "python3.11"."""

    async def create_cell(self, runtime: str, on_output: Output) -> Cell:
        """Boot a sandbox and wait until its bootstrap has connected.

        Args:
            runtime: one of `runtimes()`.
            on_output: gets raw bytes that the sandbox wrote to its stdout and stderr past
                the bootstrap (native code, child processes, crash reports). Called on the
                event loop; bounded reads, so a flood slows its writer down.

        Raises:
            BackendFailed: the sandbox did not come up within 30 s.
        """

    async def close(self) -> None:
        """Stop every cell. Idempotent."""
