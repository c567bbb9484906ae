"""C51: moments, normal quantiles and the confidence sequence tie out with numpy and scipy."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from deployments.analysis.sequence import DECIDED_AT, Comparison, Sample, compare


def conversions(units: int, rate: float, seed: int) -> list[float]:
    return [float(x) for x in np.random.default_rng(seed).random(units) < rate]


class TestSample:
    def test_moments_are_numpys(self) -> None:
        random = np.random.default_rng(1)
        before = random.normal(3, 2, 500)
        values = before + random.normal(1, 1, 500)

        sample = Sample.of(values.tolist(), before.tolist())

        covariance = np.cov(values, before)
        assert (sample.units, sample.mean, sample.before_mean) == (
            500,
            pytest.approx(values.mean()),
            pytest.approx(before.mean()),
        )
        assert [sample.variance, sample.covariance, sample.before_variance] == pytest.approx(
            [covariance[0, 0], covariance[0, 1], covariance[1, 1]]
        )

    def test_may_be_empty_or_one(self) -> None:
        assert Sample.of([]) == Sample(0)
        assert Sample.of([5.0]) == Sample(1, 5.0)

    def test_units_without_an_earlier_value_count_as_zero(self) -> None:
        assert Sample.of([1.0, 2.0], [None, 4.0]) == Sample.of([1.0, 2.0], [0.0, 4.0])


class TestInterval:
    def test_is_that_of_the_paper(self) -> None:
        """Equation 9 of arXiv:2103.06476, with scipy solving for the p-value."""
        a, b = Sample(4_000, 0.10, 0.09), Sample(4_200, 0.12, 0.1056)

        found = compare(a, b, alpha=0.05)

        error, n = 0.09 / 4_000 + 0.1056 / 4_200, 8_200
        rho = math.sqrt((-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / DECIDED_AT)

        def half(alpha: float) -> float:
            spread = n * rho**2 + 1
            inside = 2 * spread / (n**2 * rho**2) * math.log(math.sqrt(spread) / alpha)
            return math.sqrt(error * n) * math.sqrt(inside)

        assert found.interval == pytest.approx((0.02 - half(0.05), 0.02 + half(0.05)))
        exact = optimize.brentq(lambda alpha: half(alpha) - 0.02, 1e-12, 1)
        assert found.p_value == pytest.approx(exact)

    def test_is_wider_than_one_that_is_looked_at_once(self) -> None:
        a, b = Sample(2_500, 0.1, 0.09), Sample(2_500, 0.1, 0.09)

        interval = compare(a, b).interval

        assert interval is not None
        fixed = stats.norm.ppf(0.975) * math.sqrt(2 * 0.09 / 2_500)
        assert 1.2 < interval[1] / fixed < 2

    def test_there_is_none_for_too_few_units(self) -> None:
        found = compare(Sample.of([0.0] * 99), Sample.of([1.0] * 5_000))

        assert (found.interval, found.relative_interval, found.is_significant) == (
            None,
            None,
            False,
        )
        assert found.sentence == "99 and 5,000 units: a comparison wants 100 of each."
        assert compare(Sample(0), Sample(0)).p_value == 1

    def test_holds_for_constants(self) -> None:
        """C48: zero variance, zero mean."""
        same = compare(Sample.of([0.0] * 200), Sample.of([0.0] * 200))
        apart = compare(Sample.of([0.0] * 200), Sample.of([1.0] * 200))

        assert (same.is_significant, same.p_value, same.relative) == (False, 1.0, None)
        assert (apart.is_significant, apart.p_value) == (True, 0.0)
        assert apart.sentence == "B is higher than A, by +1 to +1, however often one looks."


class TestComparison:
    def test_shows_a_rise(self) -> None:
        found = compare(
            Sample.of(conversions(20_000, 0.10, 1)), Sample.of(conversions(20_000, 0.12, 2))
        )

        assert found.is_significant
        assert found.relative == pytest.approx(0.2, abs=0.06)
        assert found.sentence.startswith("B is higher than A, by +")

    def test_shows_a_fall_of_a_negative_mean_with_its_sign(self) -> None:
        a = Sample.of([value - 1 for value in conversions(20_000, 0.5, 1)])
        b = Sample.of([value - 1.2 for value in conversions(20_000, 0.5, 2)])

        found = compare(a, b)

        assert found.relative is not None
        assert found.relative < 0 > found.difference
        assert found.sentence.startswith("B is lower than A, by -")

    def test_says_so_where_nothing_is_shown(self) -> None:
        found = compare(
            Sample.of(conversions(2_000, 0.10, 1)), Sample.of(conversions(2_000, 0.10, 2))
        )

        assert not found.is_significant
        assert found.sentence.startswith("No difference is shown: B may be -")


class TestCuped:
    def test_takes_out_what_the_time_before_explains(self) -> None:
        """Variance falls by the squared correlation: Deng et al., WSDM 2013."""
        a, b = _correlated(0.8, shift=0.0, seed=1), _correlated(0.8, shift=0.1, seed=2)

        with_before, without = compare(a, b), compare(_without(a), _without(b))

        assert with_before.variance_reduction == pytest.approx(0.64, abs=0.03)
        assert without.variance_reduction == 0
        assert _width(with_before) == pytest.approx(0.6 * _width(without), rel=0.05)
        assert with_before.difference == pytest.approx(0.1, abs=0.04)

    def test_mends_an_unlucky_draw(self) -> None:
        """Arm B drew better units; their past says so."""
        a, b = _correlated(0.9, 0.0, seed=3), _correlated(0.9, 0.0, seed=4, offset=0.5)

        found = compare(a, b)

        assert b.mean - a.mean > 0.3
        assert abs(found.difference) < 0.1


def _correlated(correlation: float, shift: float, seed: int, offset: float = 0.0) -> Sample:
    random = np.random.default_rng(seed)
    before = random.normal(offset, 1, 5_000)
    noise = random.normal(0, math.sqrt(1 - correlation**2), 5_000)
    return Sample.of((correlation * before + noise + shift).tolist(), before.tolist())


def _without(sample: Sample) -> Sample:
    return Sample(sample.units, sample.mean, sample.variance)


def _width(comparison: Comparison) -> float:
    assert comparison.interval is not None
    return comparison.interval[1] - comparison.interval[0]
