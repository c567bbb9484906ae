"""Which share of all calls a step brings to the candidate."""

import pytest

from deployments.forecast import share_of
from deployments.types import Strategy
from tests.unit.deployments.strategies.planning import planned


class TestShares:
    @pytest.mark.parametrize(
        ("strategy", "shares"),
        [
            (Strategy.ALL_AT_ONCE, [10_000]),
            (Strategy.CANARY, [1_000, 5_000, 10_000]),
            (Strategy.BLUE_GREEN, [0, 10_000]),
            (Strategy.ROLLING, [2_500, 5_000, 7_500, 10_000]),
            (Strategy.REGIONAL, [500, 2_500, 5_000, 5_500, 7_500, 10_000]),
        ],
    )
    def test_are_of_all_calls_by_step(self, strategy: Strategy, shares: list[int]) -> None:
        plan = planned(strategy)

        assert [share_of(plan, step) for step in plan.steps] == shares
