"""C51: the Bayes factor ties out with scipy; its alarms are rare in sound tests."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deployments.analysis.srm import check_split, log_bayes_factor


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=4), st.data())
def test_is_the_dirichlet_multinomial_against_the_multinomial(
    counts: list[int], data: st.DataObject
) -> None:
    parts = [data.draw(st.integers(1, 9)) for _ in counts]
    shares = [part / sum(parts) for part in parts]
    concentration = data.draw(st.sampled_from([1.0, 50.0, 1_000.0]))

    found = log_bayes_factor(counts, shares, concentration)

    total = sum(counts)
    prior = [concentration * share for share in shares]
    assert found == pytest.approx(
        stats.dirichlet_multinomial.logpmf(counts, prior, total)
        - stats.multinomial.logpmf(counts, total, shares),
        abs=1e-6,
    )


def test_is_not_expected_to_exceed_1_in_a_sound_test() -> None:
    shares = (0.5, 0.3, 0.2)

    mean = sum(
        stats.multinomial.pmf(counts, 12, shares) * math.exp(log_bayes_factor(counts, shares, 5))
        for counts in itertools.product(range(13), repeat=3)
        if sum(counts) == 12
    )

    assert mean == pytest.approx(1)


def test_a_sound_split_is_no_mismatch() -> None:
    """C50."""
    split = check_split([5_020, 4_980], [0.5, 0.5])

    assert not split.is_mismatch
    assert split.sentence.startswith("5,020 and 4,980 units where 50 % and 50 % were intended")


def test_a_lossy_arm_is_a_mismatch() -> None:
    """C50: 52 to 48 over 20,000 units."""
    split = check_split([10_400, 9_600], [0.5, 0.5])

    assert split.is_mismatch
    assert split.sentence.startswith("The split is not the intended one, no result counts")


def test_nothing_says_nothing() -> None:
    assert check_split([0, 0], [0.1, 0.9]).log_bayes_factor == pytest.approx(0, abs=1e-9)
