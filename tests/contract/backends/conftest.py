"""The backends under test, each really running."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hotswap.core.errors import BackendFailed
from runners.backends.base import Backend, Cell, Output
from runners.backends.privileged import Privileged
from runners.backends.rendezvous import installation_mark
from runtimes import builder, catalog
from tests.contract.backends.conversation import FUNCTIONS
from tests.contract.backends.owner import backend_of

RUNTIME = "python3.11"
Boot = Callable[..., Awaitable[Cell]]
ROOT = os.geteuid() == 0
PROJECT = Path(__file__).parents[3]


def ignore(_data: bytes) -> None:
    """Output nobody reads."""


@dataclass(frozen=True)
class Machine:
    """One way to run cells, and how to see what it left behind.

    Attributes:
        make: a backend that is not open yet.
        isolates: whether anything is enforced.
        code: a directory with the probe function, where this backend may take code from.
    """

    kind: str
    make: Callable[[], Backend]
    isolates: bool
    state: Path
    code: Path

    def traces(self) -> list[str]:
        """Everything on this machine that belongs to a cell of this installation."""
        mark = installation_mark(self.state)
        cells = self.state / "run/cells"
        short = f"hotswap-{os.getuid()}-{installation_mark(cells)}"
        folders = [
            cells,
            Path(tempfile.gettempdir(), short),
            *(
                Path("/run/hotswap", mark, name)
                for name in ("cells", "bundles", "engine/crun", "engine/runc")
            ),
        ]
        found = [str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/hotswap/{mark}/*/")]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"hotswap/{mark}/*/")]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [line for line in mounts if f"/{mark}/cells/" in line]
        return [trace for trace in found if "probe" not in trace]


@dataclass(frozen=True)
class Sandboxd:
    """A privileged process for a whole test session."""

    state: Path
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def sandboxds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Sandboxd]]:
    """Starts a privileged process per engine, once."""
    running: dict[str, Sandboxd] = {}

    def start(engine: str) -> Sandboxd:
        if engine not in running:
            running[engine] = start_sandboxd(tmp_path_factory.mktemp(engine), engine)
        return running[engine]

    yield start
    for item in running.values():
        item.process.terminate()
        item.process.wait(10)
        shutil.rmtree(Path("/run/hotswap", installation_mark(item.state)), ignore_errors=True)


def start_sandboxd(state: Path, engine: str) -> Sandboxd:
    shutil.copytree(FUNCTIONS, state / "code", dirs_exist_ok=True)
    command = [sys.executable, "-m", "runners.sandboxd", "--state-dir", str(state)]
    process = subprocess.Popen([*command, "--engine", engine], cwd=PROJECT)
    return Sandboxd(state, process)


async def connected(state: Path) -> Privileged:
    """A client of a privileged process that may still be starting."""
    privileged = Privileged(state / "run/sandboxd.sock")
    async with asyncio.timeout(20):
        while True:
            try:
                await privileged.connect()
            except (BackendFailed, FileNotFoundError):
                await asyncio.sleep(0.05)
            else:
                return privileged


KINDS = [
    pytest.param("process"),
    pytest.param("rootless"),
    pytest.param("crun", marks=pytest.mark.root),
    pytest.param("runc", marks=pytest.mark.root),
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.root]),
    pytest.param("docker-alone", marks=pytest.mark.docker),
]


@pytest.fixture(scope="session")
def image() -> str:
    """The image of the runtime under test; building it takes a minute, once."""
    return builder.build(catalog.get(RUNTIME), base="debian", log=lambda _line: None)


@pytest.fixture(params=KINDS)
async def machine(
    request: pytest.FixtureRequest, tmp_path: Path, sandboxds: Callable[[str], Sandboxd]
) -> Machine:
    if request.param.startswith("docker"):
        request.getfixturevalue("image")
    return await make_machine(request.param, tmp_path, sandboxds)


@pytest.fixture
async def backend(machine: Machine) -> AsyncIterator[Backend]:
    """An open backend; nothing may be left of it at the end."""
    made = machine.make()
    await made.open()
    yield made
    await made.close()
    assert machine.traces() == []


@pytest.fixture
async def boot(backend: Backend) -> AsyncIterator[Boot]:
    """Makes cells of the backend; their control sockets are closed at the end."""
    made: list[Cell] = []

    async def create(on_output: Output = ignore) -> Cell:
        cell = await backend.create_cell(RUNTIME, on_output)
        made.append(cell)
        return cell

    yield create
    for cell in made:
        cell.control.close()


async def make_machine(kind: str, tmp_path: Path, sandboxds: Callable[[str], Sandboxd]) -> Machine:
    if kind == "rootless":
        if ROOT:
            pytest.skip("needs a user without root; test_rootless.py starts one")
        if shutil.which("bwrap") is None:
            pytest.skip("bubblewrap is not installed")
    if kind in ("process", "rootless", "docker-alone"):
        code = shutil.copytree(FUNCTIONS, tmp_path / "code")
        isolates = kind != "process"
        return Machine(kind, lambda: backend_of(kind, tmp_path), isolates, tmp_path, code)
    if not ROOT:
        pytest.skip("needs root")
    engine = "crun" if kind == "docker" else kind
    if shutil.which(engine) is None:
        pytest.skip(f"{engine} is not installed")
    state = sandboxds(engine).state
    await (await connected(state)).close()
    return Machine(kind, lambda: backend_of(kind, state), True, state, state / "code")
