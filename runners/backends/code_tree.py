"""Putting a code tree into a cell's directory where it cannot be mounted there."""

import os
import shutil
from pathlib import Path


def place_code(code: Path, target: Path) -> None:
    """Make `target` the same tree as `code`. Blocks: 10 ms for 600 files, more for copies.

    Files are hard links where both are on one file system: the cell sees them through a
    read-only mount, so that what is shared cannot change.
    """
    shutil.copytree(code, target, copy_function=_link_or_copy, symlinks=True, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
