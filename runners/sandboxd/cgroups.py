"""Control groups of cells, version 1 and 2: limits, freezing, figures, removal.

A group is named by its path below the hierarchy's root, such as `/hotswap/5f1c/c83a`. In
version 1 each controller has a tree of its own with the same paths; version 2 has one.
"""

import contextlib
import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from hotswap.core.limits import MIB
from runners.backends.base import CellLimits, CellStats

PARENT: Final = "/hotswap"
PARENT_SHARES: Final = 256  # a quarter of a default group: the platform stays quick
PARENT_WEIGHT: Final = 25  # the same in version 2
_PERIOD_US: Final = 100_000
_REMOVE_TRIES: Final = 50
_V1_CONTROLLERS: Final = ("memory", "cpu", "cpuacct", "pids", "freezer")


class Cgroups(Protocol):
    """The machine's control groups."""

    version: int

    def make_parent(self, group: str) -> None:
        """Make `group` below the parent of all cells, with the parent's low weight."""

    def limit(self, group: str, limits: CellLimits) -> None:
        """Set a cell's limits; raise OSError when one cannot be set."""

    def freeze(self, group: str) -> None:
        """Stop every task."""

    def thaw(self, group: str) -> None:
        """Undo `freeze`."""

    def stats(self, group: str) -> CellStats:
        """Current use; None where the group is gone."""

    def of_process(self, pid: int) -> str:
        """The group of a process."""

    def kill(self, group: str) -> None:
        """Kill every process in it, frozen or not."""

    def remove(self, group: str) -> None:
        """Remove it, once empty. No error when it is gone."""

    def children(self, group: str) -> list[str]:
        """Groups directly below."""


def find_cgroups(mountinfo: str | None = None) -> Cgroups:
    """The hierarchy that has the memory controller on this machine.

    Raises:
        OSError: no control groups are mounted.
    """
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    trees, unified = _mounts(text)
    if "memory" in trees:
        missing = [name for name in _V1_CONTROLLERS if name not in trees]
        if missing:
            raise OSError(f"cgroup controllers are not mounted: {', '.join(missing)}")
        return CgroupsV1({name: trees[name] for name in _V1_CONTROLLERS})
    if unified is None:
        raise OSError("no cgroup file system with a memory controller is mounted")
    return CgroupsV2(unified)


def _mounts(mountinfo: str) -> tuple[dict[str, Path], Path | None]:
    trees: dict[str, Path] = {}
    unified = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        where = Path(before.split(" ")[4])
        if kind == "cgroup":
            trees.update(dict.fromkeys(options.split(","), where))
        elif kind == "cgroup2":
            unified = where
    return trees, unified


class CgroupsV1:
    """One tree per controller."""

    version = 1

    def __init__(self, trees: dict[str, Path]) -> None:
        self._trees = trees

    def make_parent(self, group: str) -> None:
        for name in self._trees:
            self._at(name, group).mkdir(parents=True, exist_ok=True)
        _write(self._at("cpu", PARENT) / "cpu.shares", PARENT_SHARES)

    def limit(self, group: str, limits: CellLimits) -> None:
        self._limit_memory(self._at("memory", group), limits.memory_mib * MIB)
        cpu = self._at("cpu", group)
        _write(cpu / "cpu.shares", limits.cpu_weight)
        _write(cpu / "cpu.cfs_period_us", _PERIOD_US)
        _write(cpu / "cpu.cfs_quota_us", int(limits.cpu_cores * _PERIOD_US))
        _write(self._at("pids", group) / "pids.max", limits.pids)

    def _limit_memory(self, memory: Path, limit: int) -> None:
        """Memory, and memory with swap, which may never be the smaller of the two."""
        files = [memory / "memory.limit_in_bytes"]
        swap = memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            raising = limit > int(swap.read_text())
            files.insert(0 if raising else 1, swap)
        for file in files:
            _write(file, limit)

    def freeze(self, group: str) -> None:
        _write(self._at("freezer", group) / "freezer.state", "FROZEN")

    def thaw(self, group: str) -> None:
        _write(self._at("freezer", group) / "freezer.state", "THAWED")

    def stats(self, group: str) -> CellStats:
        memory = self._at("memory", group)
        nanoseconds = _number(self._at("cpuacct", group) / "cpuacct.usage")
        return CellStats(
            memory_bytes=_number(memory / "memory.usage_in_bytes"),
            memory_peak_bytes=_number(memory / "memory.max_usage_in_bytes"),
            cpu_seconds=None if nanoseconds is None else nanoseconds / 1e9,
            pids=_number(self._at("pids", group) / "pids.current"),
            oom_kills=_field(memory / "memory.oom_control", "oom_kill"),
        )

    def of_process(self, pid: int) -> str:
        return _group_in(Path(f"/proc/{pid}/cgroup").read_text(), "memory")

    def kill(self, group: str) -> None:
        _signal_all(self._at("freezer", group))
        with contextlib.suppress(OSError):
            self.thaw(group)

    def remove(self, group: str) -> None:
        for name in self._trees:
            _remove(self._at(name, group))
        # Engines make the group in every tree there is, also in those we do not use.
        for tree in next(iter(self._trees.values())).parent.iterdir():
            _remove(tree / group.lstrip("/"))

    def children(self, group: str) -> list[str]:
        return _children(self._at("freezer", group), group)

    def _at(self, controller: str, group: str) -> Path:
        return self._trees[controller] / group.lstrip("/")


class CgroupsV2:
    """One tree."""

    version = 2

    def __init__(self, root: Path) -> None:
        self._root = root

    def make_parent(self, group: str) -> None:
        path = self._root
        for part in group.strip("/").split("/"):
            self._delegate(path)
            path = path / part
            path.mkdir(exist_ok=True)
        self._delegate(path)
        _write(self._at(PARENT) / "cpu.weight", PARENT_WEIGHT)

    def _delegate(self, path: Path) -> None:
        """Let groups below `path` have controllers. A group with processes of its own may
        not: they move to a leaf, as they must when this runs in a container."""
        control = path / "cgroup.subtree_control"
        try:
            _write(control, "+memory +cpu +pids")
        except OSError:
            leaf = path / "init"
            leaf.mkdir(exist_ok=True)
            for pid in (path / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    _write(leaf / "cgroup.procs", pid)
            _write(control, "+memory +cpu +pids")

    def limit(self, group: str, limits: CellLimits) -> None:
        at = self._at(group)
        _write(at / "memory.max", limits.memory_mib * MIB)
        if (at / "memory.swap.max").exists():
            _write(at / "memory.swap.max", 0)
        _write(at / "memory.oom.group", 1)
        _write(at / "cpu.weight", weight_of_shares(limits.cpu_weight))
        _write(at / "cpu.max", f"{int(limits.cpu_cores * _PERIOD_US)} {_PERIOD_US}")
        _write(at / "pids.max", limits.pids)

    def freeze(self, group: str) -> None:
        _write(self._at(group) / "cgroup.freeze", 1)

    def thaw(self, group: str) -> None:
        _write(self._at(group) / "cgroup.freeze", 0)

    def stats(self, group: str) -> CellStats:
        at = self._at(group)
        microseconds = _field(at / "cpu.stat", "usage_usec")
        return CellStats(
            memory_bytes=_number(at / "memory.current"),
            memory_peak_bytes=_number(at / "memory.peak"),
            cpu_seconds=None if microseconds is None else microseconds / 1e6,
            pids=_number(at / "pids.current"),
            oom_kills=_field(at / "memory.events", "oom_kill"),
        )

    def of_process(self, pid: int) -> str:
        return _group_in(Path(f"/proc/{pid}/cgroup").read_text(), "")

    def kill(self, group: str) -> None:
        at = self._at(group)
        if (at / "cgroup.kill").exists():
            _write(at / "cgroup.kill", 1)
        else:
            _signal_all(at)
        with contextlib.suppress(OSError):
            self.thaw(group)

    def remove(self, group: str) -> None:
        _remove(self._at(group))

    def children(self, group: str) -> list[str]:
        return _children(self._at(group), group)

    def _at(self, group: str) -> Path:
        return self._root / group.lstrip("/")


def weight_of_shares(shares: int) -> int:
    """cgroup v2 `cpu.weight` for v1 `cpu.shares`, as container engines convert it."""
    return 1 + (shares - 2) * 9_999 // 262_142


def _write(file: Path, value: int | str) -> None:
    # One write(2), no buffering, no creation: the kernel takes a value per call.
    handle = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, str(value).encode())
    finally:
        os.close(handle)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _field(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)


def _group_in(text: str, controller: str) -> str:
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            return group
    raise OSError(f"no cgroup of controller {controller!r}")


def _signal_all(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _remove(directory: Path) -> None:
    """Remove an empty group; the kernel may call it busy for a moment after its last task."""
    for _ in range(_REMOVE_TRIES):
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as exc:
            if exc.errno == errno.ENOTEMPTY:  # no group: crun's files where nothing is mounted
                shutil.rmtree(directory, ignore_errors=True)
            else:
                time.sleep(0.002)
        else:
            return


def _children(directory: Path, group: str) -> list[str]:
    def found() -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            for entry in directory.iterdir():
                if entry.is_dir():
                    yield f"{group}/{entry.name}"

    return list(found())
