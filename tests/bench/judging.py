"""The judge of rollouts: how rarely it errs and how soon it sees harm. Computed, not timed."""

import time
from collections.abc import Iterator

from deployments.analysis import power
from deployments.types import Limits
from tests.bench.figures import Figure, at_least, at_most
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks
from tests.unit.deployments.analysis import simulations

RUNS = 10_000
LIMITS = Limits(error_rate=0.01)
PERCENT = 100.0


@benchmarks.register("judging")
def judging(lab: Lab) -> Iterator[Figure]:
    """Rollbacks of healthy versions, and calls until harm is seen (S1 to S11)."""
    runs = 1_000 if lab.quick else RUNS
    yield from _errors(runs)
    yield from _detection(runs)
    yield from _comparisons(runs)
    yield _meter()


def _errors(runs: int) -> Iterator[Figure]:
    """What must not be rolled back."""
    at_limit = power.Curve(power.absolute(0.01, LIMITS.alpha), 0.01).at(20_000)
    late, at_once = simulations.late_outage(runs), simulations.shared_outage(runs)
    for name, share, most in (
        ("judge_false_rollback", simulations.false_rollbacks(runs), 0.2),
        ("judge_false_at_limit", simulations.false_at_the_limit(runs), 0.4),
        ("judge_false_at_limit_exact", at_limit, 0.25),
        ("judge_false_at_ratio", simulations.false_at_the_ratio(runs), 0.4),
        ("judge_shared_outage_rollback", at_once.share_failed(), 1),
        ("judge_late_outage_rollback", late.share_failed(), 1),
        ("judge_bursts_rollback", simulations.bursts(runs), 1),
        ("judge_cold_rollback", simulations.cold_candidate(runs), 1),
    ):
        yield Figure(name, share * PERCENT, "%", at_most(most))
    held = float((at_once.held < simulations.FAR).mean())
    yield Figure("judge_shared_outage_held", held * PERCENT, "%", at_least(99))
    singly = simulations.bursts_counted_singly(runs)
    yield Figure("judge_bursts_counted_singly", singly * PERCENT, "%")


def _detection(runs: int) -> Iterator[Figure]:
    """Calls of the candidate until harm is seen, exact, at a limit of 1 %."""
    for times, probability, most in (
        (2, 0.95, 4_300), (3, 0.95, 1_300), (3, 0.99, 1_700), (5, 0.95, 425), (5, 0.99, 550),
        (50, 0.99, 20), (100, 0.99, 5),
    ):  # fmt: skip
        calls = power.calls_to_detect(LIMITS, times, probability)
        yield Figure(f"judge_{times}x_{probability * 100:.0f}_calls", calls, "calls", at_most(most))
    caught = simulations.caught_by_comparison(runs)
    yield Figure("judge_relative_5x_by_850", caught * PERCENT, "%", at_least(95))
    for times, calls, most in ((3, 1_300, 5.0), (5, 550, 1.0)):
        missed = 1 - power.detection_probability(LIMITS, times, calls)
        yield Figure(f"judge_missed_{times}x", missed * PERCENT, "%", at_most(most))


def _comparisons(runs: int) -> Iterator[Figure]:
    """A/B tests."""
    for name, share, goal in (
        ("ab_false", simulations.looks_of_two_arms(runs, 20_000, 0.1, 0.1, 12), at_most(5)),
        (
            "ab_rise_found",
            simulations.looks_of_two_arms(2_000, 20_000, 0.1, 0.12, 13),
            at_least(99),
        ),
        ("ab_split_false", simulations.split_alarms(runs, 0.5, 5_000), at_most(0.1)),
        ("ab_split_found", simulations.split_alarms(200, 0.52, 50_000), at_least(99)),
    ):
        yield Figure(name, share * PERCENT, "%", goal)


def _meter() -> Figure:
    """The evidence meter, once its curve is known; the worst of three limits."""
    longest = 0.0
    for limit in (0.001, 0.01, 0.05):
        limits = Limits(error_rate=limit)
        power.detection_probability(limits, 3, 10**6)
        for calls in range(0, 10**6, 10**4):
            started = time.perf_counter()
            power.detection_probability(limits, 3, calls)
            longest = max(longest, time.perf_counter() - started)
    return Figure("judge_meter_ms", longest * 1000, "ms", at_most(5))
