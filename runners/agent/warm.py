"""Versions whose instances are kept ready before calls come, because a rollout needs them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runners.agent.pools import Pool

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 30.0
STEADY_SECONDS = 10.0
REFUSED_PAUSE_SECONDS, REFUSED_SECONDS = 0.5, 30.0
"""A runner without room is asked again; the version is blamed when there never is any."""


@dataclass(slots=True)
class _Kept:
    """One version to keep warm.

    Attributes:
        pool: None until the version is known here.
        not_before: monotonic time of the next start; `pause` follows it.
        full_since: monotonic time since when all its instances are ready.
        refused_since: monotonic time since when there was no room for another.
        told: ready instances and failure that the control plane was last told.
    """

    count: int
    pool: Pool | None = None
    not_before: float = 0.0
    pause: float = 0.0
    full_since: float = math.inf
    refused_since: float = math.inf
    told: tuple[int, str] = (0, "")


class WarmKeeper:
    """Starts what is missing, at once the first times, then with growing pauses.

    Pools do the rest: neither idle time nor eviction takes a pool below its `keep`.

    Args:
        pool_of: the pool of a version id, made where there is none; None while the version
            is unknown.
        on_news: told when a version got a ready instance, lost one, or failed to start.
    """

    def __init__(
        self, *, pool_of: Callable[[int], Pool | None], on_news: Callable[[], None]
    ) -> None:
        self._pool_of = pool_of
        self._on_news = on_news
        self._kept: dict[int, _Kept] = {}

    def want(self, counts: Mapping[int, int]) -> None:
        """Keep so many instances, by version id, and no others any more."""
        for version_id in [v for v in self._kept if v not in counts]:
            if (pool := self._kept.pop(version_id).pool) is not None:
                pool.keep = 0
        for version_id, count in counts.items():
            known = self._kept.get(version_id)
            if known is None or known.count != count:
                self._kept[version_id] = _Kept(count)

    def tend(self, now: float) -> None:
        """Every few milliseconds: start what is missing, tell what changed."""
        for version_id, kept in self._kept.items():
            if kept.pool is None:
                kept.pool = self._pool_of(version_id)
            if kept.pool is not None:
                _tend_pool(kept.pool, kept, now)
                self._tell(kept.pool, kept)

    def _tell(self, pool: Pool, kept: _Kept) -> None:
        news = (min(pool.ready, kept.count), pool.start_error)
        if news != kept.told:
            kept.told = news
            self._on_news()

    def failed_starts(self) -> dict[int, str]:
        """Version id -> why its last start failed."""
        pools = {version_id: kept.pool for version_id, kept in self._kept.items()}
        return {v: pool.start_error for v, pool in pools.items() if pool and pool.start_error}


def _tend_pool(pool: Pool, kept: _Kept, now: float) -> None:
    pool.keep = kept.count
    if pool.ready >= kept.count:
        pool.start_error = ""
        kept.full_since = min(kept.full_since, now)
        if now - kept.full_since >= STEADY_SECONDS:
            kept.pause = 0.0
        return
    kept.full_since = math.inf
    if pool.total >= kept.count or now < kept.not_before:
        return
    before, refusal = pool.total, ""
    while not refusal and pool.total < kept.count:
        refusal = pool.start_one(may_surge=True)
    if pool.total > before:
        kept.not_before = now + kept.pause
        kept.pause = min(max(2 * kept.pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    else:
        kept.not_before = now + REFUSED_PAUSE_SECONDS
    _judge_refusal(pool, kept, refusal, now)


def _judge_refusal(pool: Pool, kept: _Kept, refusal: str, now: float) -> None:
    """A full runner says nothing of the version: room comes free."""
    kept.refused_since = min(kept.refused_since, now) if refusal else math.inf
    if now - kept.refused_since >= REFUSED_SECONDS:
        pool.start_error = refusal
