"""Cells made by the privileged process with crun or runc: full isolation, no daemon."""

import asyncio
import secrets
from collections.abc import Callable

from hotswap.core.errors import BackendFailed
from runners.backends.base import Cell, CellExit, Isolation, Output
from runners.backends.handled import HandledCell
from runners.backends.output import OutputPipe
from runners.backends.privileged import Privileged
from runners.backends.programs import Programs
from runners.backends.verbs import Opened


class SandboxBackend:
    """The runner's side; every privileged step is a request to the other process."""

    name = "sandbox"

    def __init__(self, *, privileged: Privileged, programs: Programs) -> None:
        self._privileged = privileged
        self._programs = programs
        self._opened: Opened | None = None
        self._cells: dict[str, SandboxCell] = {}

    async def open(self) -> None:
        await self._privileged.connect()
        self._opened = await self._privileged.open()
        if not self._opened.engine:
            said = " ".join(self._opened.missing)
            raise BackendFailed(
                f"No OCI engine works here; install one: apt-get install crun. {said}".strip()
            )

    def isolation(self) -> Isolation:
        assert self._opened is not None, "open() comes first"
        return Isolation(
            name=f"{self.name} ({self._opened.engine})",
            enforced=tuple(self._opened.enforced),
            missing=tuple(self._opened.missing),
        )

    async def runtimes(self) -> list[str]:
        return await self._programs.names()

    async def create_cell(self, runtime: str, on_output: Output) -> Cell:
        await self._privileged.connect()
        cell = SandboxCell(f"s{secrets.token_hex(6)}", self._privileged, on_output, self._forget)
        self._cells[cell.id] = cell
        # A caller that gives up must not leave a half-made cell: it is finished, then stopped.
        making = asyncio.ensure_future(cell.boot(runtime))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda _: asyncio.ensure_future(cell.abandon()))
            raise
        return cell

    async def close(self) -> None:
        await asyncio.gather(*(cell.stop() for cell in list(self._cells.values())))
        await self._privileged.close()

    def _forget(self, cell_id: str) -> None:
        self._cells.pop(cell_id, None)


class SandboxCell(HandledCell):
    """One cell, known to the privileged process by its id."""

    def __init__(
        self,
        cell_id: str,
        privileged: Privileged,
        on_output: Output,
        on_gone: Callable[[str], None],
    ) -> None:
        super().__init__(cell_id, privileged)
        self._privileged = privileged
        self._output = OutputPipe(on_output)
        self._on_gone = on_gone

    async def boot(self, runtime: str) -> None:
        """Have it made; nothing is left of it when that fails."""
        try:
            self._control = await self._privileged.create(
                self.id, runtime, self._output.writer, self._set_ended
            )
        except BaseException:
            self._close()
            raise
        self._output.close_writer()

    async def stop(self) -> None:
        try:
            await self._privileged.stop(self.id)
        finally:
            self._set_ended(CellExit(code=None, out_of_memory=False))
            self._close()

    def _close(self) -> None:
        self._output.close()
        self._on_gone(self.id)
