"""The measured handlers without a platform around them: what it is compared with."""

import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hotswap.supervisor.ports import free_port
from tests.bench.load import Place
from tests.bench.platform import wait
from tests.bench.samples import Sample


@dataclass(frozen=True, slots=True)
class Direct:
    """A bare server that runs."""

    pid: int
    place: Place


@contextmanager
def serving(sample: Sample) -> Iterator[Direct]:
    """Run the sample under uvicorn or node:http, one process, on its own interpreter."""
    port = free_port()
    process = subprocess.Popen(
        _COMMANDS[sample.language](sample, port), cwd=sample.folder, env=_environment()
    )
    try:
        wait(lambda: process.poll() is not None or _listens(port), 20, "the direct server")
        yield Direct(process.pid, Place(f"http://127.0.0.1:{port}/"))
    finally:
        process.terminate()
        process.wait(10)


def _uvicorn(sample: Sample, port: int) -> list[str]:
    return [
        str(sample.interpreter), "-B", "-m", "uvicorn", "server:application", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--interface", "asgi3", "--lifespan", "off",
        "--no-access-log", "--log-level", "error",
    ]  # fmt: skip


def _node(sample: Sample, port: int) -> list[str]:
    return [str(sample.interpreter), "server.js", str(port)]


_COMMANDS: dict[str, Callable[[Sample, int], list[str]]] = {"python": _uvicorn, "node": _node}


def _environment() -> dict[str, str]:
    """The function's interpreter has no packages: uvicorn comes from ours, of the same version."""
    packages = sysconfig.get_paths(vars={"base": sys.prefix, "platbase": sys.prefix})["purelib"]
    return {**os.environ, "PYTHONPATH": packages}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
