"""How soon the judge sees a given harm: exact, by dynamic programming over calls.

With every call the number of bad ones stays or rises by one. Which numbers the test rolls back
at is known beforehand, so the chance to have arrived at one of them by the n-th call is a
walk with an absorbing edge. Nothing is drawn at random and nothing is approximated, but that
rates below `FINEST` are taken as `FINEST` with calls in proportion (tests/unit says how little
that changes).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from deployments.analysis import eprocess
from deployments.analysis.eprocess import Count
from deployments.types import ALL, Bps, Limits

GATES: Final = 4
"""Errors and slowness, each by the absolute and the relative test, share `Limits.alpha`."""

EVENTS_FLOOR: Final = 5
"""Bad calls before any of them rolls back."""

FINEST: Final = 0.001
LEAST_TIMES_WORSE: Final = 1.5
UNLIMITED_RATE: Final = 0.01
"""What stands for a limit where only the comparison with stable is asked for."""

MOST_EVENTS: Final = 2_000
"""Of both versions that a comparison's meter follows."""

_NEVER: Final = -1
_NOTHING: Final = 1e-18


def gate_threshold(limits: Limits) -> float:
    """log E at which a gate has crossed."""
    return math.log(GATES / limits.alpha)


def calls_to_detect(limits: Limits, times_worse: float, probability: float) -> int:
    """Calls of the candidate until a rate of `times_worse` the limit is found so likely.

    For every limit that is judged: the most calls. Raises ValueError below 1.5 times.
    """
    return max(calls_until(rate, times_worse, probability, limits.alpha) for rate in judged(limits))


def detection_probability(limits: Limits, times_worse: float, calls: int) -> float:
    """Chance that so many calls have shown a rate of `times_worse` the limit."""
    return min(caught_by(rate, times_worse, calls, limits.alpha) for rate in judged(limits))


def seconds_to_detect(
    limits: Limits,
    times_worse: float,
    probability: float,
    *,
    calls_per_second: float,
    weight: Bps,
) -> float | None:
    """Time for `calls_to_detect` at this traffic; None when no call reaches the candidate."""
    rate = calls_per_second * weight / ALL
    return calls_to_detect(limits, times_worse, probability) / rate if rate > 0 else None


def judged(limits: Limits) -> tuple[float, ...]:
    """The highest accepted rates, of failed and of slow calls."""
    errors = UNLIMITED_RATE if limits.error_rate is None else limits.error_rate
    return (errors,) if limits.slow_ms is None else (errors, limits.slow_rate)


def calls_until(limit: float, times_worse: float, probability: float, alpha: float) -> int:
    """`calls_to_detect` of one limit."""
    scale = max(1.0, FINEST / limit)
    return math.ceil(_curve(limit * scale, times_worse, alpha).first(probability) * scale)


def caught_by(limit: float, times_worse: float, calls: float, alpha: float) -> float:
    """`detection_probability` of one limit."""
    scale = max(1.0, FINEST / limit)
    return _curve(limit * scale, times_worse, alpha).at(int(calls / scale))


def relative_caught_by(
    limits: Limits, times_worse: float, candidate: Count, stable: Count
) -> float:
    """Chance that the comparison has found a rate of `times_worse` stable's by these calls.

    Stable's rate is taken as it was seen, and the candidate's share to whole percents. At
    least that: no more than `MOST_EVENTS` are followed.
    """
    share = round(candidate.trials / max(1.0, candidate.trials + stable.trials), 2)
    stable_rate = (stable.events + 0.5) / (stable.trials + 1)
    times = min(times_worse, round(1 / stable_rate, 2))
    if not 0 < share < 1 or times < limits.ratio * eprocess.WORSE[0]:
        return 0.0
    events = stable_rate * (candidate.trials * times + stable.trials)
    curve = _relative_curve(limits.ratio, share, times, limits.alpha)
    return poisson_mean(curve.at, min(events, MOST_EVENTS))


def poisson_mean(value: Callable[[int], float], mean: float) -> float:
    """Mean of value(N), 0 to 1 and never falling, for N ~ Poisson(mean)."""
    reach = 8 * math.sqrt(mean) + 8
    low, high = max(0, int(mean - reach)), int(mean + reach)
    result = 0.0
    for events in range(low, high + 1):
        weight = math.exp(events * math.log(mean) - mean - math.lgamma(events + 1))
        result += weight * value(events)
    return min(1.0, result)


@dataclass(frozen=True, slots=True)
class Test:
    """One e-process for a rate, and when it has crossed.

    Attributes:
        null: the highest accepted rate.
        rates: what it bets on, all above `null`.
        threshold: log E at which it has crossed.
        floor: events below which it never has.
    """

    null: float
    rates: tuple[float, ...]
    threshold: float
    floor: int = EVENTS_FLOOR

    def log_e(self, events: int, trials: int) -> float:
        return eprocess.rate_log_e(Count(trials, events), self.null, self.rates)

    def last_crossed(self, events: int, at_least: int) -> int:
        """Most trials at which so many events are across; -1 for none.

        Args:
            at_least: the same for one event less, where to begin; log E falls with trials.
        """
        low = max(at_least, events)
        if events < self.floor or self.log_e(events, low) < self.threshold:
            return _NEVER
        step = 1
        while self.log_e(events, low + step) >= self.threshold:
            low, step = low + step, step * 2
        while step > 1:
            step //= 2
            if self.log_e(events, low + step) >= self.threshold:
                low += step
        return low


def absolute(limit: float, alpha: float, floor: int = EVENTS_FLOOR) -> Test:
    """Test A at its share of alpha."""
    return Test(limit, eprocess.rates_above(limit), math.log(GATES / alpha), floor)


def relative(ratio: float, share: float, alpha: float, floor: int = EVENTS_FLOOR) -> Test:
    """Test R at its share of alpha: of all events, which ones are the candidate's.

    Args:
        share: of the calls that are the candidate's. The floor counts events of both versions
            here, which only matters where nearly all calls are the candidate's.
    """
    return Test(
        share_of_events(share, ratio),
        tuple(share_of_events(share, ratio * multiple) for multiple in eprocess.WORSE),
        math.log(GATES / alpha),
        floor,
    )


def share_of_events(share: float, ratio: float) -> float:
    """Chance that an event is the candidate's when its rate is `ratio` times stable's."""
    return share * ratio / (share * ratio + 1 - share)


class Curve:
    """Chance that a test has crossed by the n-th trial, for n = 0, 1, ...

    Grows as far as it is asked for and remembers.

    Args:
        true_rate: of events, 0 to 1.
    """

    def __init__(self, test: Test, true_rate: float) -> None:
        self._test = test
        self._rate = true_rate
        self._crossed = [0.0]
        # Chance of _low, _low + 1, ... events so far without having crossed.
        self._low = 0
        self._mass = [1.0]
        # For each number of events the most trials at which it is across.
        self._last = [_NEVER]

    def at(self, trials: int) -> float:
        """The chance by so many trials."""
        while len(self._crossed) <= trials and self._mass:
            self._step()
        return self._crossed[min(trials, len(self._crossed) - 1)]

    def first(self, probability: float) -> int:
        """Trials after which the chance is at least so high, 0 < probability < 1."""
        low, high = 0, 1
        while self.at(high) < probability:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.at(middle) >= probability else (middle, high)
        return high

    def _step(self) -> None:
        trial = len(self._crossed)
        stays, rises = 1 - self._rate, self._rate
        mass = [
            here * stays + below * rises
            for here, below in zip([*self._mass, 0.0], [0.0, *self._mass], strict=True)
        ]
        crossed = 0.0
        while mass and self._is_across(self._low + len(mass) - 1, trial):
            crossed += mass.pop()
        gone = 0
        while gone < len(mass) and mass[gone] < _NOTHING:
            gone += 1
        while len(mass) > gone and mass[-1] < _NOTHING:
            mass.pop()
        self._mass = mass[gone:]
        self._low += gone
        self._crossed.append(min(1.0, self._crossed[-1] + crossed))

    def _is_across(self, events: int, trial: int) -> bool:
        while len(self._last) <= events:
            self._last.append(self._test.last_crossed(len(self._last), max(self._last[-1], 0)))
        return trial <= self._last[events]


@lru_cache(maxsize=64)
def _curve(limit: float, times_worse: float, alpha: float) -> Curve:
    if times_worse < LEAST_TIMES_WORSE:
        raise ValueError(f"times worse must be at least {LEAST_TIMES_WORSE:g}")
    return Curve(absolute(limit, alpha), min(1.0, limit * times_worse))


@lru_cache(maxsize=64)
def _relative_curve(ratio: float, share: float, times_worse: float, alpha: float) -> Curve:
    return Curve(relative(ratio, share, alpha), share_of_events(share, times_worse))
