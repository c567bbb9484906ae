"""What processes use, read from /proc: CPU time, resident and proportional memory."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def cpu_us(pids: Iterable[int]) -> float:
    """CPU time of all threads of these processes so far, in microseconds.

    From the scheduler's own count in nanoseconds: the clock ticks of /proc/<pid>/stat are
    4 ms long, which is as much as a hundred calls take.
    """
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(path.read_text().split()[0])
    return total / 1000


def cpu_us_each(pids: Iterable[int]) -> dict[int, float]:
    """The same of each process that is still there."""
    return {pid: cpu_us([pid]) for pid in pids if Path(f"/proc/{pid}").exists()}


def spent_us(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU time between two looks; processes that came meanwhile count whole, those that went
    do not count."""
    return sum(us - before.get(pid, 0.0) for pid, us in after.items())


def rss_mib(pids: Iterable[int]) -> float:
    """Resident memory of these processes together."""
    pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return sum(pages) * _PAGE_KIB / 1024


def pss_mib(pid: int) -> float:
    """Memory of one process, each shared page divided among those that share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss line")


def bootstraps(mark: str, roots: Iterable[int]) -> list[int]:
    """Processes that run a bootstrap and belong to one platform.

    Args:
        mark: name of its state directory, which appears in a command or a mount of its instances.
        roots: its instances may also be descendants of these processes.
    """
    parents = _parents()
    own = set(roots)
    return [
        pid
        for pid in parents
        if _is_bootstrap(pid) and (_descends(pid, own, parents) or _is_marked(pid, mark))
    ]


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
    return parents


def _is_bootstrap(pid: int) -> bool:
    words = _read(pid, "cmdline").split("\0")
    return any("/bootstrap" in word for word in words[1:]) and "crun" not in words[0]


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False


def _is_marked(pid: int, mark: str) -> bool:
    return mark in _read(pid, "cmdline") or mark in _read(pid, "mountinfo")


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
