"""The few system calls that Python's standard library has no name for."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

# Numbers are the same on every architecture (system calls after 424 are).
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_FSCONFIG: Final = 431
_FSPICK: Final = 433
_MOUNT_SETATTR: Final = 442

_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOUNT_ATTR_RDONLY: Final = 0x1
_MOUNT_ATTR_NOSUID: Final = 0x2
_MOUNT_ATTR_NODEV: Final = 0x4
_FSPICK_CLOEXEC: Final = 0x1
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_RECONFIGURE: Final = 7

_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MS_SHARED: Final = 1 << 20
_MNT_DETACH: Final = 2
_CLONE_NEWNS: Final = 0x00020000

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def die_with_parent(signal_number: int) -> None:
    """Get this signal when the parent dies."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def bury_orphans() -> None:
    """Ask how adopted processes ended that nobody waits for: else they stay as zombies.

    crun leaves one per cell. It belongs to another's session; engines that run are in ours,
    and the first process of a cell leads its own.
    """
    ours = os.getsid(0)
    children = Path(f"/proc/self/task/{os.getpid()}/children")  # of the main thread, which adopts
    for pid in map(int, children.read_text().split()):
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            if os.getsid(pid) not in (ours, pid):
                os.waitpid(pid, os.WNOHANG)


def share_directory(path: str) -> None:
    """Make `path` a mount of its own whose later mounts reach other mount namespaces."""
    _mount(path, path, _MS_BIND)
    _mount(None, path, _MS_PRIVATE)
    _mount(None, path, _MS_SHARED)


def enter_own_mounts(hidden: list[str]) -> None:
    """Give this process a mount namespace of its own, in which `hidden` are not mounted."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    for path in hidden:
        _mount(None, path, _MS_PRIVATE | _MS_REC)
        unmount(path)


def unmount(path: str) -> None:
    """Take away what is mounted at `path`, now or when its last user is gone."""
    _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), "umount2", path)


def bind_read_only(source: int, target: str) -> None:
    """Show the open directory `source` at `target`: read-only, no set-uid, no devices.

    The mount is made detached and gets its flags before it appears anywhere: a remount
    after a bind would not reach the copies that propagation has made by then.
    """
    tree = _call(_OPEN_TREE, source, b"", _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH)
    try:
        flags = _MountAttributes(set=_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV)
        size = ctypes.c_size_t(ctypes.sizeof(flags))
        _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(flags), size)
        _call(_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def resize_tmpfs(path: str, size_bytes: int) -> None:
    """Change the size limit of the tmpfs that is mounted at `path`."""
    context = _call(_FSPICK, -100, os.fsencode(path), _FSPICK_CLOEXEC)
    try:
        size = str(size_bytes).encode()
        _call(_FSCONFIG, context, _FSCONFIG_SET_STRING, b"size", size, 0)
        _call(_FSCONFIG, context, _FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    finally:
        os.close(context)


def _mount(source: str | None, target: str, flags: int) -> None:
    origin = None if source is None else os.fsencode(source)
    result = _libc.mount(origin, os.fsencode(target), None, ctypes.c_ulong(flags), None)
    _check(result, "mount", target)


def _call(number: int, *arguments: object) -> int:
    return _check(int(_libc.syscall(ctypes.c_long(number), *arguments)), f"system call {number}")


def _check(result: int, what: str, path: str | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}", path)
    return result
