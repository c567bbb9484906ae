"""C52: the figures of delivery.md 6.6 that are simulated. Exact ones are in test_power.py.

Thousands of rollouts each; `bin/bench judging` prints what they measure.
"""

import pytest

from tests.unit.deployments.analysis import simulations


class TestQuick:
    def test_healthy_rollouts_are_not_rolled_back(self) -> None:
        """S1."""
        assert simulations.false_rollbacks(500) <= 0.01

    def test_a_shared_outage_is_held(self) -> None:
        """S7."""
        outcome = simulations.shared_outage(500)

        assert outcome.share_failed() <= 0.01
        assert (outcome.held < simulations.FAR).mean() > 0.99

    def test_a_cold_candidate_is_not_rolled_back(self) -> None:
        """S10."""
        assert simulations.cold_candidate(500) <= 0.01

    def test_tests_without_a_difference_show_none(self) -> None:
        """S11: 400 looks."""
        assert simulations.looks_of_two_arms(1_000, 20_000, 0.1, 0.1, seed=11) <= 0.05


@pytest.mark.slow
class TestTenThousandRollouts:
    RUNS = 10_000

    def test_healthy_ones_are_not_rolled_back(self) -> None:
        """S1: at most 0.2 %."""
        assert simulations.false_rollbacks(self.RUNS) <= 0.002

    def test_those_at_the_limit_are_seldom_rolled_back(self) -> None:
        """S2: at most 0.4 % for each gate."""
        assert simulations.false_at_the_limit(self.RUNS) <= 0.004
        assert simulations.false_at_the_ratio(self.RUNS) <= 0.004

    def test_five_times_stable_is_caught(self) -> None:
        """S6: at least 95 % by 850 calls of the candidate."""
        assert simulations.caught_by_comparison(self.RUNS) >= 0.95

    def test_a_shared_outage_rolls_nothing_back(self) -> None:
        """S7: at most 1 %, also when it begins after long health."""
        at_once, late = simulations.shared_outage(self.RUNS), simulations.late_outage(self.RUNS)

        assert at_once.share_failed() <= 0.01
        assert late.share_failed() <= 0.01
        assert (at_once.held < simulations.FAR).mean() > 0.99

    def test_bursts_of_one_client_roll_nothing_back(self) -> None:
        """S8: at most 1 %, where counting every failure would give more than 5 %."""
        assert simulations.bursts(self.RUNS) <= 0.01
        assert simulations.bursts_counted_singly(self.RUNS) > 0.05

    def test_cold_candidates_are_not_rolled_back(self) -> None:
        """S10: at most 1 %."""
        assert simulations.cold_candidate(self.RUNS) <= 0.01

    def test_comparisons_are_sound_and_strong(self) -> None:
        """S11: at most 5 % without a difference; at least 99 % of rises by a fifth."""
        assert simulations.looks_of_two_arms(self.RUNS, 20_000, 0.1, 0.1, seed=12) <= 0.05
        assert simulations.looks_of_two_arms(2_000, 20_000, 0.1, 0.12, seed=13) >= 0.99

    def test_splits_alarm_when_they_should(self) -> None:
        """S11: at most 0.1 % of sound tests; lossy ones always."""
        assert simulations.split_alarms(4_000, 0.5, 5_000) <= 0.001
        assert simulations.split_alarms(200, 0.52, 50_000) == 1
