"""Reads: deployments, their attempts, and what was seen of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery, Sum

from deployments.machine import legal, stand
from deployments.models import Approval, Attempt, Deployment, Event, Evidence, GatewayState
from deployments.states import TERMINAL, Command, Held, Phase
from deployments.strategies.base import plan_load
from hotswap.core.errors import NotFound
from hotswap.wire.reports import LATENCY_BUCKETS_MS
from runners.selectors.metrics import percentile

_FOR_PERSONS: Final = frozenset(
    {Held.GATE, Held.INCONCLUSIVE, Held.NO_TRAFFIC, Held.DECISION, Held.IRREVERSIBLE}
    | {Held.MANUAL, Held.SHARED_CAUSE, Held.STABLE_UNHEALTHY}
)
_FAILED: Final = (Phase.ROLLED_BACK, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Point:
    """One window of one version. Rates are shares from 0 to 1, None without calls.

    Attributes:
        at: when the window began; it is `hotswap.wire.rollouts.WINDOW_SECONDS` long.
    """

    at: datetime
    calls: int
    bad: int
    slow: int
    error_rate: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """All windows of one version, oldest first, and their sum."""

    version: int
    is_candidate: bool
    points: tuple[Point, ...]
    total: Point


@dataclass(frozen=True, slots=True)
class Count:
    """Drawn calls of one version that have ended, over an attempt's whole time."""

    version: int
    is_candidate: bool
    calls: int = 0
    bad: int = 0
    slow: int = 0


def deployment_list() -> QuerySet[Deployment]:
    """Deployments, newest first, each with `phase`, `weight`, and its attempts, newest first."""
    newest = Attempt.objects.filter(deployment=OuterRef("pk")).order_by("-number")
    return (
        Deployment.objects.select_related("function")
        .prefetch_related(_attempts())
        .annotate(phase=Subquery(newest.values("phase")[:1]))
        .annotate(weight=Subquery(newest.values("weight")[:1]))
        .order_by("-created_at", "-id")
    )


def deployment_get(deployment_id: UUID | str) -> Deployment:
    """A deployment as `deployment_list` has it; raises NotFound."""
    try:
        wanted = UUID(str(deployment_id))
    except ValueError:
        raise NotFound("There is no such deployment.") from None
    found = deployment_list().filter(id=wanted).first()
    if found is None:
        raise NotFound("There is no such deployment.")
    return found


def attempt_current(deployment: Deployment) -> Attempt:
    """The newest attempt: it says where the deployment stands."""
    return max(deployment.attempts.all(), key=lambda attempt: attempt.number)


def commands_allowed(attempt: Attempt) -> list[Command]:
    """What a person may ask for now; no other button should be shown."""
    deployment = attempt.deployment
    return legal(
        stand(
            plan=plan_load(deployment.plan),
            step_index=attempt.step_index,
            passed=attempt.gates_passed,
            phase=Phase(attempt.phase),
            held=Held(attempt.held_reason) if attempt.held_reason else None,
            held_from=Phase(attempt.held_from) if attempt.held_from else None,
            is_first=deployment.from_number is None,
        )
    )


def events_of(deployment: Deployment) -> QuerySet[Event]:
    """Everything that happened, over all attempts, oldest first."""
    rows = Event.objects.filter(attempt__deployment=deployment).select_related("attempt")
    return rows.order_by("attempt__number", "seq")


def approvals_of(deployment: Deployment) -> QuerySet[Approval]:
    """Who said yes or no, oldest first."""
    return Approval.objects.filter(deployment=deployment).order_by("at", "id")


def gateways_of(attempt: Attempt) -> QuerySet[GatewayState]:
    """What each gateway last said of an attempt, by name."""
    return GatewayState.objects.filter(attempt=attempt).order_by("node", "-seen_at")


def series(attempt: Attempt) -> list[Line]:
    """Calls, errors and latency by version and window: stable first, then the candidate."""
    deployment = attempt.deployment
    rows = Evidence.objects.filter(attempt=attempt).order_by("window")
    windows: dict[int, dict[int, list[Evidence]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        windows[row.version_id][row.window].append(row)
    versions = [
        (deployment.from_version_id, deployment.from_number),
        (deployment.to_version_id, deployment.to_number),
    ]
    return [
        _line(number, windows[pk], is_candidate=pk == deployment.to_version_id)
        for pk, number in versions
        if pk is not None and number is not None
    ]


def counts(attempt: Attempt) -> list[Count]:
    """The sums of `series`, added up by the database: stable first, then the candidate."""
    deployment = attempt.deployment
    sums = Evidence.objects.filter(attempt=attempt).values("version_id")
    rows = sums.annotate(all=Sum("calls"), wrong=Sum("bad"), late=Sum("slow"))
    found = {row["version_id"]: (row["all"], row["wrong"], row["late"]) for row in rows}
    versions = [
        (deployment.from_version_id, deployment.from_number),
        (deployment.to_version_id, deployment.to_number),
    ]
    return [
        Count(number, pk == deployment.to_version_id, *found.get(pk, ()))
        for pk, number in versions
        if pk is not None and number is not None
    ]


def rollouts_by_alias(*, function_ids: Iterable[int]) -> dict[tuple[int, str], Attempt]:
    """(function id, alias) -> the attempt that runs on it now; aliases at rest are left out."""
    rows = (
        Attempt.objects.filter(function_id__in=list(function_ids))
        .exclude(phase__in=[*TERMINAL, Phase.QUEUED])
        .select_related("deployment")
    )
    return {(row.function_id, row.alias): row for row in rows}


def waiting_for_person() -> list[Attempt]:
    """Attempts that go no further until a person acts, longest waiting first."""
    rows = Attempt.objects.select_related("deployment", "function").exclude(phase__in=TERMINAL)
    awaiting = rows.filter(phase__in=[Phase.AWAITING_APPROVAL, Phase.ROLLBACK_STUCK])
    held = rows.filter(phase=Phase.HELD, held_reason__in=_FOR_PERSONS)
    return sorted([*awaiting, *held], key=lambda attempt: attempt.phase_since)


def failed_recently(*, since: datetime) -> QuerySet[Attempt]:
    """Attempts that ended badly since then, newest first."""
    rows = Attempt.objects.select_related("deployment", "function")
    return rows.filter(phase__in=_FAILED, finished_at__gte=since).order_by("-finished_at")


def _attempts() -> "Prefetch[str]":
    return Prefetch("attempts", queryset=Attempt.objects.order_by("-number"))


def _line(number: int, windows: dict[int, list[Evidence]], *, is_candidate: bool) -> Line:
    points = tuple(_point(at, rows) for at, rows in sorted(windows.items()))
    together = [row for rows in windows.values() for row in rows]
    return Line(number, is_candidate, points, _point(min(windows, default=0), together))


def _point(at: int, rows: Sequence[Evidence]) -> Point:
    calls, bad = sum(row.calls for row in rows), sum(row.bad for row in rows)
    buckets = [0] * (len(LATENCY_BUCKETS_MS) + 1)
    for row in rows:
        for place, count in enumerate(row.buckets):
            buckets[place] += count
    return Point(
        at=datetime.fromtimestamp(at, UTC),
        calls=calls,
        bad=bad,
        slow=sum(row.slow for row in rows),
        error_rate=bad / calls if calls else None,
        p50_ms=percentile(buckets, 0.50),
        p99_ms=percentile(buckets, 0.99),
    )
