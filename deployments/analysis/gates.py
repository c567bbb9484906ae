"""The tests that a candidate is put to, and where each of them stands."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from deployments.analysis import eprocess
from deployments.analysis.eprocess import Count
from deployments.analysis.evidence import Arm, Cell, Evidence, total
from deployments.analysis.power import EVENTS_FLOOR, gate_threshold
from deployments.analysis.wording import count, e_value, percent
from deployments.types import Limits

SHARED_EVIDENCE: Final = 10.0
"""E-value at which stable is over the limit too. Weak: it only turns a rollback into a halt."""

WARNING: Final = math.log(10.0)
"""log E from which on nothing passes that was judged by enough calls."""

PROOF_EVIDENCE: Final = 20.0
"""E-value that proves health: a candidate at the limit is declared healthy in at most 5 %."""

CLIENTS_FLOOR: Final = 2
"""Clients that must have seen a failure, where more than one calls at all."""


class Kind(StrEnum):
    """What a gate asks."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    STABLE = "stable"
    PROOF = "proof"


@dataclass(frozen=True, slots=True)
class Gate:
    """One test and where it stands.

    Attributes:
        metric: "errors" or "slowness".
        kind: ABSOLUTE and RELATIVE roll back; STABLE asks whether the stable version is over
            the limit as well; PROOF whether health is shown.
        calls, events: of the candidate; for STABLE, of the stable version.
        threshold: log E from which on the gate has crossed.
        is_held_back: evidence enough, but of too few events or too few clients.
    """

    metric: str
    kind: Kind
    calls: int
    events: int
    log_e: float
    threshold: float
    is_held_back: bool
    sentence: str

    @property
    def has_crossed(self) -> bool:
        return self.log_e >= self.threshold and not self.is_held_back

    @property
    def leans_to_harm(self) -> bool:
        """Whether it warns: too little to roll back, too much to pass. A version that fails
        every call of one client among others gives such evidence until the next minute."""
        return self.kind in (Kind.ABSOLUTE, Kind.RELATIVE) and self.log_e >= WARNING

    def document(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "kind": str(self.kind),
            "calls": self.calls,
            "events": self.events,
            "logE": self.log_e,
            "threshold": self.threshold,
            "hasCrossed": self.has_crossed,
            "isHeldBack": self.is_held_back,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Side:
    """One version's calls as a metric counts them; the tests take `count`."""

    calls: int
    events: int
    count: Count


@dataclass(frozen=True, slots=True)
class Metric:
    """One question about calls.

    Attributes:
        did: completes "12 of 310 calls ...".
        limit: highest accepted rate; None: only the comparison with stable is asked for.
        candidate, stable: the calls that the limit is for.
        warm, cold: candidate and stable of calls drawn alike, to be compared.
        has_clients: the floor of two clients holds for its events.
    """

    name: str
    did: str
    limit: float | None
    candidate: Side
    stable: Side
    warm: tuple[tuple[Side, Side], ...]
    cold: tuple[tuple[Side, Side], ...]
    has_clients: bool


def metrics_of(evidence: Evidence, limits: Limits) -> tuple[Metric, ...]:
    """Errors, and slowness where it is limited."""
    warm, cold = evidence.of(cold=False), evidence.of(cold=True)
    errors = Metric(
        "errors", "failed", limits.error_rate,
        _failures(evidence.candidate), _failures(evidence.stable),
        _pairs(warm, _failures), _pairs(cold, _failures), has_clients=evidence.clients > 1,
    )  # fmt: skip
    if limits.slow_ms is None:
        return (errors,)
    # The limit is for warm calls: a candidate with little traffic starts more often, and that
    # is no regression. Cold calls are compared with stable's cold calls only.
    slowness = Metric(
        "slowness", f"took more than {count(limits.slow_ms)} ms", limits.slow_rate,
        _slow(total(cell.candidate for cell in warm)), _slow(total(cell.stable for cell in warm)),
        _pairs(warm, _slow), _pairs(cold, _slow), has_clients=False,
    )  # fmt: skip
    return errors, slowness


def gates_of(metric: Metric, evidence: Evidence, limits: Limits) -> Iterator[Gate]:
    """Every test of a metric."""
    threshold = gate_threshold(limits)
    floor = _Floor(metric, evidence)
    if metric.limit is not None:
        yield _absolute(metric, metric.limit, threshold, floor)
        yield _stable(metric, metric.limit)
    yield _relative(metric, limits.ratio, threshold, floor)
    if limits.needs_proof:
        yield _proof(metric, limits.ratio)


@dataclass(frozen=True, slots=True)
class _Floor:
    """What must have happened before evidence counts: one caller that repeats is no harm."""

    metric: Metric
    evidence: Evidence

    def is_missed(self, events: int) -> bool:
        return events < EVENTS_FLOOR or self._lacks_clients()

    def _lacks_clients(self) -> bool:
        return self.metric.has_clients and self.evidence.failing_clients < CLIENTS_FLOOR

    def sentence(self, events: int) -> str:
        """What is missing; only for evidence that is enough."""
        if events < EVENTS_FLOOR:
            return f"; counts from {EVENTS_FLOOR} such calls on"
        return f"; counts once {CLIENTS_FLOOR} clients have seen it"


def _absolute(metric: Metric, limit: float, threshold: float, floor: _Floor) -> Gate:
    log_e = eprocess.above(metric.candidate.count, limit)
    said = f"{_counted(metric.candidate, metric)}, at most {percent(limit)} are accepted"
    return _harm(metric, Kind.ABSOLUTE, metric.candidate, log_e, threshold, floor, said)


def _relative(metric: Metric, ratio: float, threshold: float, floor: _Floor) -> Gate:
    log_e = eprocess.either(
        eprocess.worse(_counts(metric.warm), ratio), eprocess.worse(_counts(metric.cold), ratio)
    )
    pairs = (*metric.warm, *metric.cold)
    candidate = _together(pair[0] for pair in pairs)
    stable = _together(pair[1] for pair in pairs)
    said = (
        f"{_counted(candidate, metric)}, and {_share(stable)} of the stable version's, at most"
        f" {ratio:g} times that rate is accepted"
    )
    return _harm(metric, Kind.RELATIVE, candidate, log_e, threshold, floor, said)


def _harm(
    metric: Metric,
    kind: Kind,
    side: Side,
    log_e: float,
    threshold: float,
    floor: _Floor,
    said: str,
) -> Gate:
    is_held_back = log_e >= threshold and floor.is_missed(side.events)
    sentence = f"{said}; {_standing(log_e, threshold)}"
    if is_held_back:
        sentence += floor.sentence(side.events)
    return Gate(
        metric.name, kind, side.calls, side.events, log_e, threshold, is_held_back, sentence
    )


def _stable(metric: Metric, limit: float) -> Gate:
    log_e = eprocess.above(metric.stable.count, limit)
    threshold = math.log(SHARED_EVIDENCE)
    sentence = (
        f"Stable version: {_counted(metric.stable, metric)}, at most {percent(limit)} are"
        f" accepted; {_standing(log_e, threshold)} for a shared cause"
    )
    return _plain(metric, Kind.STABLE, metric.stable, log_e, threshold, sentence)


def _proof(metric: Metric, ratio: float) -> Gate:
    threshold = math.log(PROOF_EVIDENCE)
    if metric.limit is not None:
        log_e = eprocess.below(metric.candidate.count, metric.limit)
        bound = percent(metric.limit)
    else:
        log_e = eprocess.not_worse(_counts((*metric.warm, *metric.cold)), ratio)
        bound = f"{ratio:g} times the stable version's rate"
    sentence = (
        f"{_counted(metric.candidate, metric)}; {_standing(log_e, threshold)} to prove that it is"
        f" under {bound}"
    )
    return _plain(metric, Kind.PROOF, metric.candidate, log_e, threshold, sentence)


def _plain(
    metric: Metric, kind: Kind, side: Side, log_e: float, threshold: float, sentence: str
) -> Gate:
    return Gate(metric.name, kind, side.calls, side.events, log_e, threshold, False, sentence)


def _standing(log_e: float, threshold: float) -> str:
    return f"evidence {e_value(log_e)} of {e_value(threshold)} needed"


def _counted(side: Side, metric: Metric) -> str:
    return f"{_share(side)} calls {metric.did}"


def _share(side: Side) -> str:
    return f"{count(side.events)} of {count(side.calls)}"


def _failures(arm: Arm) -> Side:
    return Side(arm.calls, arm.failed, eprocess.of_failures(arm.calls, arm.bad, arm.repeats))


def _slow(arm: Arm) -> Side:
    return Side(arm.calls, arm.slow, Count(arm.calls, arm.slow))


def _pairs(cells: Iterable[Cell], side: Callable[[Arm], Side]) -> tuple[tuple[Side, Side], ...]:
    return tuple((side(cell.candidate), side(cell.stable)) for cell in cells)


def _counts(pairs: Iterable[tuple[Side, Side]]) -> list[tuple[Count, Count]]:
    return [(candidate.count, stable.count) for candidate, stable in pairs]


def _together(sides: Iterable[Side]) -> Side:
    """Sums to be shown; no test takes its `count`."""
    known = list(sides)
    calls, events = sum(side.calls for side in known), sum(side.events for side in known)
    return Side(calls, events, Count(calls, events))
