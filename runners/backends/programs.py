"""What a cell runs: an interpreter, one bootstrap file, and what both need to see."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hotswap.core.errors import BackendFailed
from runtimes import catalog, interpreters
from runtimes.catalog import Runtime


@dataclass(frozen=True, slots=True)
class Program:
    """A runtime as this machine can run it.

    Attributes:
        runtime: its entry in the catalogue, with the bootstrap file.
        interpreter: absolute path of the executable.
        visible: directories it needs, the system's own (`/usr`, `/lib`) included.
    """

    runtime: Runtime
    interpreter: Path
    visible: tuple[Path, ...]

    def command(self, *, bootstrap: str, control: str) -> list[str]:
        """The command line, with the paths as the cell sees them."""
        return self.runtime.argv(
            interpreter=str(self.interpreter), bootstrap=bootstrap, socket=control
        )


class Programs(Protocol):
    """Where a backend looks runtimes up."""

    async def names(self) -> list[str]:
        """Runtimes that can run here."""

    async def get(self, runtime: str) -> Program:
        """Raise BackendFailed when this machine cannot run it, UnknownPlugin for no such."""


class InstalledPrograms:
    """The runtimes of the catalogue, run by interpreters that are installed here.

    Looking for one starts candidates to see their version; that happens once per runtime,
    in a thread.
    """

    async def names(self) -> list[str]:
        return await asyncio.to_thread(
            lambda: [
                item.name for item in catalog.all_runtimes().values() if interpreters.find(item)
            ]
        )

    async def get(self, runtime: str) -> Program:
        return await asyncio.to_thread(find_program, runtime)


def find_program(runtime: str) -> Program:
    """The program of a runtime; blocks while it is looked for.

    Raises:
        UnknownPlugin: no such runtime.
        BackendFailed: its interpreter is not installed here.
    """
    entry = catalog.get(runtime)
    found = interpreters.find(entry)
    if found is None:
        raise BackendFailed(f"No interpreter for {runtime} is installed on this machine.")
    return Program(runtime=entry, interpreter=found.path, visible=found.read_only_paths)
