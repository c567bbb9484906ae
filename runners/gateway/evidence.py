"""What this gateway saw of the rollouts it takes part in, and the leases it got for telling.

Counts grow in memory until the next report takes them; `runners.link.reports` repeats a report
until it is counted. A call belongs to the epoch that routed it, also when it ends later.
"""

import hashlib
import logging
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from hotswap.core import clock
from hotswap.core.errors import Cancelled, all_errors
from hotswap.wire.reports import LATENCY_BUCKETS_MS
from hotswap.wire.rollouts import (
    FAILURES_MAX,
    WINDOW_SECONDS,
    ArmCounts,
    EvidenceAnswer,
    EvidenceReport,
    Failure,
    SplitState,
)
from runners.gateway.stats import VersionStats

log = logging.getLogger("hotswap.evidence")

SEEN_MAX = 10_000  # failures of one minute and attempt that are told apart
ARMS_MAX = 2_000  # an hour and more of windows that a lost control plane did not take

_BUCKETS = list(LATENCY_BUCKETS_MS)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EvidenceAnswer).decode

# What the caller spoilt or left, and what was refused for its number, says nothing of a version.
_NO_EVIDENCE = frozenset(slug for slug, error in all_errors().items() if error.fault == "caller")
_CANCELLED = Cancelled.slug


class Tally:
    """One attempt's counts here, over all its epochs.

    Attributes:
        lease_until: monotonic seconds.
        clients: who was drawn since the last report; a few are enough.
        mirrors_in_flight: repeated calls that run now.
    """

    __slots__ = (
        "_dropped", "_key", "_minute", "_seen", "clients", "lease_until", "mirror_different",
        "mirror_failed", "mirror_same", "mirrored", "mirrors_in_flight", "previewed",
    )  # fmt: skip

    def __init__(self, salt: str) -> None:
        self._key = hashlib.blake2b(salt.encode()).digest()
        self._dropped: dict[int, int] = {}
        self._minute = 0
        self._seen: set[tuple[int, str, str]] = set()
        self.lease_until = 0.0
        self.mirrors_in_flight = 0
        self._reset()

    def _reset(self) -> None:
        self.clients: set[str] = set()
        self.previewed = 0
        self.mirrored = 0
        self.mirror_same = 0
        self.mirror_different = 0
        self.mirror_failed = 0

    def _hash(self, client: str) -> str:
        text = client.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=8, key=self._key).hexdigest()

    def watch(self, versions: Iterable[VersionStats]) -> None:
        """Count the dropped calls of these versions from now on."""
        for version in versions:
            self._dropped.setdefault(version.version_id, version.dropped)

    def fail(self, arm: ArmCounts, client: str, kind: str, minute: int) -> None:
        """Name a failed call if it is the first of its client, kind and minute."""
        if minute != self._minute:
            self._minute = minute
            self._seen.clear()
        who = (arm.version_id, client, kind)
        if who in self._seen:
            return
        if len(self._seen) >= SEEN_MAX or len(arm.failures) >= FAILURES_MAX:
            arm.failures_left_out += 1
            return
        self._seen.add(who)
        arm.failures.append(Failure(self._hash(client), kind, minute))

    def take(self, split: "Held", now: float) -> SplitState:
        """The state for a report; what is counted begins again."""
        dropped = {}
        for version in split.versions:
            if new := version.dropped - self._dropped.get(version.version_id, 0):
                dropped[version.version_id] = new
            self._dropped[version.version_id] = version.dropped
        state = SplitState(
            attempt=split.attempt,
            epoch=split.epoch,
            has_lease=split.holds(now),
            in_flight={version.version_id: version.in_flight for version in split.versions},
            clients=[self._hash(client) for client in self.clients],
            previewed=self.previewed,
            mirrored=self.mirrored,
            mirror_same=self.mirror_same,
            mirror_different=self.mirror_different,
            mirror_failed=self.mirror_failed,
            dropped=dropped,
        )
        self._reset()
        return state


class Held(Protocol):
    """A split in force, as far as it is reported."""

    attempt: str
    epoch: int
    tally: Tally
    versions: tuple[VersionStats, VersionStats]

    def holds(self, now: float) -> bool:
        """Whether calls are divided at this monotonic time."""


class Evidence:
    """All evidence of one gateway process."""

    def __init__(self, *, node: str, boot: str) -> None:
        self._node = node
        self._boot = boot
        self._tallies: dict[str, Tally] = {}
        self._arms: dict[tuple[str, int, int, str, bool, int], ArmCounts] = {}
        self._is_closing = False
        self.held: Sequence[Held] = ()

    # From the table

    def tally(self, attempt: str, salt: str) -> Tally:
        """The tally of an attempt; the same object while a split of it is held."""
        return self._tallies.setdefault(attempt, Tally(salt))

    def hold(self, splits: Sequence[Held]) -> None:
        """These splits are in force now, and no others."""
        self.held = splits
        self._tallies = {split.attempt: split.tally for split in splits}

    # From calls

    def count(
        self,
        split: Held,
        *,
        version: int,
        runner: str,
        client: str,
        outcome: str,
        status: int,
        cold: bool,
        total_us: int,
        slow_us: int,
    ) -> None:
        """One drawn call ended. `version` is the id; 0 for `slow_us` counts none as slow.

        A caller who leaves says nothing of the version, unless the wait was too long already.
        """
        is_slow = 0 < slow_us < total_us
        if outcome in _NO_EVIDENCE and not (is_slow and outcome == _CANCELLED):
            return
        seconds = clock.epoch_ms() // 1000
        arm = self._arm(split, version, runner, cold, seconds)
        arm.calls += 1
        arm.total_us += total_us
        arm.buckets[bisect_left(_BUCKETS, total_us / 1000)] += 1
        arm.slow += is_slow
        if outcome == _CANCELLED:
            return
        if outcome != "ok" or status >= 500:
            arm.bad += 1
            kind = outcome if outcome != "ok" else "http-5xx"
            split.tally.fail(arm, client, kind, seconds // 60)

    def _arm(self, split: Held, version: int, runner: str, cold: bool, seconds: int) -> ArmCounts:
        window = seconds - seconds % WINDOW_SECONDS
        key = (split.attempt, split.epoch, version, runner, cold, window)
        arm = self._arms.get(key)
        if arm is None:
            if len(self._arms) >= ARMS_MAX:
                self._arms.pop(next(iter(self._arms)))
            buckets = [0] * (len(_BUCKETS) + 1)
            arm = self._arms[key] = ArmCounts(*key, 0, 0, 0, 0, buckets, [])
        return arm

    # To and from the control plane

    def collect(self, seq: int) -> bytes | None:
        """The next report; None when no split is held and none has left counts behind."""
        if not self.held and not self._arms:
            return None
        now = clock.monotonic()
        report = EvidenceReport(
            node=self._node,
            boot=self._boot,
            seq=seq,
            splits=[split.tally.take(split, now) for split in self.held],
            arms=list(self._arms.values()),
        )
        self._arms = {}
        if self._is_closing:
            self.held = ()
        return _encode(report)

    def answered(self, body: bytes, sent_at: float) -> None:
        """Take the leases of an answer. An attempt that it leaves out keeps what it had."""
        try:
            leases = _decode(body).leases
        except msgspec.MsgspecError as exc:
            log.warning("the answer to the evidence cannot be read: %s", exc)
            return
        for attempt, milliseconds in leases.items():
            if (tally := self._tallies.get(attempt)) is not None:
                tally.lease_until = sent_at + milliseconds / 1000

    def close(self) -> None:
        """The process ends: the next report is the last that names the splits."""
        self._is_closing = True
