"""Booted sandboxes kept ready per runtime, so that a cold start creates nothing."""

import asyncio
import logging
import select
from collections import deque

from hotswap.core.errors import BackendFailed
from runners.backends.base import Backend, Cell, Output

log = logging.getLogger("hotswap.stem_cells")

REFILL_PAUSE_SECONDS = 0.05  # refilling yields to starts that somebody waits for
CREATE_AT_ONCE = 4
FAILURE_PAUSE_SECONDS = 2.0
END_BYTES, END_LINES = 2_000, 5


class RawOutput:
    """Where a cell's raw output goes; an instance takes it over at adoption.

    What a cell says before that belongs to no function; its end is kept for the error of
    one that does not come up.
    """

    __slots__ = ("_end", "sink")

    def __init__(self) -> None:
        self.sink: Output | None = None
        self._end = b""

    def __call__(self, data: bytes) -> None:
        if self.sink is not None:
            self.sink(data)
        else:
            self._end = (self._end + data)[-END_BYTES:]

    @property
    def last_lines(self) -> str:
        """The end of what it said before adoption."""
        return "\n".join(self._end.decode(errors="replace").strip().splitlines()[-END_LINES:])


class StemCells:
    """A few cells per runtime in use. `take` never waits for a cell that is there.

    Args:
        keep: cells kept ready for each runtime that has been asked for.
    """

    def __init__(self, backend: Backend, keep: int) -> None:
        self._backend = backend
        self._keep = keep
        self._ready: dict[str, deque[tuple[Cell, RawOutput]]] = {}
        self._refilling: set[str] = set()
        self._creating = asyncio.Semaphore(CREATE_AT_ONCE)
        self._wanted = 0  # starts waiting for a cell now
        self._closed = False

    def prepare(self, runtime: str) -> None:
        """Begin to keep cells of a runtime."""
        if runtime not in self._ready:
            self._ready[runtime] = deque()
        self._refill_soon(runtime)

    def counts(self) -> dict[str, int]:
        return {runtime: len(cells) for runtime, cells in self._ready.items()}

    async def take(self, runtime: str) -> tuple[Cell, RawOutput]:
        """A booted cell, created now when none is ready.

        Raises:
            BackendFailed: the sandbox did not come up.
        """
        self.prepare(runtime)
        cells = self._ready[runtime]
        while cells:
            cell, output = cells.popleft()
            if _is_alive(cell):
                self._refill_soon(runtime)
                return cell, output
        self._wanted += 1
        try:
            return await self._create(runtime)
        finally:
            self._wanted -= 1

    async def _create(self, runtime: str) -> tuple[Cell, RawOutput]:
        output = RawOutput()
        async with self._creating:
            try:
                return await self._backend.create_cell(runtime, output), output
            except BackendFailed as exc:
                if said := output.last_lines:
                    raise BackendFailed(f"{exc.detail} Its last lines: {said}") from exc
                raise

    def _refill_soon(self, runtime: str) -> None:
        if runtime in self._refilling or self._closed:
            return
        if len(self._ready[runtime]) < self._keep:
            self._refilling.add(runtime)
            asyncio.get_running_loop().create_task(self._refill(runtime))

    async def _refill(self, runtime: str) -> None:
        cells = self._ready[runtime]
        try:
            while len(cells) < self._keep and not self._closed:
                await asyncio.sleep(REFILL_PAUSE_SECONDS)
                if self._wanted:
                    continue
                try:
                    cells.append(await self._create(runtime))
                except BackendFailed as exc:
                    log.warning("no stem cell for %s: %s", runtime, exc)
                    await asyncio.sleep(FAILURE_PAUSE_SECONDS)
        finally:
            self._refilling.discard(runtime)

    def close(self) -> None:
        """Stop refilling and drop the connections; the backend stops the cells themselves."""
        self._closed = True
        for cells in self._ready.values():
            for cell, _ in cells:
                cell.control.close()


def _is_alive(cell: Cell) -> bool:
    """Whether its bootstrap is still there; nobody reads from a cell that waits."""
    if cell.control.fileno() < 0:
        return False
    asked = select.poll()
    asked.register(cell.control, 0)
    return not asked.poll(0)  # an event here is a hang-up or an error
