"""Which backend this machine uses."""

import os
import sys

from hotswap.config import Config
from hotswap.core.errors import BackendFailed
from runners.backends.base import Backend
from runners.backends.privileged import Privileged
from runners.backends.process import ProcessBackend
from runners.backends.programs import InstalledPrograms
from runners.backends.sandbox import SandboxBackend


def make_backend(config: Config) -> Backend:
    """The backend that the configuration names, not opened yet.

    Raises:
        BackendFailed: no such backend may be used here; the message says what to do.
    """
    if config.runner.backend == "process":
        return _process(config)
    return _sandbox(config)


def _process(config: Config) -> Backend:
    if not config.runner.allow_unisolated:
        raise BackendFailed(
            "The process backend isolates nothing: functions could read everything this user "
            "can. For development only, set HOTSWAP_RUNNER_ALLOW_UNISOLATED=true."
        )
    cells = config.run_dir.resolve() / "cells"
    return ProcessBackend(cells=cells, programs=InstalledPrograms())


def _sandbox(config: Config) -> Backend:
    return SandboxBackend(privileged=_privileged(config), programs=InstalledPrograms())


def _privileged(config: Config) -> Privileged:
    """The supervisor's privileged process; as root, one of our own where there is none."""
    state_dir = config.core.state_dir.resolve()
    command = [sys.executable, "-m", "runners.sandboxd", "--state-dir", str(state_dir)]
    return Privileged(
        config.sandboxd_socket.resolve(), command=command if os.geteuid() == 0 else None
    )
