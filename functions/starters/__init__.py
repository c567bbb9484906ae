"""Functions to start from: one folder of `catalog` each, with a manifest and real files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from hotswap.core.errors import NotFound

_CATALOG = Path(__file__).parent / "catalog"


@dataclass(frozen=True, slots=True)
class Starter:
    """A small function that works.

    Attributes:
        name: the folder's name.
        language: as in `runtimes.catalog.Runtime.language`.
        rank: place in the list; the first is offered first.
        event: JSON text of its first test event.
        files: path -> text.
    """

    name: str
    title: str
    description: str
    language: str
    handler: str
    rank: int
    event: str
    files: Mapping[str, str]
    timeout_seconds: int = 30


@cache
def all_starters() -> tuple[Starter, ...]:
    """Every starter by rank."""
    found = [_read(manifest.parent) for manifest in _CATALOG.glob("*/manifest.toml")]
    return tuple(sorted(found, key=lambda starter: (starter.rank, starter.name)))


def get(name: str) -> Starter:
    """The starter of that name; raises NotFound."""
    for starter in all_starters():
        if starter.name == name:
            return starter
    raise NotFound(f"There is no starter {name!r}.")


def _read(folder: Path) -> Starter:
    manifest = tomllib.loads((folder / "manifest.toml").read_text("utf-8"))
    root = folder / "files"
    files = {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    return Starter(name=folder.name, files=MappingProxyType(files), **manifest)
