"""Units the platform computes with."""

from hotswap.core.limits import MEMORY_PER_CPU_MIB


def cpu_weight(memory_mib: int) -> int:
    """CPU share of an instance in cgroup v1 `cpu.shares`: proportional to its memory.

    1,024 shares (one default process) are bought by `MEMORY_PER_CPU_MIB`. The share only
    decides who waits when the cores are busy.
    """
    return max(2, memory_mib * 1024 // MEMORY_PER_CPU_MIB)


def cpu_quota_cores(memory_mib: int) -> float:
    """Ceiling in cores: one core for small functions, so that an idle machine serves
    them at full speed, and memory / `MEMORY_PER_CPU_MIB` above that."""
    return max(1.0, memory_mib / MEMORY_PER_CPU_MIB)
