"""What the evidence says of a candidate, with the arithmetic that says it.

docs/judging.md explains the tests and shows the figures measured with them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from deployments.analysis import power
from deployments.analysis.evidence import Arm, Evidence
from deployments.analysis.gates import Gate, Kind, Metric, gates_of, metrics_of
from deployments.analysis.wording import chance, count, percent
from deployments.types import Limits

FRESH_SECONDS: Final = 1.5
"""Three intervals between two reports of a gateway."""

DETECTED_TIMES_WORSE: Final = 3.0
DETECTED_PROBABILITY: Final = 0.95


class Verdict(StrEnum):
    """What may become of the attempt."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    HELD = "held"


class Cause(StrEnum):
    """Why a verdict is INCONCLUSIVE or HELD; in this order where there are several."""

    NONE = ""
    SHARED_CAUSE = "shared-cause"
    STALE_METRICS = "stale-metrics"
    NO_TRAFFIC = "no-traffic"
    FEW_SAMPLES = "few-samples"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Meter:
    """How likely harm would have been found by now, had there been any.

    Attributes:
        trials: independent calls of the candidate that the evidence amounts to.
    """

    times_worse: float
    probability: float
    sentence: str
    trials: float = 0.0

    def document(self) -> dict[str, Any]:
        return {
            "timesWorse": self.times_worse,
            "probability": self.probability,
            "sentence": self.sentence,
            "trials": self.trials,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and everything it rests on.

    Attributes:
        cause: "" for PASS and FAIL.
        candidate_calls: that count towards `needed_calls`.
        cold_candidate, cold_stable: shares of calls that waited for an instance; shown, never
            judged.
    """

    verdict: Verdict
    cause: Cause
    sentence: str
    gates: tuple[Gate, ...]
    candidate_calls: int
    needed_calls: int
    meter: Meter
    cold_candidate: float
    cold_stable: float

    def document(self) -> dict[str, Any]:
        """As JSON; every number is finite."""
        return {
            "verdict": str(self.verdict),
            "cause": str(self.cause),
            "sentence": self.sentence,
            "gates": [gate.document() for gate in self.gates],
            "candidateCalls": self.candidate_calls,
            "neededCalls": self.needed_calls,
            "meter": self.meter.document(),
            "coldStarts": {"candidate": self.cold_candidate, "stable": self.cold_stable},
        }


def judge(
    evidence: Evidence, limits: Limits, *, duration_is_over: bool, needs_samples: bool
) -> Judgement:
    """The verdict of this moment; the same arguments give the same, bit by bit.

    Args:
        duration_is_over: the step has been observed for as long as it asks.
        needs_samples: PASS wants enough calls, and proof where the limits ask for it.
    """
    metrics = metrics_of(evidence, limits)
    gates = tuple(gate for metric in metrics for gate in gates_of(metric, evidence, limits))
    samples = _samples(metrics, evidence, limits)
    finding = (
        _harm(gates, carries_all=evidence.carries_all)
        or _staleness(evidence)
        or (_lack(samples, gates) if needs_samples else None)
        or _end(samples, duration_is_over=duration_is_over)
    )
    return Judgement(
        finding.verdict,
        finding.cause,
        finding.sentence,
        gates,
        samples.calls,
        samples.needed,
        min((_meter(metric, limits) for metric in metrics), key=lambda meter: meter.probability),
        _cold_share((cell.cold, cell.candidate) for cell in evidence.cells),
        _cold_share((cell.cold, cell.stable) for cell in evidence.cells),
    )


@dataclass(frozen=True, slots=True)
class _Finding:
    verdict: Verdict
    cause: Cause
    sentence: str


@dataclass(frozen=True, slots=True)
class _Samples:
    """Calls of the candidate, and how many PASS wants; of the metric that lacks most."""

    calls: int
    needed: int


def _harm(gates: Sequence[Gate], *, carries_all: bool) -> _Finding | None:
    """The lines of the verdict table that do not pass, over all metrics; FAIL before HELD."""
    by_metric: dict[str, dict[Kind, Gate]] = defaultdict(dict)
    for gate in gates:
        by_metric[gate.metric][gate.kind] = gate
    findings = [_harm_of(kinds, carries_all=carries_all) for kinds in by_metric.values()]
    known = [finding for finding in findings if finding is not None]
    return min(known, key=lambda finding: finding.verdict is not Verdict.FAIL, default=None)


def _harm_of(kinds: Mapping[Kind, Gate], *, carries_all: bool) -> _Finding | None:
    relative, absolute = kinds[Kind.RELATIVE], kinds.get(Kind.ABSOLUTE)
    if relative.has_crossed:
        return _Finding(Verdict.FAIL, Cause.NONE, f"Worse than stable: {relative.sentence}.")
    if absolute is None or not absolute.has_crossed:
        return None
    # An outage that begins after hours of health is long hidden in stable's sums. Then the
    # comparison knows: it leans to "not worse" (E < 1) at once.
    is_shared = kinds[Kind.STABLE].has_crossed or relative.log_e < 0
    if carries_all or not is_shared:
        return _Finding(Verdict.FAIL, Cause.NONE, f"Over the limit: {absolute.sentence}.")
    return _Finding(
        Verdict.HELD,
        Cause.SHARED_CAUSE,
        f"Over the limit, but stable fares no better, so the cause is shared: {relative.sentence}.",
    )


def _staleness(evidence: Evidence) -> _Finding | None:
    age = evidence.age_seconds
    if age is not None and age <= FRESH_SECONDS:
        return None
    said = "has never reported" if age is None else f"last reported {age:.1f} s ago"
    return _inconclusive(
        Cause.STALE_METRICS, f"A gateway {said}; PASS wants reports of the last {FRESH_SECONDS} s."
    )


def _lack(samples: _Samples, gates: Sequence[Gate]) -> _Finding | None:
    """What PASS still lacks besides time."""
    if samples.calls == 0:
        return _inconclusive(Cause.NO_TRAFFIC, "No call of the candidate counts yet.")
    if samples.calls < samples.needed:
        return _inconclusive(
            Cause.FEW_SAMPLES, f"{count(samples.calls)} of {count(samples.needed)} calls needed."
        )
    for gate in gates:
        is_unproven = gate.kind is Kind.PROOF and not gate.has_crossed
        if gate.is_held_back or gate.leans_to_harm or is_unproven:
            return _inconclusive(Cause.FEW_SAMPLES, f"{gate.sentence}.")
    return None


def _end(samples: _Samples, *, duration_is_over: bool) -> _Finding:
    seen = f"No sign of harm in {count(samples.calls)} calls"
    if duration_is_over:
        return _Finding(Verdict.PASS, Cause.NONE, f"{seen}.")
    return _inconclusive(Cause.TIME, f"{seen}; the time of the step is not over.")


def _inconclusive(cause: Cause, sentence: str) -> _Finding:
    return _Finding(Verdict.INCONCLUSIVE, cause, sentence)


def _samples(metrics: Iterable[Metric], evidence: Evidence, limits: Limits) -> _Samples:
    if limits.min_calls is not None:
        return _Samples(evidence.candidate.calls, limits.min_calls)
    return min(
        (_Samples(metric.candidate.calls, _needed(metric, limits)) for metric in metrics),
        key=lambda samples: samples.calls / samples.needed,
    )


def _needed(metric: Metric, limits: Limits) -> int:
    """Calls after which harm that is three times the limit would have been found."""
    limit = power.UNLIMITED_RATE if metric.limit is None else metric.limit
    return power.calls_until(limit, DETECTED_TIMES_WORSE, DETECTED_PROBABILITY, limits.alpha)


def _meter(metric: Metric, limits: Limits) -> Meter:
    if metric.limit is not None:
        worse = min(DETECTED_TIMES_WORSE, 1 / metric.limit)
        probability = power.caught_by(
            metric.limit, DETECTED_TIMES_WORSE, metric.candidate.count.trials, limits.alpha
        )
        over = f"the limit of {percent(metric.limit)}"
    else:
        worse = DETECTED_TIMES_WORSE
        probability = power.relative_caught_by(
            limits, worse, metric.candidate.count, metric.stable.count
        )
        over = "the stable version"
    return Meter(
        worse,
        probability,
        f"By now a {worse:.3g}x rise over {over} would have been caught with"
        f" {chance(probability)} ({metric.name}).",
        metric.candidate.count.trials,
    )


def _cold_share(arms: Iterable[tuple[bool, Arm]]) -> float:
    known = list(arms)
    calls = sum(arm.calls for _, arm in known)
    return sum(arm.calls for is_cold, arm in known if is_cold) / calls if calls else 0.0
