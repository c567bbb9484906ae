"""Real packages from the registries, as a user puts them beside a function's code.

Kept below the checkout's test cache: a second run needs no network.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hotswap.supervisor.install import ROOT

PILLOW = "pillow==12.0.0"
NODE_PACKAGES = ("nanoid@5.1.6", "ms@2.1.3")

_CACHE = ROOT / ".pytest_cache" / "packages"


def python_package(requirement: str, version: str) -> dict[str, bytes]:
    """Files of a wheel for this Python version on Linux, whatever this machine has."""
    return _files(
        f"{requirement}-{version}",
        [
            *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet"),
            *("--target", ".", "--no-deps", "--only-binary", ":all:", requirement),
            *("--python-version", version, "--python-platform", "x86_64-manylinux_2_28"),
        ],
    )


def node_packages(*requirements: str) -> dict[str, bytes]:
    """A `node_modules` folder with these packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]
    return _files("-".join(requirements), [*command, "--prefix", ".", *requirements])


def _files(name: str, command: list[str]) -> dict[str, bytes]:
    folder = _CACHE / name
    if not folder.exists():
        draft = _CACHE / f"{name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        subprocess.run(command, cwd=draft, check=True, capture_output=True)
        draft.rename(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
