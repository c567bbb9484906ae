"""Figures over time, from the exact counts per minute."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import connection
from django.db.models import F, Max, Sum

from functions import selectors as functions
from hotswap.core.errors import InvalidInput
from hotswap.wire.reports import LATENCY_BUCKETS_MS
from runners.models import InvocationMinute
from runners.types import Figures, Metrics, Series

POINTS_MAX = 1_500
_POINTS_WANTED = 120
_STEPS_MINUTES = (1, 5, 15, 30, 60, 180, 360, 720, 1_440)
_BUCKETS = len(LATENCY_BUCKETS_MS) + 1
_SUMS = ("calls", "cold", "total_us", "init_us", "billed_ms")

_OUTCOMES = """
    SELECT version_id, minute / %s, outcome.key, sum(outcome.value::bigint)
    FROM runners_invocationminute, jsonb_each_text(outcomes) AS outcome
    WHERE function_id = %s AND minute >= %s AND minute < %s
    GROUP BY 1, 2, 3
"""


@dataclass(slots=True)
class _Tally:
    """Counts that can be added up."""

    sums: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    memory_peak_kib: int = 0

    def add(self, other: "_Tally") -> None:
        self.sums.update(other.sums)
        self.outcomes.update(other.outcomes)
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.memory_peak_kib = max(self.memory_peak_kib, other.memory_peak_kib)


def function_metrics(
    *,
    function_id: int,
    start: datetime,
    end: datetime,
    step: timedelta | None = None,
    version: int | None = None,
) -> Metrics:
    """Time series of a function in [start, end), both widened to whole steps.

    Args:
        step: whole minutes; None picks one that gives up to 120 points.
        version: one version's number; None is all of them and their total.

    Raises:
        InvalidInput: an empty or too finely divided span.
    """
    minutes = _step_minutes(start, end, step)
    slots = range(_minute(start) // minutes, -(-_minute(end, up=True) // minutes))
    tallies = _tallies(function_id, slots, minutes)
    labels = functions.version_labels(ids=list(tallies))
    numbers = {version_id: number for version_id, (_, number) in labels.items()}
    chosen = {
        numbers.get(version_id, 0): by_slot
        for version_id, by_slot in tallies.items()
        if version in (None, numbers.get(version_id))
    }
    return Metrics(
        start=_time(slots.start * minutes),
        end=_time(slots.stop * minutes),
        step_seconds=minutes * 60,
        times=tuple(_time(slot * minutes) for slot in slots),
        total=_series(None, _total(chosen.values()), slots),
        versions=tuple(_series(n, chosen[n], slots) for n in sorted(chosen)),
    )


def percentile(buckets: Sequence[int], share: float) -> float | None:
    """The value in milliseconds below which `share` (0 to 1) of the calls stayed.

    Calls are taken to be spread evenly inside their bucket; the open last bucket counts as
    its lower edge. The error is at most the bucket's width.
    """
    total = sum(buckets)
    if total == 0:
        return None
    rank = share * total
    below = 0
    for count, (low, high) in zip(buckets, pairwise((0.0, *LATENCY_BUCKETS_MS)), strict=False):
        if count and below + count >= rank:
            return round(low + (high - low) * (rank - below) / count, 3)
        below += count
    return LATENCY_BUCKETS_MS[-1]


def _minute(moment: datetime, *, up: bool = False) -> int:
    seconds = int(moment.timestamp())
    return -(-seconds // 60) if up else seconds // 60


def _time(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _step_minutes(start: datetime, end: datetime, step: timedelta | None) -> int:
    span = (end - start) / timedelta(minutes=1)
    if span <= 0:
        raise InvalidInput("The time span is empty: `from` must be before `to`.")
    if step is None:
        return next((m for m in _STEPS_MINUTES if span / m <= _POINTS_WANTED), _fitting(span))
    minutes, rest = divmod(step, timedelta(minutes=1))
    if minutes < 1 or rest:
        raise InvalidInput("`step` must be whole minutes: 60 seconds, 120, and so on.")
    if span / minutes > POINTS_MAX:
        raise InvalidInput(f"This span and step make more than {POINTS_MAX:,} points.")
    return minutes


def _fitting(span_minutes: float) -> int:
    """Whole days per point for spans of many months."""
    day = _STEPS_MINUTES[-1]
    return day * -int(-span_minutes // (day * _POINTS_WANTED))


def _tallies(function_id: int, slots: range, minutes: int) -> dict[int, dict[int, _Tally]]:
    """Version id -> slot -> counts, in two queries however long the span."""
    first, end = slots.start * minutes, slots.stop * minutes
    tallies: dict[int, dict[int, _Tally]] = defaultdict(dict)
    counted = (
        InvocationMinute.objects.filter(function_id=function_id, minute__gte=first, minute__lt=end)
        .annotate(slot=F("minute") / minutes)
        .values("version_id", "slot")
        .annotate(peak=Max("memory_peak_kib"), **{f"sum_{name}": Sum(name) for name in _SUMS})
        .annotate(**{f"bucket_{n}": Sum(f"buckets__{n}") for n in range(_BUCKETS)})
    )
    row: Any  # the columns are named at run time
    for row in counted:
        tallies[row["version_id"]][row["slot"]] = _Tally(
            sums=Counter({name: row[f"sum_{name}"] for name in _SUMS}),
            buckets=[row[f"bucket_{n}"] or 0 for n in range(_BUCKETS)],
            memory_peak_kib=row["peak"],
        )
    with connection.cursor() as cursor:
        cursor.execute(_OUTCOMES, [minutes, function_id, first, end])
        for version_id, slot, outcome, calls in cursor.fetchall():
            tally = tallies[version_id].setdefault(slot, _Tally())
            tally.outcomes[outcome] = int(calls)
    return tallies


def _total(versions: Iterable[Mapping[int, _Tally]]) -> dict[int, _Tally]:
    total: dict[int, _Tally] = defaultdict(_Tally)
    for by_slot in versions:
        for slot, tally in by_slot.items():
            total[slot].add(tally)
    return total


def _series(version: int | None, by_slot: Mapping[int, _Tally], slots: range) -> Series:
    whole = _Tally()
    for tally in by_slot.values():
        whole.add(tally)
    points = tuple(_figures(by_slot.get(slot) or _Tally()) for slot in slots)
    return Series(version=version, points=points, summary=_figures(whole))


def _figures(tally: _Tally) -> Figures:
    sums, calls, cold = tally.sums, tally.sums["calls"], tally.sums["cold"]
    return Figures(
        invocations=calls,
        errors=calls - tally.outcomes["ok"],
        outcomes=dict(sorted(tally.outcomes.items())),
        cold_starts=cold,
        average_ms=round(sums["total_us"] / calls / 1000, 3) if calls else None,
        average_init_ms=round(sums["init_us"] / cold / 1000, 3) if cold else None,
        p50_ms=percentile(tally.buckets, 0.50),
        p95_ms=percentile(tally.buckets, 0.95),
        p99_ms=percentile(tally.buckets, 0.99),
        billed_ms=sums["billed_ms"],
        memory_peak_mib=round(tally.memory_peak_kib / 1024, 1),
    )
