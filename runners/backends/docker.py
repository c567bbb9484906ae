"""Cells as containers of a Docker engine, hardened line by line.

Creating and removing go through the engine (0.3 s); giving code and limits, freezing and
thawing go through the privileged process where there is one, because the engine takes
12 ms for what a write to a control group file does in 0.1 ms.
"""

import asyncio
import contextlib
import secrets
import shutil
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import docker
from docker.errors import DockerException, NotFound

from hotswap.core.errors import BackendFailed
from runners.backends.attached import AttachedOutput
from runners.backends.base import Cell, CellExit, CellLimits, CellStats, Isolation, Output
from runners.backends.bundle import STEM_LIMITS, TASK
from runners.backends.code_tree import place_code
from runners.backends.container import container_config, limits_config
from runners.backends.handled import CellHands, HandledCell
from runners.backends.privileged import Privileged
from runners.backends.rendezvous import Rendezvous, private_directory
from runtimes import builder, catalog
from runtimes.builder import Base

R = TypeVar("R")

LABEL: Final = "hotswap.installation"
RUNNER_LABEL: Final = "hotswap.runner"
_CALLS_AT_ONCE: Final = 8
_LOOK_SECONDS: Final = 1.0
_ENFORCED: Final = (
    "container with its own pid, network, ipc, uts and mount namespaces",
    "unprivileged user",
    "no capabilities",
    "no new privileges",
    "system call allow-list",
    "read-only root",
    "size limit on /tmp",
    "memory limit",
    "CPU limit",
    "process limit",
    "no network",
    "read-only code",
)


class Engine:
    """The Docker SDK, which blocks, behind a few threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="docker")
        self._client: docker.DockerClient | None = None

    async def call(self, work: Callable[[docker.APIClient], R]) -> R:
        """Run `work` with the API client in a thread.

        Raises:
            BackendFailed: the engine does not answer, or refuses.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(self._api()))
        except (DockerException, OSError) as exc:
            raise BackendFailed(f"The Docker engine failed: {exc}") from exc

    def _api(self) -> docker.APIClient:
        if self._client is None:
            self._client = docker.from_env(max_pool_size=_CALLS_AT_ONCE)
        return self._client.api

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        if self._client is not None:
            self._client.close()
            self._client = None


class Hands(CellHands, Protocol):
    """The same, and how a container is met and ended."""

    async def prepare(self, cell: str) -> Path:
        """Make its meeting directory."""

    async def accept(self, cell: str) -> socket.socket:
        """The bootstrap's connection."""

    async def stop(self, cell: str) -> None:
        """Kill it where possible, and remove its meeting directory."""


@dataclass(frozen=True, slots=True)
class Placing:
    """Where containers of one installation belong.

    Attributes:
        mark: value of the label that tells them apart from everything else on the engine.
        cells: directory of meeting directories, used where no privileged process is; the
            runner's own.
        base: which base the images are built from.
        runner: number of the runner process among the `runners` of the installation.
    """

    mark: str
    cells: Path
    base: Base
    runner: int = 0
    runners: int = 1

    @property
    def labels(self) -> dict[str, str]:
        """What a container of this runner is known by."""
        return {LABEL: self.mark, RUNNER_LABEL: str(self.runner)}

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Whether a container of this installation is this runner's.

        Runner 0 also owns those of numbers that no runner has any more.
        """
        number = labels.get(RUNNER_LABEL, "0")
        is_orphan = number not in map(str, range(self.runners))
        return number == str(self.runner) or (is_orphan and self.runner == 0)


class DockerBackend:
    """Containers.

    Args:
        privileged: connected by `open`; without it this backend is slower, not weaker.
    """

    name = "docker"

    def __init__(self, *, placing: Placing, privileged: Privileged) -> None:
        self._placing = placing
        self._privileged = privileged
        self._engine = Engine()
        self._hands: Hands = EngineHands(self._engine, placing.cells)
        self._parent = ""
        self._apparmor = False
        self._images: dict[str, str] = {}
        self._cells: dict[str, DockerCell] = {}

    async def open(self) -> None:
        info = await self._engine.call(lambda api: api.info())
        self._apparmor = any("apparmor" in line for line in info.get("SecurityOptions") or ())
        self._images = await self._engine.call(self._find_images)
        if not self._images:
            raise BackendFailed(
                "No runtime's image is built; build one: python -m runtimes.builder python3.11"
            )
        await self._engine.call(self._purge)
        try:
            await self._privileged.connect()
            opened = await self._privileged.open()
        except BackendFailed:
            _clear(self._placing.cells)
        else:
            self._hands = self._privileged
            self._parent = _group_name(opened.cgroup_parent, info.get("CgroupDriver", ""))

    def _find_images(self, api: docker.APIClient) -> dict[str, str]:
        tags = {
            runtime.name: builder.image_tag(runtime, self._placing.base)
            for runtime in catalog.all_runtimes().values()
        }
        here = {tag for image in api.images() for tag in image.get("RepoTags") or ()}
        return {name: tag for name, tag in tags.items() if tag in here}

    def _purge(self, api: docker.APIClient) -> None:
        """Remove what this runner left when it ran before."""
        ours = {"label": f"{LABEL}={self._placing.mark}"}
        for found in api.containers(all=True, filters=ours):
            if not self._placing.owns(found.get("Labels") or {}):
                continue
            with contextlib.suppress(NotFound):
                api.remove_container(found["Id"], force=True, v=True)

    def isolation(self) -> Isolation:
        missing = []
        if self._hands is not self._privileged:
            missing.append("low CPU weight of all functions together: needs sandboxd as root")
        if not self._apparmor:
            missing.append("AppArmor profile: the machine has no AppArmor")
        return Isolation(name=self.name, enforced=_ENFORCED, missing=tuple(missing))

    async def runtimes(self) -> list[str]:
        return sorted(self._images)

    async def create_cell(self, runtime: str, on_output: Output) -> Cell:
        if runtime not in self._images:
            raise BackendFailed(
                f"The image of {runtime} is not built: python -m runtimes.builder {runtime}"
            )
        cell = DockerCell(f"d{secrets.token_hex(6)}", self._engine, self._hands, self._forget)
        self._cells[cell.id] = cell
        making = asyncio.ensure_future(self._boot(cell, runtime, on_output))
        try:
            await asyncio.shield(making)
        except BaseException:
            # Half made, by an error or because the caller gave up: finish, then remove.
            await asyncio.wait((making,))
            await cell.abandon()
            raise
        return cell

    async def _boot(self, cell: "DockerCell", runtime: str, on_output: Output) -> None:
        meeting = await self._hands.prepare(cell.id)
        config = container_config(
            image=self._images[runtime],
            labels=self._placing.labels,
            meeting=meeting,
            parent=self._parent,
            shared=self._hands is self._privileged,
            apparmor=self._apparmor,
        )
        await cell.boot(config, on_output)

    async def close(self) -> None:
        await asyncio.gather(*(cell.stop() for cell in list(self._cells.values())))
        await self._privileged.close()
        self._engine.close()

    def _forget(self, cell_id: str) -> None:
        self._cells.pop(cell_id, None)


class DockerCell(HandledCell):
    """One container, named after the cell."""

    def __init__(
        self, cell_id: str, engine: Engine, hands: Hands, on_gone: Callable[[str], None]
    ) -> None:
        super().__init__(cell_id, hands)
        self._engine = engine
        self._meeting = hands
        self._on_gone = on_gone
        self._output: AttachedOutput | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping: asyncio.Future[None] | None = None

    async def boot(self, config: dict[str, Any], on_output: Output) -> None:
        """Create, attach, start, and meet the bootstrap."""
        create = partial(_create, config=config, name=self.id)
        stream = await self._engine.call(create)
        self._output = AttachedOutput(stream, on_output)
        await self._engine.call(lambda api: api.start(self.id))
        self._watching = asyncio.get_running_loop().create_task(self._watch(self._output))
        arriving = asyncio.ensure_future(self._meeting.accept(self.id))
        await asyncio.wait((arriving, self._watching), return_when=asyncio.FIRST_COMPLETED)
        if not arriving.done():
            arriving.cancel()
            raise BackendFailed(f"Container {self.id} ended before its bootstrap connected.")
        self._control = arriving.result()

    async def _watch(self, output: AttachedOutput) -> None:
        """Find out how the container ended, once its output has."""
        await output.ended.wait()
        with contextlib.suppress(BackendFailed):
            while not self._ended.done():
                ended = await self._engine.call(partial(_exit_of, name=self.id))
                if ended is not None:
                    self._set_ended(ended)
                else:  # it closed its output and lives on
                    await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        with contextlib.suppress(BackendFailed):
            await self._meeting.stop(self.id)
        await self._engine.call(partial(_remove, name=self.id))
        self._set_ended(CellExit(code=-9, out_of_memory=False))
        if self._output is not None:
            self._output.close()
        self._on_gone(self.id)


class EngineHands:
    """Without the privileged process: code is copied, everything else asked of the engine."""

    def __init__(self, engine: Engine, cells: Path) -> None:
        self._engine = engine
        self._cells = cells
        self._meetings: dict[str, Rendezvous] = {}

    async def prepare(self, cell: str) -> Path:
        meeting = self._meetings[cell] = Rendezvous(self._cells, cell)
        meeting.open()
        return meeting.directory

    async def accept(self, cell: str) -> socket.socket:
        try:
            return await self._meetings[cell].accept()
        except TimeoutError as exc:
            raise BackendFailed(f"The bootstrap of cell {cell} did not connect.") from exc

    async def adopt(self, cell: str, code: Path, limits: CellLimits) -> str:
        if (limits.pids, limits.tmp_mib) != (STEM_LIMITS.pids, STEM_LIMITS.tmp_mib):
            raise BackendFailed("The engine cannot change these limits of a running container.")
        update = partial(_update, name=cell, limits=limits)
        placed = asyncio.to_thread(place_code, code, self._cells / cell / "task")
        await asyncio.gather(self._engine.call(update), placed)
        return TASK

    async def freeze(self, cell: str) -> None:
        await self._engine.call(lambda api: api.pause(cell))

    async def thaw(self, cell: str) -> None:
        await self._engine.call(lambda api: api.unpause(cell))

    async def stats(self, cell: str) -> CellStats:
        return await self._engine.call(partial(_stats, name=cell))

    async def stop(self, cell: str) -> None:
        meeting = self._meetings.pop(cell, None)
        if meeting is not None:
            meeting.close()
        await asyncio.to_thread(shutil.rmtree, self._cells / cell, ignore_errors=True)


def _create(api: docker.APIClient, *, config: dict[str, Any], name: str) -> socket.socket:
    """Create the container and attach to its output before it writes any."""
    api.create_container_from_config(config, name)
    attached = api.attach_socket(name, {"stdout": 1, "stderr": 1, "stream": 1})
    raw = attached._sock  # the SDK hands out a file object around the socket we need
    return socket.socket(fileno=raw.detach())


def _remove(api: docker.APIClient, *, name: str) -> None:
    with contextlib.suppress(NotFound):
        api.remove_container(name, force=True, v=True)


def _exit_of(api: docker.APIClient, *, name: str) -> CellExit | None:
    """How a container ended; None while it runs."""
    state = api.inspect_container(name)["State"]
    if state["Running"]:
        return None
    status = int(state["ExitCode"])
    code = 128 - status if status > 128 else status  # 137 is "ended by signal 9"
    return CellExit(code=code, out_of_memory=bool(state["OOMKilled"]) and code == -9)


def _update(api: docker.APIClient, *, name: str, limits: CellLimits) -> None:
    values = limits_config(limits)
    api.update_container(
        name,
        mem_limit=values["Memory"],
        memswap_limit=values["MemorySwap"],
        cpu_shares=values["CpuShares"],
        cpu_period=values["CpuPeriod"],
        cpu_quota=values["CpuQuota"],
    )


def _stats(api: docker.APIClient, *, name: str) -> CellStats:
    found = api.stats(name, stream=False, one_shot=True)
    memory = found.get("memory_stats") or {}
    return CellStats(
        memory_bytes=memory.get("usage"),
        memory_peak_bytes=memory.get("max_usage"),
        cpu_seconds=found["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        pids=(found.get("pids_stats") or {}).get("current"),
        oom_kills=None,
    )


def _group_name(group: str, driver: str) -> str:
    """The parent control group, spelled as the engine's driver wants it."""
    return group.strip("/").replace("/", "-") + ".slice" if driver == "systemd" else group


def _clear(cells: Path) -> None:
    private_directory(cells)
    for path in cells.iterdir():
        shutil.rmtree(path, ignore_errors=True)
