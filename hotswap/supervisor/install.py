"""The virtual environment: made once, filled from a lock with hashes, then left alone.

Runs on the system's Python, so it uses the standard library only.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hotswap.supervisor.failures import CannotStart
from hotswap.supervisor.progress import step

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUN_LOCK, DEVELOPMENT_LOCK = "requirements.lock", "requirements-dev.lock"

_UV = "uv==0.13.8"
_STAMP = VENV / "installed.json"


def ensure(lock: str) -> Path:
    """Make `.venv` hold what `lock` names; the path of its Python.

    The development lock contains the other one: once installed, it stays.
    """
    installed = _installed()
    if lock == RUN_LOCK and DEVELOPMENT_LOCK in installed:
        lock = DEVELOPMENT_LOCK
    wanted = _digest(lock)
    if installed.get(lock) == wanted:
        return PYTHON
    if not _works():
        with step("Making .venv"):
            _make()
    with step(f"Installing the packages of {lock}"):
        _sync(lock)
    _STAMP.write_text(json.dumps({lock: wanted}))
    return PYTHON


def _installed() -> dict[str, str]:
    """Lock -> its digest when it was installed. Empty: nothing was, or not by this Python."""
    if not _works():
        return {}
    try:
        stamp: dict[str, str] = json.loads(_STAMP.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return stamp


def _works() -> bool:
    """Whether `.venv` exists and its interpreter is still there; a moved one is not."""
    if not PYTHON.exists():
        return False
    probe = "import sys; raise SystemExit(sys.version_info < (3, 11))"
    done = subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False)
    return done.returncode == 0


def _digest(lock: str) -> str:
    return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()


def _make() -> None:
    """A virtual environment with uv, which fills it in seconds where pip takes a minute."""
    _run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        "Python's venv module does not work here; on Debian and Ubuntu: apt-get install"
        " python3-venv",
    )
    _run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _UV],
        "pip could not install uv; check the connection to the package index",
    )


def _sync(lock: str) -> None:
    uv = VENV / "bin" / "uv"
    if not uv.exists():
        _make()
    _run(
        [
            str(uv),
            "pip",
            "sync",
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            str(ROOT / lock),
        ],
        f"the packages of {lock} could not be installed; check the connection to the package"
        " index and the free space on the disk",
    )


def _run(command: Sequence[str], hint: str) -> None:
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-12:])
        raise CannotStart(f"{hint[0].upper()}{hint[1:]}.\n{last}")


def main(arguments: list[str]) -> int:
    """`python3 -m hotswap.supervisor.install LOCK`: for the scripts in bin/."""
    if sys.version_info < (3, 11):  # noqa: UP036  this module runs on any system's Python
        sys.stderr.write("HotSwap needs Python 3.11 or newer: PYTHON=python3.11 bin/...\n")
        return 1
    try:
        ensure(*arguments)
    except CannotStart as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
