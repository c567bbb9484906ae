"""How much CPU instances use, measured between heartbeats while a rollout watches them."""

import asyncio
from collections.abc import Iterable

from runners.agent.instance import Instance
from runners.backends.base import CellStats

INSTANCES_MAX = 32
LEAST_SECONDS = 1.0
WAIT_SECONDS = 1.0


class CpuMeter:
    """Percent of one core per instance, from two looks at its cell's CPU time."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}
        self._percent: dict[str, float] = {}

    async def measure(self, instances: Iterable[Instance], now: float) -> dict[str, float]:
        """Percent by instance id, over the time since the last look of a second or more ago.

        Instances that were not looked at before are left out, and so is everything that the
        backend cannot tell within a second: a heartbeat must not be late.
        """
        chosen = list(instances)[:INSTANCES_MAX]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                found = await asyncio.gather(*(instance.cell.stats() for instance in chosen))
        except TimeoutError:
            return {}
        ids = {instance.id for instance in chosen}
        self._seen = {key: seen for key, seen in self._seen.items() if key in ids}
        self._percent = {key: percent for key, percent in self._percent.items() if key in ids}
        for instance, stats in zip(chosen, found, strict=True):
            self._note(instance.id, stats, now)
        return dict(self._percent)

    def _note(self, key: str, stats: CellStats, now: float) -> None:
        if stats.cpu_seconds is None:
            return
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = (stats.cpu_seconds, now)
            return
        used, passed = stats.cpu_seconds - before[0], now - before[1]
        if passed >= LEAST_SECONDS:
            self._seen[key] = (stats.cpu_seconds, now)
            self._percent[key] = round(max(0.0, used) / passed * 100, 1)
