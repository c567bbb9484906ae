"""delivery.md 6.4 and 6.6 exactly, by dynamic programming; checked by brute force and scipy."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deployments.analysis import eprocess, power
from deployments.analysis.eprocess import Count
from deployments.analysis.power import Curve, absolute
from deployments.types import Limits

ALPHA = 0.01
PER_CENT = Limits(error_rate=0.01)


class TestExactPerformance:
    @pytest.mark.parametrize(
        ("limit", "rate", "calls"),
        [
            (0.01, 0.02, (1872, 4223, 5462)),
            (0.01, 0.03, (529, 1282, 1675)),
            (0.01, 0.05, (164, 417, 544)),
            (0.01, 0.10, (45, 124, 166)),
            (0.01, 0.20, (17, 43, 60)),
            (0.01, 0.25, (11, 32, 42)),
            (0.01, 0.50, (5, 11, 16)),
            (0.01, 1.00, (2, 2, 2)),
            (0.001, 0.003, (5318, 13107, 17113)),
            (0.001, 0.005, (1651, 4236, 5659)),
            (0.001, 0.010, (452, 1275, 1704)),
        ],
    )
    def test_calls_until_a_rate_is_caught_in_50_95_and_99_percent(
        self, limit: float, rate: float, calls: tuple[int, ...]
    ) -> None:
        """The table of the design, without the floor of five events."""
        curve = Curve(absolute(limit, ALPHA, floor=1), rate)

        assert tuple(curve.first(share) for share in (0.5, 0.95, 0.99)) == calls

    @pytest.mark.parametrize(("part", "share"), [(0.25, 1e-5), (0.5, 6e-5), (1.0, 0.00124)])
    def test_false_rollbacks_of_one_gate_within_20_000_calls(
        self, part: float, share: float
    ) -> None:
        """S2: 0.124 % where the rate is the limit itself; the guarantee is 0.25 %."""
        found = Curve(absolute(0.01, ALPHA, floor=1), 0.01 * part).at(20_000)

        assert found == pytest.approx(share, rel=0.1)
        assert found <= ALPHA / 4

    def test_five_times_the_limit_is_caught_in_time(self) -> None:
        """S3, with the floor."""
        assert power.calls_to_detect(PER_CENT, 5, 0.95) <= 425
        assert power.calls_to_detect(PER_CENT, 5, 0.99) <= 550

    def test_two_and_three_times_the_limit_are_caught_in_time(self) -> None:
        """S4."""
        assert power.calls_to_detect(PER_CENT, 3, 0.95) <= 1_300
        assert power.calls_to_detect(PER_CENT, 3, 0.99) <= 1_700
        assert power.calls_to_detect(PER_CENT, 2, 0.95) <= 4_300

    @pytest.mark.parametrize("limit", [0.001, 0.01, 0.05])
    def test_a_dead_version_is_caught_at_the_floor(self, limit: float) -> None:
        """S5: five calls."""
        assert power.calls_to_detect(Limits(error_rate=limit), 1 / limit, 0.999) == 5

    def test_half_broken_is_caught_in_twenty_calls(self) -> None:
        """S5, in 99 %; at a limit of 5 % it takes 27."""
        assert power.calls_to_detect(PER_CENT, 50, 0.99) <= 20
        assert power.calls_to_detect(Limits(error_rate=0.05), 10, 0.99) == 27

    def test_a_comparison_catches_five_times_stable(self) -> None:
        """S6: at 10 %, 1.5 times accepted: 95 % by 850 calls of the candidate."""
        stable = Count(9 * 850, 9 * 850 // 100)

        assert power.relative_caught_by(PER_CENT, 5, Count(850, 0), stable) >= 0.95

    def test_what_passes_is_seldom_bad(self) -> None:
        """S9: a version of three times the limit, promoted after the calls that PASS wants."""
        needed = power.calls_to_detect(PER_CENT, 3, 0.95)

        assert 1 - power.detection_probability(PER_CENT, 3, max(needed, 1_300)) <= 0.05
        assert 1 - power.detection_probability(PER_CENT, 5, 550) <= 0.01

    def test_proof_of_health_is_seldom_wrong(self) -> None:
        """0 errors prove it after 376 calls; at the limit at most 5 % are declared healthy."""
        calls = next(n for n in range(1, 999) if eprocess.below(Count(n, 0), 0.01) >= math.log(20))

        assert calls == 376
        assert _ever(lambda c: eprocess.below(c, 0.01) >= math.log(20), 0.01, 1_500) <= 0.05


class TestCurve:
    @pytest.mark.parametrize("limit", [0.02, 0.05, 0.3])
    def test_is_what_brute_force_finds(self, limit: float) -> None:
        test = absolute(limit, ALPHA)
        threshold = math.log(400)

        found = [Curve(test, min(1, 3 * limit)).at(n) for n in (0, 10, 200)]

        assert found == pytest.approx(
            [
                _ever(
                    lambda c: c.events >= 5 and eprocess.above(c, limit) >= threshold,
                    min(1, 3 * limit),
                    n,
                )
                for n in (0, 10, 200)
            ],
            abs=1e-12,
        )

    def test_first_crossings_of_a_dead_version_are_binomial_tails(self) -> None:
        """Below a floor of events that decides alone, the chance is a tail of scipy's."""
        test = power.Test(0.001, (0.5,), 1.0, floor=5)

        for n in (5, 8, 30):
            assert Curve(test, 0.4).at(n) == pytest.approx(stats.binom.sf(4, n, 0.4), abs=1e-12)

    @settings(deadline=None)
    @given(st.integers(5, 60), st.floats(0.002, 0.9), st.integers(0, 300))
    def test_the_edge_is_where_evidence_falls_below_the_threshold(
        self, events: int, limit: float, at_least: int
    ) -> None:
        test = absolute(limit, ALPHA)
        last = test.last_crossed(events, 0)

        if last < 0:
            assert test.log_e(events, events) < test.threshold
        else:
            assert test.log_e(events, last) >= test.threshold > test.log_e(events, last + 1)
            assert test.last_crossed(events, min(at_least, last)) == last

    def test_never_falls_and_ends_at_1(self) -> None:
        curve = Curve(absolute(0.05, ALPHA), 0.25)

        values = [curve.at(n) for n in range(0, 2_000, 7)]

        assert values == sorted(values)
        assert values[-1] == curve.at(10**9) == pytest.approx(1)


class TestLimits:
    def test_very_small_limits_scale_within_a_point(self) -> None:
        """Limits under 0.1 % are taken as 0.1 %, with calls in proportion."""
        exact = Curve(absolute(0.0005, ALPHA), 0.0015)
        for calls in (5_000, 10_000, 20_000, 30_000):
            assert power.caught_by(0.0005, 3, calls, ALPHA) == pytest.approx(
                exact.at(calls), abs=0.01
            )

    def test_more_calls_are_needed_when_slowness_is_judged_too(self) -> None:
        errors, both = Limits(error_rate=0.05), Limits(error_rate=0.05, slow_ms=100)

        assert power.calls_to_detect(errors, 3, 0.95) < power.calls_to_detect(both, 3, 0.95)
        assert (
            power.detection_probability(both, 3, 300)
            < 0.95
            <= power.detection_probability(errors, 3, 300)
        )

    def test_without_a_limit_one_percent_stands_for_it(self) -> None:
        assert power.calls_to_detect(Limits(error_rate=None), 3, 0.95) == power.calls_to_detect(
            PER_CENT, 3, 0.95
        )

    def test_refuses_rises_too_small_to_tell(self) -> None:
        with pytest.raises(ValueError, match=r"at least 1\.5"):
            power.calls_to_detect(Limits(), 1.2, 0.95)

    def test_time_follows_from_traffic(self) -> None:
        calls = power.calls_to_detect(PER_CENT, 5, 0.95)

        at_ten_percent = power.seconds_to_detect(
            PER_CENT, 5, 0.95, calls_per_second=100, weight=1_000
        )
        nothing = power.seconds_to_detect(PER_CENT, 5, 0.95, calls_per_second=100, weight=0)

        assert (at_ten_percent, nothing) == (calls / 10, None)

    def test_a_comparison_needs_both_sides(self) -> None:
        assert power.relative_caught_by(PER_CENT, 3, Count(0, 0), Count(500, 5)) == 0
        assert power.relative_caught_by(PER_CENT, 3, Count(500, 5), Count(0, 0)) == 0

    def test_a_comparison_cannot_find_what_it_accepts(self) -> None:
        tolerant = Limits(error_rate=None, ratio=4)

        assert power.relative_caught_by(tolerant, 3, Count(5_000, 50), Count(5_000, 50)) == 0

    @pytest.mark.parametrize("limit", [0.0001, 0.001, 0.01, 0.05])
    def test_the_meter_is_quick_once_it_is_known(self, limit: float) -> None:
        limits = Limits(error_rate=limit)
        power.detection_probability(limits, 3, 10**6)

        started = time.perf_counter()
        for calls in range(0, 10**6, 10**4):
            power.detection_probability(limits, 3, calls)

        assert (time.perf_counter() - started) / 100 < 0.005


class TestMeanOfCounts:
    @settings(deadline=None)
    @given(st.floats(0.01, 500), st.integers(0, 600))
    def test_is_that_of_the_poisson_distribution(self, mean: float, edge: int) -> None:
        found = power.poisson_mean(lambda n: float(n > edge), mean)

        assert found == pytest.approx(stats.poisson.sf(edge, mean), abs=1e-9)


def _ever(is_across: Callable[[Count], bool], rate: float, calls: int) -> float:
    """Chance that counts are ever across within `calls`, by a table of all counts."""
    alive = np.zeros(calls + 2)
    alive[0], gone = 1.0, 0.0
    for n in range(1, calls + 1):
        alive[1:] = alive[1:] * (1 - rate) + alive[:-1] * rate
        alive[0] *= 1 - rate
        top = min(n, 120)
        for x in range(top + 1):
            if alive[x] > 1e-14 and is_across(Count(n, x)):
                gone += alive[x]
                alive[x] = 0.0
    return gone
