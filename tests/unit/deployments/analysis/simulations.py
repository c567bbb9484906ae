"""Thousands of simulated rollouts at once, judged after every bad call of the candidate.

No test can cross at another call, so the calls between two are drawn in one go.
"""

import math
from dataclasses import dataclass

import numpy as np

from deployments.analysis import eprocess, gates, power
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
    """The relative gate over warm calls alone, of counts of shape (2, strata, runs)."""
    known = (trials[0] > 0) & (trials[1] > 0)
    odds = np.where(known, ratio * trials[0] / np.maximum(trials[1], 1), 0.0)
    both = np.where(known, events.sum(0), 0.0)
    growth = np.log1p(np.exp(_MULTIPLES)[:, None, None] * odds) - np.log1p(odds)
    terms = (np.where(known, events[0], 0.0) * _MULTIPLES[:, None, None] - both * growth).sum(1)
    return np.logaddexp(math.log(0.9) + log_mean_exp(terms), math.log(0.1))


def log_mean_exp(terms: np.ndarray) -> np.ndarray:
    top = terms.max(0)
    return top + np.log(np.exp(terms - top).mean(0))


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
