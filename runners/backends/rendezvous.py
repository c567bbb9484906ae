"""Where a bootstrap meets its runner: one directory, one listener, one connection."""

import asyncio
import hashlib
import os
import socket
import stat
import struct
import sys
from pathlib import Path

from hotswap.core.errors import BackendFailed

CONTROL = "ctl.sock"
BOOT_SECONDS = 30.0
_UCRED = struct.Struct("3i")
_SUN_PATH = 100  # 108 on Linux, 104 on macOS, with room for the closing zero
_LONGEST_CELL = "/" + "c" * 20 + "/" + CONTROL


def installation_mark(path: Path) -> str:
    """Eight hex digits that tell apart what several installations keep on one machine."""
    return hashlib.sha256(os.fsencode(str(path.resolve()))).hexdigest()[:8]


def private_directory(path: Path) -> Path:
    """Make a directory that only its owner enters, and check that nobody else owns it.

    Raises:
        BackendFailed: somebody else put something there, which could be a trap.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BackendFailed(f"{path} is not a directory of this user; remove it and start again.")
    path.chmod(0o700)
    return path


def fits_a_socket(cells: Path) -> bool:
    """Whether a cell's socket below `cells` is short enough for the kernel."""
    return len(os.fsencode(str(cells) + _LONGEST_CELL)) < _SUN_PATH


class Rendezvous:
    """The directory `cells/<id>` with a listening socket that accepts exactly once.

    The directory is visible in the cell, read-only. Its parent is closed to everybody else,
    so the socket itself may be open to whatever user the cell runs as.
    """

    def __init__(self, cells: Path, cell_id: str) -> None:
        self.directory = cells / cell_id
        self.path = self.directory / CONTROL
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Make the directory and listen in it."""
        self.directory.mkdir(mode=0o755)
        self.directory.chmod(0o755)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        _bind(listener, self.directory)
        self.path.chmod(0o666)
        listener.listen(1)
        self._listener = listener

    async def accept(self) -> socket.socket:
        """Take the one connection, then close and unlink the listener.

        Raises:
            TimeoutError: nobody connected in `BOOT_SECONDS`.
            BackendFailed: the cell was stopped while it started.
        """
        listener = self._listener
        if listener is None:
            raise BackendFailed("The cell was stopped before its bootstrap connected.")
        async with asyncio.timeout(BOOT_SECONDS):
            connected, _ = await asyncio.get_running_loop().sock_accept(listener)
        self.close()
        return connected

    def close(self) -> None:
        """Stop listening. Idempotent; the directory stays."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self.path.unlink(missing_ok=True)


def _bind(listener: socket.socket, directory: Path) -> None:
    """Bind below `directory`, however long its path is (a socket's path ends at 108 bytes)."""
    if not sys.platform.startswith("linux"):
        listener.bind(str(directory / CONTROL))
        return
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{handle}/{CONTROL}")
    finally:
        os.close(handle)


def peer(connected: socket.socket) -> tuple[int, int] | None:
    """Process id and user id of the other end as this side sees them; None if unknowable."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return pid, uid
