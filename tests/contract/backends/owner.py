"""A runner to be killed: makes two cells, one frozen with code in it, and waits for ever."""

import asyncio
import sys
from pathlib import Path

from runners.backends.base import Backend
from runners.backends.docker import DockerBackend, Placing
from runners.backends.privileged import Privileged
from runners.backends.process import Plain, ProcessBackend
from runners.backends.programs import InstalledPrograms
from runners.backends.rendezvous import installation_mark, peer
from runners.backends.rootless import Bubblewrap
from runners.backends.sandbox import SandboxBackend
from tests.contract.backends.conversation import talk_to


def backend_of(kind: str, state: Path) -> Backend:
    """The same backend as the fixture of this kind makes."""
    programs = InstalledPrograms()
    if kind in ("process", "rootless"):
        launcher = Plain() if kind == "process" else Bubblewrap()
        return ProcessBackend(cells=state / "run/cells", programs=programs, launcher=launcher)
    socket = state / ("nobody.sock" if kind == "docker-alone" else "run/sandboxd.sock")
    privileged = Privileged(socket)
    if kind.startswith("docker"):
        mark, cells = installation_mark(state), state / "run/cells"
        placing = Placing(mark=mark, cells=cells, base="debian")
        return DockerBackend(placing=placing, privileged=privileged)
    return SandboxBackend(privileged=privileged, programs=programs)


async def main(kind: str, state: Path) -> None:
    backend = backend_of(kind, state)
    await backend.open()
    for number in range(2):
        cell = await backend.create_cell("python3.11", lambda _data: None)
        if number == 0:
            await talk_to(cell, state / "code")
            await cell.freeze()
        found = peer(cell.control)
        sys.stdout.write(f"{found[0] if found else 0}\n")
        sys.stdout.flush()
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
