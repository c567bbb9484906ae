import math

import pytest

from deployments.analysis import wording


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.001, "under 0.01"),
        (0.5, "0.5"),
        (5.27, "5.3"),
        (31.4, "31"),
        (9_999.6, "10,000"),
        (1e7, "over a million"),
        (1e300, "over a million"),
    ],
)
def test_an_e_value_is_readable_at_any_size(value: float, said: str) -> None:
    assert wording.e_value(math.log(value)) == said


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.0, "less than 1 %"), (0.5, "50 %"), (0.979, "97 %"), (1.0, "99 %")],
)
def test_a_chance_is_never_certain(probability: float, said: str) -> None:
    assert wording.chance(probability) == said


def test_counts_and_shares() -> None:
    assert (wording.count(12_345), wording.percent(0.0005), wording.percent(0.125)) == (
        "12,345",
        "0.05 %",
        "12.5 %",
    )
