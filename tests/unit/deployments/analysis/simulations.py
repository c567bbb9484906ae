"""Thousands of simulated rollouts at once, judged after every bad call of the candidate.

No test can cross at another call, so the calls between two are drawn in one go.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from deployments.analysis import eprocess, gates, power, srm
from deployments.analysis.sequence import DECIDED_AT
from deployments.types import Limits

LIMITS = Limits(error_rate=0.01)
THRESHOLD = power.gate_threshold(LIMITS)
FAR = 10**9

_MULTIPLES = np.log(np.array(eprocess.WORSE))


@dataclass(frozen=True)
class Stretch:
    """Calls drawn alike: the share and the calls of the candidate, the rate of events of both."""

    share: float
    calls: int
    candidate: float
    stable: float


@dataclass(frozen=True)
class Outcome:
    """Per rollout the candidate's calls until it happened; FAR where it did not."""

    failed: np.ndarray
    held: np.ndarray
    absolute: np.ndarray
    relative: np.ndarray

    def share_failed(self, by: int = FAR - 1) -> float:
        return float(np.mean(self.failed <= by))


class Fleet:
    """Rollouts side by side: one metric, one stratum of calls, several stretches.

    Args:
        burst: failures in a row of the same client, which count as one; rates are of failures.
    """

    def __init__(self, runs: int, stretches: list[Stretch], seed: int, burst: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._stretches = stretches
        self._burst = burst
        shape = (len(stretches), runs)
        self._trials = np.zeros((2, *shape))
        self._events = np.zeros((2, *shape))
        self._at = {name: np.full(runs, FAR) for name in ("failed", "held", "absolute", "relative")}

    def run(self, *, limit: float = 0.01, ratio: float = 1.5) -> Outcome:
        """Every rollout to the end of its last stretch."""
        for index, stretch in enumerate(self._stretches):
            going = np.ones(self._trials.shape[2], dtype=bool)
            while going.any():
                self._next_event(index, stretch, going)
                going &= (self._trials[0, index] < stretch.calls) & (self._at["failed"] == FAR)
                self._look(going, limit, ratio)
        return Outcome(**self._at)

    def _next_event(self, index: int, stretch: Stretch, going: np.ndarray) -> None:
        calls = self._random.geometric(stretch.candidate / self._burst, int(going.sum()))
        beside = self._random.negative_binomial(calls, stretch.share)
        bad_beside = self._random.binomial(beside, stretch.stable / self._burst)
        self._trials[:, index, going] += np.stack([calls, beside])
        self._events[:, index, going] += np.stack([np.ones_like(calls), bad_beside])

    def _look(self, going: np.ndarray, limit: float, ratio: float) -> None:
        """Judge by the verdict table; the floor counts every failure of a burst."""
        trials, events = self._trials[..., going], self._events[..., going]
        calls, bad = trials.sum(1), events.sum(1)
        has_floor = bad[0] * self._burst >= power.EVENTS_FLOOR
        absolute = has_floor & (above(bad[0], calls[0] / self._burst, limit) >= THRESHOLD)
        shared = above(bad[1], calls[1] / self._burst, limit) >= math.log(gates.SHARED_EVIDENCE)
        comparison = worse(trials, events, ratio)
        comparison = either(comparison, np.zeros_like(comparison))
        relative = has_floor & (comparison >= THRESHOLD)
        shared |= comparison < 0
        for name, happened in (
            ("absolute", absolute),
            ("relative", relative),
            ("failed", relative | (absolute & ~shared)),
            ("held", absolute & shared & ~relative),
        ):
            first = np.where(happened, calls[0], FAR)
            self._at[name][going] = np.minimum(self._at[name][going], first)


def above(events: np.ndarray, trials: np.ndarray, limit: float) -> np.ndarray:
    """`eprocess.above` of many counts."""
    rates = np.array(eprocess.rates_above(limit))[:, None]
    return log_mean_exp(
        events * np.log(rates / limit) + (trials - events) * np.log((1 - rates) / (1 - limit))
    )


def worse(trials: np.ndarray, events: np.ndarray, ratio: float) -> np.ndarray:
    """`eprocess.worse` of many counts of shape (2, strata, runs)."""
    known = (trials[0] > 0) & (trials[1] > 0)
    odds = np.where(known, ratio * trials[0] / np.maximum(trials[1], 1), 0.0)
    both = np.where(known, events.sum(0), 0.0)
    growth = np.log1p(np.exp(_MULTIPLES)[:, None, None] * odds) - np.log1p(odds)
    terms = (np.where(known, events[0], 0.0) * _MULTIPLES[:, None, None] - both * growth).sum(1)
    return log_mean_exp(terms)


def either(warm: np.ndarray, cold: np.ndarray) -> np.ndarray:
    """`eprocess.either` of many."""
    return np.logaddexp(
        np.logaddexp(math.log(0.5) + warm + cold, math.log(0.4) + warm), math.log(0.1) + cold
    )


def log_mean_exp(terms: np.ndarray) -> np.ndarray:
    top = terms.max(0)
    return top + np.log(np.exp(terms - top).mean(0))


def schedule(candidate: float, stable: float, calls: int) -> list[Stretch]:
    """10, 25 and 50 % of the traffic, a third of the candidate's calls each."""
    return [Stretch(share, calls // 3, candidate, stable) for share in (0.1, 0.25, 0.5)]


def false_rollbacks(runs: int) -> float:
    """S1: half of the limit in both versions, 20,000 calls, errors and slowness judged."""
    healthy = schedule(0.005, 0.005, 20_000)
    errors, slowness = (Fleet(runs, healthy, seed).run() for seed in (1, 2))
    return float(np.mean(np.minimum(errors.failed, slowness.failed) < FAR))


def false_at_the_limit(runs: int) -> float:
    """S2: the absolute gate where the rate is the limit itself, 20,000 calls."""
    outcome = Fleet(runs, [Stretch(0.1, 20_000, 0.01, 0.01)], 3).run()
    return float(np.mean(outcome.absolute < FAR))


def false_at_the_ratio(runs: int) -> float:
    """S2: the comparison where the candidate is as much worse as is accepted."""
    outcome = Fleet(runs, [Stretch(0.5, 5_000, 0.03, 0.02)], 4).run(limit=0.5)
    return float(np.mean(outcome.relative < FAR))


def caught_by_comparison(runs: int) -> float:
    """S6: five times stable at 10 % of the traffic, by 850 calls of the candidate."""
    outcome = Fleet(runs, [Stretch(0.1, 850, 0.05, 0.01)], 5).run(limit=0.5)
    return float(np.mean(outcome.relative < FAR))


def shared_outage(runs: int) -> Outcome:
    """S7: 30 % errors in both versions from the first call on."""
    return Fleet(runs, schedule(0.3, 0.3, 300), 6).run()


def late_outage(runs: int, share: float = 0.5) -> Outcome:
    """S7: the same after 1,000 healthy calls of the candidate."""
    stretches = [Stretch(share, 1_000, 0.001, 0.001), Stretch(share, 300, 0.3, 0.3)]
    return Fleet(runs, stretches, 7).run()


def bursts(runs: int) -> float:
    """S8: half of the limit, all failures in bursts of five of one client."""
    return Fleet(runs, schedule(0.005, 0.005, 20_000), 8, burst=5).run().share_failed()


def bursts_counted_singly(runs: int) -> float:
    """What S8 would be if every failure of a burst counted."""
    random = np.random.default_rng(8)
    calls = random.geometric(0.001, (runs, 40)).cumsum(1)
    failures = np.tile(5 * np.arange(1, 41), runs)
    crossed = above(failures, calls.ravel(), 0.01).reshape(runs, 40) >= THRESHOLD
    return float(np.mean((crossed & (calls <= 20_000)).any(1)))


def cold_candidate(runs: int, looks: int = 100) -> float:
    """S10: 10 % cold calls against 1 %, nearly all of them slow; 0.5 % of warm calls are slow."""
    random = np.random.default_rng(9)
    trials, events = {}, {}
    for side, (calls, cold) in enumerate([(50, 0.1), (450, 0.01)]):
        starts = random.binomial(calls, cold, (runs, looks))
        for is_cold, of in ((True, starts), (False, calls - starts)):
            slow = random.binomial(of, 0.95 if is_cold else 0.005)
            trials[is_cold, side] = of.cumsum(1).ravel()
            events[is_cold, side] = slow.cumsum(1).ravel()
    warm, cold = (
        worse(
            np.array([[trials[is_cold, 0]], [trials[is_cold, 1]]]),
            np.array([[events[is_cold, 0]], [events[is_cold, 1]]]),
            1.5,
        )
        for is_cold in (False, True)
    )
    absolute = above(events[False, 0], trials[False, 0], 0.01) >= THRESHOLD
    crossed = absolute | (either(warm, cold) >= THRESHOLD)
    return float(crossed.reshape(runs, looks).any(1).mean())


def split_alarms(runs: int, share: float, units: int = 20_000) -> float:
    """S11: share of tests, intended half and half, with an alarm at any of their units."""
    random = np.random.default_rng(10)
    n = np.arange(1, units + 1)
    prior = srm.CONCENTRATION / 2
    alone = gammaln(srm.CONCENTRATION) - gammaln(srm.CONCENTRATION + n) - n * math.log(0.5)
    alarms = 0
    for _ in range(runs):
        x = (random.random(units) < share).cumsum()
        factor = alone + gammaln(prior + x) + gammaln(prior + n - x) - 2 * gammaln(prior)
        alarms += bool((factor >= math.log(1 / srm.ALPHA)).any())
    return alarms / runs


def looks_of_two_arms(
    runs: int, units: int, rate_a: float, rate_b: float, seed: int, looks: int = 400
) -> float:
    """Share of A/B tests on a rate that are ever significant at 5 %, looked at `looks` times."""
    random = np.random.default_rng(seed)
    step = units // looks
    n = step * np.arange(1, looks + 1)
    a = random.binomial(step, rate_a, (runs, looks)).cumsum(1) / n
    b = random.binomial(step, rate_b, (runs, looks)).cumsum(1) / n
    error = (a * (1 - a) + b * (1 - b)) / (n - 1)
    tuning = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / DECIDED_AT
    spread = 2 * n * tuning + 1
    half = np.sqrt(error * spread / (n * tuning) * np.log(np.sqrt(spread) / 0.05))
    return float((np.abs(b - a) > half)[:, n >= 100].any(1).mean())
