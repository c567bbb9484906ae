"""How much was called lately: per function for lists, per minute for the overview."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, F, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from hotswap.wire.reports import LATENCY_BUCKETS_MS
from runners.models import InvocationMinute
from runners.selectors.metrics import percentile

_BUCKETS = len(LATENCY_BUCKETS_MS) + 1
_OK = Coalesce(Cast(KeyTextTransform("ok", "outcomes"), BigIntegerField()), 0)


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls of one function in some span of time, and how many of them failed."""

    calls: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """What the whole installation did, minute by minute, oldest first.

    Attributes:
        calls, errors: over all of `per_minute`.
        p95_ms: over all of it; None without calls.
    """

    per_minute: tuple[int, ...]
    calls: int
    errors: int
    p95_ms: float | None


def usage_by_function(*, function_ids: Collection[int], since: datetime) -> dict[int, Usage]:
    """Calls since a moment by function id, in one query; functions without calls are left out."""
    rows = (
        InvocationMinute.objects.filter(function_id__in=function_ids, minute__gte=_minute(since))
        .values("function_id")
        .annotate(all=Sum("calls"), fine=Sum(_OK))
    )
    return {row["function_id"]: Usage(row["all"], row["all"] - row["fine"]) for row in rows}


def usage_busiest(*, limit: int, since: datetime) -> list[tuple[int, Usage]]:
    """The most called functions since a moment: id and usage, most calls first."""
    rows = (
        InvocationMinute.objects.filter(minute__gte=_minute(since))
        .values("function_id")
        .annotate(all=Sum("calls"), fine=Sum(_OK))
        .order_by("-all", "function_id")[:limit]
    )
    return [(row["function_id"], Usage(row["all"], row["all"] - row["fine"])) for row in rows]


def activity(*, minutes: int, now: datetime) -> Activity:
    """The last whole minutes and the current one, in one query."""
    last = _minute(now)
    first = _minute(now - timedelta(minutes=minutes - 1))
    sums = {f"bucket_{n}": Sum(f"buckets__{n}") for n in range(_BUCKETS)}
    rows: Iterable[Mapping[str, Any]] = (
        InvocationMinute.objects.filter(minute__gte=first, minute__lte=last)
        .values(at=F("minute"))
        .annotate(all=Sum("calls"), fine=Sum(_OK), **sums)
    )
    found = {row["at"]: row for row in rows}
    calls = sum(row["all"] for row in found.values())
    buckets = [sum(row[f"bucket_{n}"] or 0 for row in found.values()) for n in range(_BUCKETS)]
    return Activity(
        per_minute=tuple(found[m]["all"] if m in found else 0 for m in range(first, last + 1)),
        calls=calls,
        errors=calls - sum(row["fine"] for row in found.values()),
        p95_ms=percentile(buckets, 0.95),
    )


def was_ever_called() -> bool:
    """Whether any call is still on record."""
    return InvocationMinute.objects.exists()


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60
