"""Comparing two means after any number of looks: asymptotic confidence sequences, with CUPED.

The interval is equation 9 of Waudby-Smith et al., arXiv:2103.06476, for the difference of two
means as GrowthBook uses it (packages/stats/gbstats/frequentist/tests.py). CUPED takes out what
a unit's value before the test explains: Deng et al., WSDM 2013.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deployments.analysis.wording import count

DECIDED_AT: Final = 5_000
"""Units of both arms at which the interval is narrowest, against other sequences."""

LEAST_UNITS: Final = 100
"""Of each arm; below, the normal approximation says nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Moments of a metric over the units of one arm.

    Attributes:
        variance, before_variance, covariance: of the units, with n - 1 in the denominator.
        before_mean: of the same metric before the test; units without one count as 0 in both
            arms alike, which keeps the comparison fair.
    """

    units: int
    mean: float = 0.0
    variance: float = 0.0
    before_mean: float = 0.0
    before_variance: float = 0.0
    covariance: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float], before: Sequence[float | None] = ()) -> "Sample":
        """From one value a unit.

        Args:
            before: of the same units in the same order; empty: of none.
        """
        units = len(values)
        if units == 0:
            return cls(0)
        earlier = [value or 0.0 for value in before] or [0.0] * units
        mean, before_mean = math.fsum(values) / units, math.fsum(earlier) / units
        off = [value - mean for value in values]
        before_off = [value - before_mean for value in earlier]
        return cls(
            units,
            mean,
            _mean_product(off, off),
            before_mean,
            _mean_product(before_off, before_off),
            _mean_product(off, before_off),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """How arm B's mean differs from arm A's.

    Attributes:
        mean_a, mean_b: with what the values before the test explain taken out.
        difference: B minus A.
        interval: of the difference; holds at all looks together with chance 1 - alpha. None
            with too few units.
        relative: difference as a share of A's mean, and `relative_interval` likewise; None
            where that mean is 0.
        p_value: valid at any look.
        variance_reduction: share of the variance that CUPED took out, 0 to 1.
    """

    units_a: int
    units_b: int
    mean_a: float
    mean_b: float
    difference: float
    interval: tuple[float, float] | None
    relative: float | None
    relative_interval: tuple[float, float] | None
    p_value: float
    is_significant: bool
    variance_reduction: float

    @property
    def sentence(self) -> str:
        """What a person may conclude."""
        if self.interval is None:
            return (
                f"{count(self.units_a)} and {count(self.units_b)} units: a comparison wants"
                f" {LEAST_UNITS} of each."
            )
        low, high = self.relative_interval or self.interval
        shown = _signed_percent if self.relative_interval else _signed
        said = f"{shown(low)} to {shown(high)}"
        if self.is_significant:
            word = "higher" if self.difference > 0 else "lower"
            return f"B is {word} than A, by {said}, however often one looks."
        return f"No difference is shown: B may be {said} from A."


def compare(a: Sample, b: Sample, alpha: float = 0.05) -> Comparison:
    """B against A; may be asked after every unit."""
    slope = _slope(a, b)
    middle = _pooled(a.before_mean, b.before_mean, a, b)
    mean_a, mean_b = (s.mean - slope * (s.before_mean - middle) for s in (a, b))
    difference = mean_b - mean_a
    plain, error = _squared_error(a, b, 0.0), _squared_error(a, b, slope)
    interval, p_value = None, 1.0
    if min(a.units, b.units) >= LEAST_UNITS:
        half, p_value = _half_width_and_p(difference, error, a.units + b.units, alpha)
        interval = (difference - half, difference + half)
    return Comparison(
        a.units,
        b.units,
        mean_a,
        mean_b,
        difference,
        interval,
        difference / abs(mean_a) if mean_a else None,
        (interval[0] / abs(mean_a), interval[1] / abs(mean_a)) if interval and mean_a else None,
        p_value,
        interval is not None and not interval[0] <= 0 <= interval[1],
        1 - error / plain if plain > 0 else 0.0,
    )


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _signed_percent(value: float) -> str:
    return f"{value * 100:+.3g} %"


def _mean_product(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(map(float.__mul__, left, right)) / max(1, len(left) - 1)


def _pooled(of_a: float, of_b: float, a: Sample, b: Sample) -> float:
    units = a.units + b.units
    return (a.units * of_a + b.units * of_b) / units if units else 0.0


def _slope(a: Sample, b: Sample) -> float:
    """What one more before the test means during it."""
    variance = _pooled(a.before_variance, b.before_variance, a, b)
    return _pooled(a.covariance, b.covariance, a, b) / variance if variance > 0 else 0.0


def _squared_error(a: Sample, b: Sample, slope: float) -> float:
    """Variance of the difference of means."""
    return math.fsum(
        max(0.0, s.variance - 2 * slope * s.covariance + slope * slope * s.before_variance)
        / s.units
        for s in (a, b)
        if s.units
    )


def _half_width_and_p(
    difference: float, squared_error: float, units: int, alpha: float
) -> tuple[float, float]:
    tuning = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / DECIDED_AT
    spread = units * tuning + 1
    # Both follow from |difference|^2 = error * factor * log(sqrt(spread) / alpha).
    factor = squared_error * 2 * spread / (units * tuning)
    half = math.sqrt(factor * math.log(math.sqrt(spread) / alpha))
    if factor == 0:
        return half, 1.0 if difference == 0 else 0.0
    return half, min(1.0, math.sqrt(spread) * math.exp(-difference * difference / factor))
