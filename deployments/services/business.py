"""Business metrics: values that programs report for the units of a test, and what they show."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count

from deployments.analysis.sequence import Comparison, Sample, compare
from deployments.analysis.srm import Split, check_split
from deployments.models import Attempt, BusinessValue, Deployment
from deployments.states import Phase
from deployments.strategies.base import plan_load
from deployments.types import ALL
from hotswap.core.errors import Conflict, InvalidInput, NotFound
from hotswap.wire.rollouts import unit_place
from runners.selectors import invocations

BATCH_MAX: Final = 1_000
UNIT_MAX: Final = 200
METRICS_MAX: Final = 50
ALPHA: Final = 0.05
"""Chance of any false finding, over all metrics of a test together."""

_METRIC: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_DIVIDED: Final = frozenset({Phase.OBSERVING, Phase.SHIFTING, Phase.HELD})
_MOMENTS: Final = """
    SELECT metric, version_id, count(*), avg(value), coalesce(var_samp(value), 0),
           avg(coalesce(before, 0)), coalesce(var_samp(coalesce(before, 0)), 0),
           coalesce(covar_samp(value, coalesce(before, 0)), 0)
    FROM deployments_businessvalue WHERE attempt_id = %s GROUP BY metric, version_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValue:
    """One reported value. Either the unit's own name or the id of one of its calls.

    Attributes:
        before: of the same unit before the test, where it is known.
    """

    value: float
    unit: str = ""
    request_id: str = ""
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch.

    Attributes:
        repeated: units that had a value of this metric; the first one counts.
        unknown: positions of values whose request has no record, or belongs to no arm.
    """

    accepted: int
    repeated: int
    unknown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric, the candidate (B) against the stable version (A)."""

    metric: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Report:
    """What a test shows.

    Attributes:
        split: whether units fell to the arms as intended; None where the shares changed
            on the way, so that nothing was intended for the test as a whole.
    """

    alpha: float
    metrics: tuple[MetricComparison, ...]
    split: Split | None


@transaction.atomic(durable=True)
def values_add(
    *,
    metric: str,
    values: Sequence[NewValue],
    deployment_id: UUID | None = None,
    function_name: str = "",
    alias: str = "",
    now: datetime,
) -> Added:
    """Keep values, the first of each unit; a repeat of a batch changes nothing.

    Which version a unit met follows from the record of its call, or from the same hash by
    which gateways divide units.

    Raises:
        NotFound: no such deployment, or none ever ran on the alias.
        InvalidInput: a bad metric name, unit or number; nothing of the batch is kept.
        Conflict: units are not, or no longer, divided by name: report by request id.
    """
    _check(metric, values)
    attempt = _attempt(deployment_id, function_name, alias)
    _check_metric_is_allowed(attempt, metric)
    versions = _versions(attempt, values)
    fresh: dict[str, BusinessValue] = {}
    for value, version_id in zip(values, versions, strict=True):
        unit = value.unit or value.request_id
        if version_id is not None and unit not in fresh:
            fresh[unit] = BusinessValue(
                attempt=attempt,
                metric=metric,
                unit=unit,
                version_id=version_id,
                value=value.value,
                before=value.before,
                at=now,
            )
    rows = BusinessValue.objects.filter(attempt=attempt, metric=metric, unit__in=fresh)
    known = set(rows.values_list("unit", flat=True))
    new = [row for unit, row in fresh.items() if unit not in known]
    BusinessValue.objects.bulk_create(new, ignore_conflicts=True)
    unknown = tuple(index for index, version_id in enumerate(versions) if version_id is None)
    return Added(len(new), len(values) - len(unknown) - len(new), unknown)


def report(*, deployment_id: UUID) -> Report:
    """Every metric of the newest attempt compared; may be asked at any time, as often as one likes.

    Raises:
        NotFound: no such deployment.
    """
    attempt = _attempt(deployment_id, "", "")
    deployment = attempt.deployment
    with connection.cursor() as cursor:
        cursor.execute(_MOMENTS, [attempt.id])
        rows = cursor.fetchall()
    samples = {(metric, version_id): Sample(*moments) for metric, version_id, *moments in rows}
    metrics = sorted({metric for metric, _ in samples})
    alpha = ALPHA / max(1, len(metrics))
    compared = tuple(
        MetricComparison(
            metric,
            compare(
                samples.get((metric, deployment.from_version_id), Sample(0)),
                samples.get((metric, deployment.to_version_id), Sample(0)),
                alpha,
            ),
        )
        for metric in metrics
    )
    return Report(alpha, compared, _split(attempt))


def _split(attempt: Attempt) -> Split | None:
    deployment = attempt.deployment
    weights = {step.weight for step in plan_load(deployment.plan).steps} - {0, ALL}
    if len(weights) != 1 or attempt.runner_weights:
        return None
    rows = BusinessValue.objects.filter(attempt=attempt).values("version_id")
    units = dict(
        rows.annotate(units=Count("unit", distinct=True)).values_list("version_id", "units")
    )
    share = weights.pop() / ALL
    versions = (deployment.from_version_id, deployment.to_version_id)
    counts = [0 if version is None else units.get(version, 0) for version in versions]
    return check_split(counts, [1 - share, share])


def _check(metric: str, values: Sequence[NewValue]) -> None:
    if not _METRIC.fullmatch(metric):
        raise InvalidInput("metric: 1 to 64 letters, digits, . _ and -, a letter first.")
    if not 0 < len(values) <= BATCH_MAX:
        raise InvalidInput(f"values: From 1 to {BATCH_MAX:,} at once.")
    for index, value in enumerate(values):
        if bool(value.unit) == bool(value.request_id):
            raise InvalidInput(f"values.{index}: Either unit or requestId, not both.")
        unit = value.unit or value.request_id
        if len(unit) > UNIT_MAX or not unit.isprintable():
            raise InvalidInput(
                f"values.{index}: A unit has 1 to {UNIT_MAX} characters, all of them printable."
            )
        if not math.isfinite(value.value) or not math.isfinite(value.before or 0.0):
            raise InvalidInput(f"values.{index}: A value is a finite number.")


def _check_metric_is_allowed(attempt: Attempt, metric: str) -> None:
    names = set(
        BusinessValue.objects.filter(attempt=attempt).values_list("metric", flat=True).distinct()
    )
    if metric not in names and len(names) >= METRICS_MAX:
        raise InvalidInput(f"metric: A deployment has at most {METRICS_MAX} metrics.")


def _attempt(deployment_id: UUID | None, function_name: str, alias: str) -> Attempt:
    attempts = Attempt.objects.select_related("deployment", "function")
    if deployment_id is not None:
        attempts = attempts.filter(deployment_id=deployment_id)
    else:
        attempts = attempts.filter(
            function__name=function_name, alias=alias, started_at__isnull=False
        )
    attempt = attempts.order_by("-created_at", "-number").first()
    if attempt is None:
        what = deployment_id or f"on {function_name} {alias} that has started"
        raise NotFound(f"There is no deployment {what}.")
    return attempt


def _versions(attempt: Attempt, values: Sequence[NewValue]) -> list[int | None]:
    """The version that each value belongs to; None where nobody knows."""
    deployment = attempt.deployment
    arms = {deployment.from_version_id, deployment.to_version_id} - {None}
    asked = [value.request_id for value in values if value.request_id]
    recorded = (
        invocations.invocation_versions(function_id=attempt.function_id, request_ids=asked)
        if asked
        else {}
    )
    if any(value.unit for value in values):
        _check_units_tell(attempt, deployment)
    found: list[int | None] = []
    for value in values:
        version = (
            _drawn(attempt, deployment, value.unit)
            if value.unit
            else recorded.get(value.request_id)
        )
        found.append(version if version in arms else None)
    return found


def _drawn(attempt: Attempt, deployment: Deployment, unit: str) -> int | None:
    is_candidate = unit_place(attempt.salt, unit) < attempt.weight
    return deployment.to_version_id if is_candidate else deployment.from_version_id


def _check_units_tell(attempt: Attempt, deployment: Deployment) -> None:
    """Whether a unit's name says now which version it meets."""
    if not plan_load(deployment.plan).unit:
        raise Conflict(
            "This deployment divides calls, not units; report by requestId, or name a stickyBy."
        )
    if attempt.phase not in _DIVIDED or not 0 < attempt.weight < ALL or attempt.runner_weights:
        raise Conflict("Units are not divided by name now; report by requestId.")
