"""Counts every call exactly and records some one by one, in memory, until the next report."""

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from hotswap.core import clock
from hotswap.wire.reports import LATENCY_BUCKETS_MS, GatewayReport, Invoked, VersionCounts

_BUCKETS = list(LATENCY_BUCKETS_MS)
_encode = msgspec.json.Encoder().encode


class VersionStats:
    """Counts of one version since the last report, and since this process began.

    Attributes:
        in_flight: calls that run now.
        dropped: calls that ended without an answer of a runner, since this process began.
    """

    __slots__ = (
        "billed_ms", "buckets", "cold", "dropped", "function", "in_flight", "init_us",
        "memory_peak_kib", "outcomes", "total_cold", "total_outcomes", "total_us", "version_id",
    )  # fmt: skip

    def __init__(self, version_id: int, function: str) -> None:
        self.version_id = version_id
        self.function = function
        self.total_outcomes: dict[str, int] = {}
        self.total_cold = 0
        self.in_flight = 0
        self.dropped = 0
        self._reset()

    def _reset(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.cold = 0
        self.total_us = 0
        self.init_us = 0
        self.billed_ms = 0
        self.memory_peak_kib = 0
        self.buckets = [0] * (len(_BUCKETS) + 1)

    def count(
        self, outcome: str, total_us: int, cold: bool, init_us: int, billed_ms: int, memory: int
    ) -> None:
        """One call ended. `memory` in KiB."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.total_us += total_us
        self.billed_ms += billed_ms
        self.buckets[bisect_left(_BUCKETS, total_us / 1000)] += 1
        if memory > self.memory_peak_kib:
            self.memory_peak_kib = memory
        if cold:
            self.cold += 1
            self.init_us += init_us

    def take(self, minute: int) -> VersionCounts | None:
        """What was counted since the last call, or None."""
        if not self.outcomes:
            return None
        counts = VersionCounts(
            self.version_id, minute, self.outcomes, self.cold, self.total_us, self.init_us,
            self.billed_ms, self.memory_peak_kib, self.buckets,
        )  # fmt: skip
        for outcome, calls in self.outcomes.items():
            self.total_outcomes[outcome] = self.total_outcomes.get(outcome, 0) + calls
        self.total_cold += self.cold
        self._reset()
        return counts


class Stats:
    """All counts and records of one gateway process.

    Args:
        records_per_report: successful calls recorded one by one; failed calls may use as
            many again, so that a flood of successes never hides an error.
    """

    def __init__(self, *, node: str, boot: str, records_per_report: int) -> None:
        self._node = node
        self._boot = boot
        self._versions: dict[int, VersionStats] = {}
        self._records: list[Invoked] = []
        self._failed = 0
        self._dropped = 0
        self._tokens: dict[str, int] = {}
        self._records_per_report = records_per_report

    def version(self, version_id: int, function: str) -> VersionStats:
        """The counter of a version; the same object for ever, across table changes."""
        stats = self._versions.get(version_id)
        if stats is None:
            stats = self._versions[version_id] = VersionStats(version_id, function)
        return stats

    def __iter__(self) -> Iterator[VersionStats]:
        return iter(self._versions.values())

    def has_room(self, outcome: str) -> bool:
        """Whether this call is to be recorded; counts it as dropped if not."""
        if outcome != "ok":
            if self._failed < self._records_per_report:
                self._failed += 1
                return True
        elif len(self._records) - self._failed < self._records_per_report:
            return True
        self._dropped += 1
        return False

    def record(self, call: Invoked) -> None:
        self._records.append(call)

    def token_used(self, sha256: str) -> None:
        self._tokens[sha256] = clock.epoch_ms() // 1000

    def collect(self, seq: int) -> bytes | None:
        """The next report, or None when nothing happened."""
        minute = clock.epoch_ms() // 60_000
        counts = [taken for stats in self if (taken := stats.take(minute)) is not None]
        if not counts and not self._tokens:
            return None
        report = GatewayReport(
            node=self._node,
            boot=self._boot,
            seq=seq,
            counts=counts,
            records=self._records,
            records_dropped=self._dropped,
            tokens_used=self._tokens,
        )
        self._records, self._failed, self._dropped, self._tokens = [], 0, 0, {}
        return _encode(report)
