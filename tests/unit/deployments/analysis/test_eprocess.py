"""C51: the e-processes tie out with scipy and with brute force; exact Ville bounds for small n."""

import itertools
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from deployments.analysis import eprocess
from deployments.analysis.eprocess import Count
from tests.unit.deployments.analysis import simulations

limits = st.floats(0.001, 0.97)
tenths = st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
parts = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
counts = st.integers(0, 400).flatmap(lambda n: st.integers(0, n).map(lambda x: Count(n, x)))
pairs = st.lists(st.tuples(counts, counts), max_size=5)


class TestAgainstAnOracle:
    @settings(deadline=None)
    @given(counts, limits)
    def test_above_is_the_mean_of_binomial_likelihood_ratios(
        self, count: Count, limit: float
    ) -> None:
        expected = special.logsumexp(
            [
                stats.binom.logpmf(count.events, count.trials, rate)
                - stats.binom.logpmf(count.events, count.trials, limit)
                for rate in eprocess.rates_above(limit)
            ]
        ) - math.log(12)

        assert eprocess.above(count, limit) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    @settings(deadline=None)
    @given(counts, limits)
    def test_below_is_the_mean_of_binomial_likelihood_ratios(
        self, count: Count, limit: float
    ) -> None:
        expected = special.logsumexp(
            [
                stats.binom.logpmf(count.events, count.trials, limit * multiple)
                - stats.binom.logpmf(count.events, count.trials, limit)
                for multiple in (0, 0.1, 0.25, 0.5, 0.75)
            ]
        ) - math.log(5)

        assert eprocess.below(count, limit) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    def test_above_is_the_product_over_single_calls(self) -> None:
        outcomes = random.Random(1).choices([0, 1], [9, 1], k=300)

        products = [
            math.prod(rate / 0.05 if bad else (1 - rate) / 0.95 for bad in outcomes)
            for rate in eprocess.rates_above(0.05)
        ]

        assert eprocess.above(Count(300, sum(outcomes)), 0.05) == pytest.approx(
            math.log(sum(products) / 12)
        )

    def test_worse_is_the_product_over_single_events(self) -> None:
        events = [(0.1, 7, 12), (0.25, 9, 6)]
        products = []
        for multiple in eprocess.WORSE:
            product = 1.0
            for share, ours, theirs in events:
                null = share * 1.5 / (share * 1.5 + 1 - share)
                guess = share * 1.5 * multiple / (share * 1.5 * multiple + 1 - share)
                product *= (guess / null) ** ours * ((1 - guess) / (1 - null)) ** theirs
            products.append(product)

        seen = [
            (Count(1000 * share, ours), Count(1000 * (1 - share), theirs))
            for share, ours, theirs in events
        ]

        assert eprocess.worse(seen, 1.5) == pytest.approx(math.log(sum(products) / 12))

    @settings(deadline=None)
    @given(pairs, st.floats(0.5, 5))
    def test_the_simulations_judge_as_the_product_does(
        self, seen: list[tuple[Count, Count]], ratio: float
    ) -> None:
        expected = eprocess.worse(seen, ratio)
        table = np.array([[[c.trials], [c.events]] for pair in seen for c in pair])
        if not seen:
            return
        both = table.reshape(len(seen), 2, 2, 1).transpose(1, 2, 0, 3)

        got = simulations.worse(both[:, 0], both[:, 1], ratio)

        assert got[0] == pytest.approx(expected, abs=1e-9)
        assert simulations.either(got, 2 * got)[0] == pytest.approx(
            eprocess.either(expected, 2 * expected), abs=1e-9
        )
        x, n = np.array([seen[0][0].events]), np.array([seen[0][0].trials])
        assert simulations.above(x, n, 0.02)[0] == pytest.approx(
            eprocess.above(seen[0][0], 0.02), abs=1e-9
        )


class TestUnderTheNull:
    """E is not expected to exceed 1, whatever the true rate in the null: by full enumeration."""

    @settings(deadline=None)
    @given(st.integers(1, 40), tenths, parts)
    def test_above(self, n: int, limit: float, part: float) -> None:
        assert _mean_e(n, limit * part, lambda c: eprocess.above(c, limit)) <= 1 + 1e-9

    @settings(deadline=None)
    @given(st.integers(1, 40), tenths, parts)
    def test_below(self, n: int, limit: float, part: float) -> None:
        rate = limit + (1 - limit) * part
        assert _mean_e(n, rate, lambda c: eprocess.below(c, limit)) <= 1 + 1e-9

    @settings(deadline=None)
    @given(counts, tenths, parts)
    def test_above_does_not_grow_with_one_more_call(
        self, count: Count, limit: float, part: float
    ) -> None:
        rate = limit * part
        after = [Count(count.trials + 1, count.events + bad) for bad in (0, 1)]
        good, bad = (
            math.exp(eprocess.above(c, limit) - eprocess.above(count, limit)) for c in after
        )

        assert (1 - rate) * good + rate * bad <= 1 + 1e-9

    @settings(deadline=None)
    @given(st.integers(1, 12), st.integers(1, 12), tenths, parts, st.booleans())
    def test_comparison(
        self, ours: int, theirs: int, stable: float, part: float, proves_health: bool
    ) -> None:
        ratio = 1.5
        test = eprocess.not_worse if proves_health else eprocess.worse
        most = min(1.0, ratio * stable)
        if proves_health:
            stable = most / ratio
        candidate = most + (1 - most) * part if proves_health else most * part

        chances = np.outer(_binomial(ours, candidate), _binomial(theirs, stable))
        mean = sum(
            chances[x, y] * math.exp(test([(Count(ours, x), Count(theirs, y))], ratio))
            for x, y in itertools.product(range(ours + 1), range(theirs + 1))
        )

        assert mean <= 1 + 1e-9

    def test_ville_bound_holds_at_every_look(self) -> None:
        """Every one of 2^16 sequences: the chance that E ever reaches 20 is at most 1/20."""
        ever = 0.0
        for outcomes in itertools.product((0, 1), repeat=16):
            events = itertools.accumulate(outcomes)
            if any(
                _above_at_20_percent(n, x) >= math.log(20) for n, x in enumerate(events, start=1)
            ):
                ever += 0.2 ** sum(outcomes) * 0.8 ** (16 - sum(outcomes))

        assert 0 < ever <= 1 / 20


class TestShape:
    @settings(deadline=None)
    @given(st.integers(1, 300), limits, st.data())
    def test_evidence_of_harm_rises_with_bad_calls_and_proof_falls(
        self, n: int, limit: float, data: st.DataObject
    ) -> None:
        x = data.draw(st.integers(0, n - 1))

        assert eprocess.above(Count(n, x + 1), limit) > eprocess.above(Count(n, x), limit)
        assert eprocess.below(Count(n, x + 1), limit) < eprocess.below(Count(n, x), limit)

    @settings(deadline=None)
    @given(pairs, st.integers(0, 9))
    def test_comparison_rises_with_every_bad_call_of_the_candidate(
        self, seen: list[tuple[Count, Count]], at: int
    ) -> None:
        more = [
            (Count(ours.trials, ours.events + (index == at)), theirs)
            for index, (ours, theirs) in enumerate(seen)
        ]
        assert eprocess.worse(more, 1.5) >= eprocess.worse(seen, 1.5)

    @settings(deadline=None)
    @given(pairs, st.randoms())
    def test_the_order_of_strata_does_not_matter(
        self, seen: list[tuple[Count, Count]], shuffler: random.Random
    ) -> None:
        mixed = list(seen)
        shuffler.shuffle(mixed)

        assert eprocess.worse(mixed, 1.5) == eprocess.worse(seen, 1.5)

    def test_says_nothing_without_anything_to_compare(self) -> None:
        alone = [(Count(50, 50), Count(0, 0)), (Count(0, 0), Count(50, 1))]

        assert eprocess.worse(alone, 1.5) == pytest.approx(0, abs=1e-12)
        assert eprocess.worse([], 1.5) == pytest.approx(0, abs=1e-12)

    def test_identical_arms_are_no_evidence_of_harm(self) -> None:
        """C48: identical data, ties, none bad, all bad."""
        for events in (0, 1, 50, 100):
            assert eprocess.worse([(Count(100, events), Count(100, events))], 1.5) <= 0

    def test_limits_near_1_still_have_something_to_bet_on(self) -> None:
        assert all(0.99 < rate < 1 for rate in eprocess.rates_above(0.99))
        assert eprocess.above(Count(5_000, 5_000), 0.99) > math.log(400)


class TestStrata:
    def test_cold_calls_that_are_alike_do_not_hide_harm_in_warm_ones(self) -> None:
        warm = eprocess.worse([(Count(500, 25), Count(4500, 45))], 1.5)
        cold = eprocess.worse([(Count(150, 150), Count(1350, 1350))], 1.5)

        assert warm + cold < math.log(400) < eprocess.either(warm, cold)

    def test_harm_in_both_multiplies(self) -> None:
        assert eprocess.either(20.0, 30.0) == pytest.approx(50 + math.log(0.5), abs=1e-6)

    def test_a_stratum_without_calls_costs_a_tenth(self) -> None:
        assert eprocess.either(20.0, 0.0) == pytest.approx(20 + math.log(0.9), abs=1e-6)


class TestRepeatedFailures:
    def test_keep_the_rate_and_shrink_the_weight(self) -> None:
        """P31: 40 failures in 8 bursts weigh like 8 failures in a fifth of the calls."""
        assert eprocess.of_failures(1000, 8, 32) == Count(200, 8)
        assert eprocess.of_failures(1000, 8, 0) == Count(1000, 8)

    def test_a_dead_version_is_seen_through_few_busy_clients(self) -> None:
        """Three clients, 100 calls a minute each, all failed: one counted failure per client."""
        assert eprocess.above(eprocess.of_failures(300, 3, 297), 0.05) > math.log(400)


def _mean_e(n: int, rate: float, test: Callable[[Count], float]) -> float:
    chances = _binomial(n, rate)
    return math.fsum(chances[x] * math.exp(test(Count(n, x))) for x in range(n + 1))


def _binomial(n: int, rate: float) -> np.ndarray:
    return stats.binom.pmf(np.arange(n + 1), n, rate)


_TABLE = {(n, x): eprocess.above(Count(n, x), 0.2) for n in range(1, 17) for x in range(n + 1)}


def _above_at_20_percent(n: int, x: int) -> float:
    return _TABLE[n, x]
