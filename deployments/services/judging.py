"""From counted calls to a judgement: strata out of the rows, then the pure judge."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db.models import Count, Sum

from deployments.analysis.evidence import Arm, Cell, Evidence
from deployments.analysis.gates import CLIENTS_FLOOR
from deployments.analysis.verdict import Judgement, Verdict, judge
from deployments.models import Attempt, FailureSeen
from deployments.models import Evidence as EvidenceRow
from deployments.types import ALL, Plan

PROMOTED: Final = "promoted"
"""What `Attempt.routes` calls the step after the last."""

_Stratum = tuple[int, str, bool]
"""Epoch, region, cold."""
_Place = tuple[int, int, str, bool]
"""Epoch, version, runner, cold."""


@dataclass(slots=True)
class _Sums:
    calls: int = 0
    failed: int = 0
    first: int = 0
    slow: int = 0

    def arm(self, *, is_alone: bool) -> Arm:
        """Counts that fit together: calls and their failures may come in different reports.

        Args:
            is_alone: one client makes all calls, as a server behind one token does. Who calls
                then says nothing, and every failure counts.
        """
        failed = min(self.failed, self.calls)
        if is_alone:
            return Arm(self.calls, failed, min(self.slow, self.calls))
        # Repeats of a failure that another stratum counted are one failure here, too.
        bad = min(max(self.first, 1), failed) if failed else 0
        return Arm(self.calls, bad, min(self.slow, self.calls), failed - bad)


def judge_attempt(
    *,
    attempt: Attempt,
    plan: Plan,
    age_seconds: float | None,
    regions: Mapping[str, str],
    observed_seconds: float,
) -> Judgement:
    """What the evidence says now.

    All evidence of the attempt is judged together. A version that turns bad late would have
    to outweigh its good past, so the calls of the newest step are judged alone as well, with
    a share of alpha for each step: together a healthy version is rolled back with a chance of
    2 alpha at most.
    """
    step = plan.steps[attempt.step_index]
    is_settled = _step_name(attempt, attempt.epoch) == PROMOTED
    question: dict[str, Any] = {
        "duration_is_over": is_settled or observed_seconds >= step.hold_seconds,
        "needs_samples": step.needs_samples and not is_settled,
    }
    seen: dict[str, Any] = {"attempt": attempt, "age_seconds": age_seconds, "regions": regions}
    judgement = judge(evidence_of(**seen), plan.limits, **question)
    newest = _newest_epochs(attempt)
    if judgement.verdict is not Verdict.FAIL and newest != set(attempt.routes):
        limits = replace(plan.limits, alpha=plan.limits.alpha / (len(plan.steps) + 1))
        recent = judge(evidence_of(**seen, epochs=newest), limits, **question)
        judgement = recent if recent.verdict is Verdict.FAIL else judgement
    if judgement.verdict is Verdict.PASS and plan.has_barrier and not is_settled:
        # A wave has passed when each of its regions has, not when their sum has.
        each = (
            judge(evidence_of(**seen, region=name), plan.limits, **question)
            for name in step.regions
        )
        return next((found for found in each if found.verdict is not Verdict.PASS), judgement)
    return judgement


def evidence_of(
    *,
    attempt: Attempt,
    age_seconds: float | None,
    regions: Mapping[str, str],
    epochs: set[str] | None = None,
    region: str | None = None,
) -> Evidence:
    """The counts of an attempt in strata.

    Args:
        regions: runner -> its region.
        epochs: keys of `Attempt.routes`; None takes all.
        region: None takes all.
    """
    candidate = attempt.deployment.to_version_id
    strata: dict[_Stratum, dict[bool, _Sums]] = defaultdict(lambda: {True: _Sums(), False: _Sums()})
    for (epoch, version, runner, cold), sums in _places(attempt).items():
        if epochs is not None and str(epoch) not in epochs:
            continue
        where = regions.get(runner, "")
        if region is not None and where != region:
            continue
        found = strata[epoch, where, cold][version == candidate]
        found.calls += sums.calls
        found.failed += sums.failed
        found.first += sums.first
        found.slow += sums.slow
    is_alone = len(attempt.clients) < CLIENTS_FLOOR
    cells = [
        Cell(
            cold,
            _share(attempt, epoch, where),
            arms[True].arm(is_alone=is_alone),
            arms[False].arm(is_alone=is_alone),
        )
        for (epoch, where, cold), arms in sorted(strata.items())
    ]
    failing = FailureSeen.objects.filter(attempt=attempt, version_id=candidate)
    return Evidence(
        cells=tuple(cells),
        failing_clients=failing.values("client").distinct().count(),
        clients=len(attempt.clients),
        age_seconds=age_seconds,
        carries_all=attempt.weight == ALL and not attempt.runner_weights,
    )


def _places(attempt: Attempt) -> dict[_Place, _Sums]:
    place = ("epoch", "version_id", "runner", "cold")
    rows = EvidenceRow.objects.filter(attempt=attempt).values_list(*place)
    failures = FailureSeen.objects.filter(attempt=attempt).values_list(*place)
    found: dict[_Place, _Sums] = defaultdict(_Sums)
    for *key, calls, bad, slow, left_out in rows.annotate(
        Sum("calls"), Sum("bad"), Sum("slow"), Sum("failures_left_out")
    ).order_by(*place):
        found[tuple(key)] = _Sums(calls, bad, left_out, slow)
    for *key, first in failures.annotate(Count("id")).order_by(*place):
        found[tuple(key)].first += first
    return found


def _share(attempt: Attempt, epoch: int, region: str) -> float:
    shares: Mapping[str, int] = attempt.routes.get(str(epoch), {}).get("shares", {})
    return shares.get(region, shares.get("", 0)) / ALL


def _step_name(attempt: Attempt, epoch: int) -> str:
    return str(attempt.routes.get(str(epoch), {}).get("step", ""))


def _newest_epochs(attempt: Attempt) -> set[str]:
    name = _step_name(attempt, attempt.epoch)
    return {epoch for epoch, route in attempt.routes.items() if str(route["step"]) == name}
