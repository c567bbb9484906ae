"""Cells made by the privileged process with crun or runc: full isolation, no daemon."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from hotswap.core.errors import BackendFailed
from runners.backends.base import Cell, CellExit, CellLimits, CellStats, Isolation, Output
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


class SandboxCell:
    """One cell, known to the privileged process by its id."""

    def __init__(
        self,
        cell_id: str,
        privileged: Privileged,
        on_output: Output,
        on_gone: Callable[[str], None],
    ) -> None:
        self.id = cell_id
        self._privileged = privileged
        self._output = OutputPipe(on_output)
        self._on_gone = on_gone
        self._ended: asyncio.Future[CellExit] = asyncio.get_running_loop().create_future()
        self._control: socket.socket | None = None
        self._frozen = False

    @property
    def control(self) -> socket.socket:
        assert self._control is not None, "boot() comes first"
        return self._control

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

    async def abandon(self) -> None:
        """Stop it and its control socket, which nobody took over."""
        if self._control is not None:
            self._control.close()
        await self.stop()

    async def adopt(self, code: Path, limits: CellLimits) -> str:
        return await self._privileged.adopt(self.id, code, limits)

    async def freeze(self) -> None:
        if not self._frozen and not self._ended.done():
            self._frozen = True
            await self._privileged.freeze(self.id)

    async def thaw(self) -> None:
        if self._frozen and not self._ended.done():
            self._frozen = False
            await self._privileged.thaw(self.id)

    async def stats(self) -> CellStats:
        try:
            return await self._privileged.stats(self.id)
        except BackendFailed:
            return CellStats(None, None, None, None, None)

    async def stop(self) -> None:
        try:
            await self._privileged.stop(self.id)
        finally:
            self._set_ended(CellExit(code=None, out_of_memory=False))
            self._close()

    async def wait(self) -> CellExit:
        return await asyncio.shield(self._ended)

    def _set_ended(self, ended: CellExit) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)

    def _close(self) -> None:
        self._output.close()
        self._on_gone(self.id)
