"""Which backend this machine uses."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from hotswap.config import Config
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


def make_backend(config: Config) -> Backend:
    """The backend that the configuration names, not opened yet.

    Raises:
        BackendFailed: `process` without the switch for it.
    """
    makers = {"docker": _docker, "sandbox": _sandbox, "process": _process}
    name = config.runner.backend
    if name != "auto":
        return makers[name](config)
    candidates = [_docker, _sandbox]
    if config.runner.allow_unisolated:
        candidates.append(_process)
    return FirstThatWorks([partial(make, config) for make in candidates])


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


def _docker(config: Config) -> Backend:
    placing = Placing(
        mark=installation_mark(config.core.state_dir),
        cells=config.run_dir.resolve() / "cells",
        base="debian" if config.runner.base_image == "debian" else "official",
    )
    return DockerBackend(placing=placing, privileged=_privileged(config))


def _sandbox(config: Config) -> Backend:
    """Root's own way where it is, or the supervisor's privileged process; else rootless."""
    full = partial(SandboxBackend, privileged=_privileged(config), programs=InstalledPrograms())
    return FirstThatWorks([full, partial(_children, config, Bubblewrap())])


def _process(config: Config) -> Backend:
    if not config.runner.allow_unisolated:
        raise BackendFailed(
            "The process backend isolates nothing: functions could read everything this user "
            "can. For development only, set HOTSWAP_RUNNER_ALLOW_UNISOLATED=true."
        )
    return _children(config, Plain())


def _children(config: Config, launcher: Launcher) -> Backend:
    cells = config.run_dir.resolve() / "cells"
    return ProcessBackend(cells=cells, programs=InstalledPrograms(), launcher=launcher)


def _privileged(config: Config) -> Privileged:
    """The supervisor's privileged process; as root, one of our own where there is none."""
    state_dir = config.core.state_dir.resolve()
    command = [sys.executable, "-m", "runners.sandboxd", "--state-dir", str(state_dir)]
    may_start = sys.platform.startswith("linux") and os.geteuid() == 0
    return Privileged(state_dir / "run/sandboxd.sock", command=command if may_start else None)
