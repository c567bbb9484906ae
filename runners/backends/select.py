"""Which backend this machine uses."""

from pathlib import Path

from hotswap.config import Config
from hotswap.core.errors import BackendFailed
from runners.backends.base import Backend
from runners.backends.process import ProcessBackend
from runners.backends.programs import InstalledPrograms


def make_backend(config: Config) -> Backend:
    """The backend that the configuration names, not opened yet.

    Raises:
        BackendFailed: no such backend may be used here; the message says what to do.
    """
    return _process(config)


def _process(config: Config) -> Backend:
    if not config.runner.allow_unisolated:
        raise BackendFailed(
            "The process backend isolates nothing: functions could read everything this user "
            "can. For development only, set HOTSWAP_RUNNER_ALLOW_UNISOLATED=true."
        )
    return ProcessBackend(cells=_cells(config), programs=InstalledPrograms())


def _cells(config: Config) -> Path:
    return config.run_dir.resolve() / "cells"
