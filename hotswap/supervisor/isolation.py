"""Which isolation backend this machine can offer, and what has to be there for it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.processes import answers
from hotswap.supervisor.progress import step

_RUNTIMES = ("crun", "runc", "bwrap")
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"


def choose(requested: str, sandboxd: Path) -> str:
    """The backend to use: the requested one, or for "auto" the strongest that works.

    Args:
        sandboxd: socket of the privileged process, which root may have started for this user.

    Raises:
        CannotStart: it does not work here; the message says what to do.
    """
    backend = ("docker" if docker_answers() else "sandbox") if requested == "auto" else requested
    if backend == "docker" and not docker_answers():
        raise CannotStart(
            f"No Docker engine answers at {_engine_address()}. Start it, or let this user talk to"
            " it, or use the other backend: bin/up --backend sandbox"
        )
    if backend == "sandbox":
        _require_sandbox(sandboxd)
    return backend


def docker_answers() -> bool:
    """Whether a Docker engine answers a ping within two seconds."""
    address = _engine_address()
    try:
        with _connected(address) as engine:
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in engine.recv(64)
    except OSError:
        return False


def _engine_address() -> str:
    return os.environ.get("DOCKER_HOST") or _DEFAULT_ENGINE


def _connected(address: str) -> socket.socket:
    scheme, _, place = address.partition("://")
    if scheme == "unix":
        engine = socket.socket(socket.AF_UNIX)
        engine.settimeout(2)
        engine.connect(place)
        return engine
    host, _, port = place.partition(":")
    return socket.create_connection((host, int(port or 2375)), 2)


def _require_sandbox(sandboxd: Path) -> None:
    if sys.platform != "linux":
        raise CannotStart(
            "The sandbox backend needs Linux, and no Docker engine answers here. Start Docker, or"
            " for development only: HOTSWAP_RUNNER_ALLOW_UNISOLATED=true bin/up --backend process"
        )
    if os.geteuid() != 0:
        _require_rootless(sandboxd)
    elif not any(shutil.which(program) for program in _RUNTIMES):
        _install_runtime()


def _require_rootless(sandboxd: Path) -> None:
    """Without root: the privileged process somebody started, or bubblewrap's user namespaces."""
    if answers(sandboxd) or shutil.which("bwrap"):
        return
    state = sandboxd.parents[1]
    raise CannotStart(
        "No Docker engine answers, and without one functions are isolated by bubblewrap, which is"
        " not installed. On Debian and Ubuntu: sudo apt-get install bubblewrap\n"
        "Stronger, with control groups, is a small privileged process in another terminal:\n"
        f"  sudo {sys.executable} -m runners.sandboxd --uid {os.getuid()} --state-dir {state}"
    )


def _install_runtime() -> None:
    if shutil.which("apt-get") is None:
        raise CannotStart(
            "No Docker engine answers, and neither crun, runc nor bwrap is installed, one of which"
            " isolates functions without it. Install crun with this system's package manager."
        )
    with step("Installing crun (apt-get)"):
        _apt_install("crun")


def _apt_install(package: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-qy", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise CannotStart(f"apt-get {arguments[0]} failed:\n{done.stderr[-1_000:]}")
