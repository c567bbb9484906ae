"""Which backend this machine uses."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hotswap.config import RUNNERS_MAX, Config, RunnerPlace
from hotswap.core.errors import BackendFailed
from runners.backends.base import Backend, Cell, Isolation, Output
from runners.backends.docker import DockerBackend, Placing
from runners.backends.privileged import Privileged
from runners.backends.process import Launcher, Plain, ProcessBackend
from runners.backends.programs import InstalledPrograms
from runners.backends.rendezvous import installation_mark
from runners.backends.rootless import Bubblewrap
from runners.backends.sandbox import SandboxBackend

log = logging.getLogger("hotswap.backends")


def make_backend(config: Config, place: RunnerPlace) -> Backend:
    """The backend that the configuration names for one runner process, not opened yet.

    Raises:
        BackendFailed: `process` without the switch for it.
    """
    makers = {"docker": _docker, "sandbox": _sandbox, "process": _process}
    name = config.runner.backend
    if name != "auto":
        return makers[name](config, place)
    candidates = [_docker, _sandbox]
    if config.runner.allow_unisolated:
        candidates.append(_process)
    return FirstThatWorks([partial(make, config, place) for make in candidates])


class FirstThatWorks:
    """The first of several backends that opens and has a runtime to run."""

    def __init__(self, makers: Sequence[Callable[[], Backend]]) -> None:
        self._makers = makers
        self._chosen: Backend | None = None

    @property
    def _backend(self) -> Backend:
        if self._chosen is None:
            raise BackendFailed("The backend is not open.")
        return self._chosen

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    async def open(self) -> None:
        refused = []
        for make in self._makers:
            backend = make()
            try:
                await backend.open()
            except BackendFailed as exc:
                refused.append(f"{backend.name}: {exc.detail}")
                await backend.close()
            else:
                self._chosen = backend
                log.info("functions run in: %s", backend.name)
                return
        raise BackendFailed(f"No way to isolate functions works here. {' '.join(refused)}")

    def isolation(self) -> Isolation:
        return self._backend.isolation()

    async def runtimes(self) -> list[str]:
        return await self._backend.runtimes()

    async def create_cell(self, runtime: str, on_output: Output) -> Cell:
        return await self._backend.create_cell(runtime, on_output)

    async def close(self) -> None:
        if self._chosen is not None:
            await self._chosen.close()


def _docker(config: Config, place: RunnerPlace) -> Backend:
    placing = Placing(
        mark=installation_mark(config.core.state_dir),
        cells=place.cells.resolve(),
        base="debian" if config.runner.base_image == "debian" else "official",
        runner=place.number,
        runners=config.runner.processes,
    )
    return DockerBackend(placing=placing, privileged=_privileged(config))


def _sandbox(config: Config, place: RunnerPlace) -> Backend:
    """Root's own way where it is, or the supervisor's privileged process; else rootless."""
    full = partial(SandboxBackend, privileged=_privileged(config), programs=InstalledPrograms())
    return FirstThatWorks([full, partial(_children, config, place, Bubblewrap())])


def _process(config: Config, place: RunnerPlace) -> Backend:
    if not config.runner.allow_unisolated:
        raise BackendFailed(
            "The process backend isolates nothing: functions could read everything this user "
            "can. For development only, set HOTSWAP_RUNNER_ALLOW_UNISOLATED=true."
        )
    return _children(config, place, Plain())


def _children(config: Config, place: RunnerPlace, launcher: Launcher) -> Backend:
    return ProcessBackend(
        cells=place.cells.resolve(),
        programs=InstalledPrograms(),
        launcher=launcher,
        inherited=_inherited(config) if place.number == 0 else (),
    )


def _inherited(config: Config) -> list[Path]:
    """Where runners kept cells that are no more since their number changed."""
    known = [place.cells for place in config.runners]
    possible = ["cells", *(f"cells-{number}" for number in range(RUNNERS_MAX))]
    return [path.resolve() for name in possible if (path := config.run_dir / name) not in known]


def _privileged(config: Config) -> Privileged:
    """The supervisor's privileged process; as root, one of our own where there is none.

    Several runners share one, which none of them may own: it would end with its owner.
    """
    state_dir = config.core.state_dir.resolve()
    command = [sys.executable, "-m", "runners.sandboxd", "--parent", str(os.getpid())]
    command += ["--state-dir", str(state_dir)]
    is_alone = config.runner.processes == 1
    may_start = is_alone and sys.platform.startswith("linux") and os.geteuid() == 0
    return Privileged(state_dir / "run/sandboxd.sock", command=command if may_start else None)
