"""What cells have in common whose bodies another process made: engine or privileged process."""

import asyncio
import socket
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Protocol

from hotswap.core.errors import BackendFailed
from runners.backends.base import CellExit, CellLimits, CellStats

_UNKNOWN: Final = CellStats(None, None, None, None, None)


class CellHands(Protocol):
    """How a cell is given its code and limits, frozen and watched, by its id."""

    async def adopt(self, cell: str, code: Path, limits: CellLimits) -> str:
        """Give it code and limits."""

    async def freeze(self, cell: str) -> None:
        """Stop its CPU use."""

    async def thaw(self, cell: str) -> None:
        """Undo `freeze`."""

    async def stats(self, cell: str) -> CellStats:
        """Current use."""


class HandledCell(ABC):
    """A cell known by its id to whoever holds it. Subclasses boot and stop it."""

    def __init__(self, cell_id: str, hands: CellHands) -> None:
        self.id = cell_id
        self._hands = hands
        self._ended: asyncio.Future[CellExit] = asyncio.get_running_loop().create_future()
        self._control: socket.socket | None = None
        self._frozen = False

    @property
    def control(self) -> socket.socket:
        assert self._control is not None, "boot() comes first"
        return self._control

    @abstractmethod
    async def stop(self) -> None:
        """End it and leave nothing behind. Idempotent."""

    async def abandon(self) -> None:
        """Stop it and its control socket, which nobody took over."""
        if self._control is not None:
            self._control.close()
        await self.stop()

    async def adopt(self, code: Path, limits: CellLimits) -> str:
        return await self._hands.adopt(self.id, code, limits)

    async def freeze(self) -> None:
        if not self._frozen and not self._ended.done():
            self._frozen = True
            await self._hands.freeze(self.id)

    async def thaw(self) -> None:
        if self._frozen and not self._ended.done():
            self._frozen = False
            await self._hands.thaw(self.id)

    async def stats(self) -> CellStats:
        try:
            return await self._hands.stats(self.id)
        except BackendFailed:
            return _UNKNOWN

    async def wait(self) -> CellExit:
        return await asyncio.shield(self._ended)

    def _set_ended(self, ended: CellExit) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)
