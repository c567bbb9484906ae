"""Each strategy: the specification's own body, its defaults, its edges."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.strategies.ab_testing import candidate_of
from deployments.strategies.base import settings_in, strategy_named
from deployments.types import Fleet, Plan, Strategy
from hotswap.core.errors import InvalidInput
from tests.unit.deployments.strategies.planning import faults, fleet, planned

PAGE = Path(__file__).parents[4] / "docs" / "deployments.md"
BLOCKS = re.compile(r"```json\n(.*?)```", re.DOTALL)
BODIES = [json.loads(block) for block in BLOCKS.findall(PAGE.read_text())]
FR_FN_004 = {
    "functionName": "image-processor",
    "version": "v5",
    "strategy": "Canary",
    "config": {
        "canaryPercentage": 10,
        "canaryDuration": "PT10M",
        "rollbackOnErrorRate": 0.05,
        "rollbackOnLatencyP99": 1000,
    },
}
PATTERN_1 = {
    "strategy": "Canary",
    "canaryPercentage": 10,
    "canaryDuration": "PT10M",
    "increments": [10, 50, 100],
    "rollbackThresholds": {"errorRate": 0.05, "latencyP99Ms": 1000, "successRate": 0.95},
}
PATTERN_2 = {
    "strategy": "BlueGreen",
    "testDuration": "PT5M",
    "switchType": "Instant",
    "keepBlue": "PT1H",
}
PATTERN_3 = {
    "strategy": "Rolling",
    "batchSize": 25,
    "batchDuration": "PT5M",
    "rollbackOnFailure": True,
}
PATTERN_4 = {
    "strategy": "ABTesting",
    "versionA": "v1",
    "versionB": "v2",
    "trafficSplit": {"v1": 50, "v2": 50},
    "testDuration": "PT1H",
    "manualPromotion": True,
}


def of_body(body: dict[str, object]) -> Plan:
    """The plan of a request's body."""
    return planned(strategy_named(str(body["strategy"])), settings_in(body))


def runners_in(share: int | None, runners: int) -> int:
    """How many of so many runners the machine takes into a batch."""
    return -(-runners * (share or 0) // 10_000)


def weights(plan: Plan) -> list[int]:
    return [step.weight for step in plan.steps]


class TestTheUsersPage:
    def test_shows_every_strategy(self) -> None:
        assert {strategy_named(body["strategy"]) for body in BODIES} == set(Strategy)

    @pytest.mark.parametrize("body", BODIES, ids=lambda body: body["strategy"])
    def test_shows_bodies_that_work(self, body: dict[str, object]) -> None:
        three = Fleet({"a": "eu-west", "b": "us-east", "c": "us-west"})
        settings = settings_in(body)

        assert planned(strategy_named(str(body["strategy"])), settings, fleet=three).steps


class TestAllAtOnce:
    def test_sends_everything_at_once_and_keeps_the_old_version_warm(self) -> None:
        plan = planned(Strategy.ALL_AT_ONCE)

        assert weights(plan) == [10_000]
        assert (plan.steps[0].hold_seconds, plan.steps[0].needs_samples) == (0, False)
        assert (plan.keep_blue_seconds, plan.rolls_back) == (600, True)
        assert plan.steps[0].is_judged

    def test_is_guarded_by_the_same_limits(self) -> None:
        config = {"rollbackOnErrorRate": 0.01, "keepBlue": "PT30M"}

        plan = planned(Strategy.ALL_AT_ONCE, config)

        assert (plan.limits.error_rate, plan.keep_blue_seconds) == (0.01, 1_800)


class TestCanary:
    @pytest.mark.parametrize("body", [FR_FN_004, PATTERN_1], ids=["FR-FN-004", "pattern 1"])
    def test_takes_the_specifications_body(self, body: dict[str, object]) -> None:
        plan = of_body(body)

        assert weights(plan) == [1_000, 5_000, 10_000]
        assert [step.hold_seconds for step in plan.steps] == [600, 600, 600]
        assert (plan.limits.error_rate, plan.limits.slow_ms) == (0.05, 1_000)
        assert all(step.needs_samples and step.is_judged for step in plan.steps)

    def test_is_10_50_100_by_itself(self) -> None:
        plan = planned(Strategy.CANARY)

        assert weights(plan) == [1_000, 5_000, 10_000]
        assert [step.name for step in plan.steps] == ["10 %", "50 %", "100 %"]

    @pytest.mark.parametrize(
        ("first", "shares"),
        [
            (1, [100, 5_000, 10_000]),
            (50, [5_000, 10_000]),
            (60, [6_000, 10_000]),
            (0.25, [25, 5_000, 10_000]),
        ],
    )
    def test_starts_where_it_is_told_to(self, first: float, shares: list[int]) -> None:
        assert weights(planned(Strategy.CANARY, {"canaryPercentage": first})) == shares

    def test_takes_increments_alone(self) -> None:
        config = {"increments": [0.01, 1, 5.5, 33.33, 99.99, 100]}

        assert weights(planned(Strategy.CANARY, config)) == [1, 100, 550, 3_333, 9_999, 10_000]

    @pytest.mark.parametrize(
        ("increments", "reason"),
        [
            ([10, 10, 100], "larger than the one before"),
            ([50, 10, 100], "larger than the one before"),
            ([10, 50], "last must be 100"),
            ([10, 50, 99.99], "last must be 100"),
            ([100], "below 100"),
            ([], "at least one item"),
            ([0, 100], "from 0.01 to 100"),
            ([10, 100.01], "from 0.01 to 100"),
            ([10, "50", 100], "must be a percentage"),
            ([10, True, 100], "must be a percentage"),
            ("10,50,100", "must be a list"),
            ({"10": 50}, "must be a list"),
            (None, "must be a list"),
        ],
    )
    def test_refuses_increments_that_do_not_rise_to_100(
        self, increments: object, reason: str
    ) -> None:
        assert reason in faults(Strategy.CANARY, {"increments": increments})["increments"]

    def test_takes_20_increments_and_no_more(self) -> None:
        twenty = [*range(1, 20), 100]

        assert len(planned(Strategy.CANARY, {"increments": twenty}).steps) == 20
        found = faults(Strategy.CANARY, {"increments": [*range(1, 21), 100]})
        assert found == {"increments": "There may be at most 20."}

    def test_refuses_a_first_increment_that_is_not_the_canarys(self) -> None:
        config = {"canaryPercentage": 5, "increments": [10, 100]}

        assert "canaryPercentage" in faults(Strategy.CANARY, config)["increments"]

    @given(st.sets(st.integers(1, 9_999), min_size=1, max_size=19))
    def test_rises_strictly_whatever_was_asked(self, shares: set[int]) -> None:
        increments = [share / 100 for share in sorted(shares)] + [100]

        plan = planned(Strategy.CANARY, {"increments": increments})

        assert weights(plan) == [*sorted(shares), 10_000]


class TestBlueGreen:
    def test_takes_the_specifications_body(self) -> None:
        plan = of_body(PATTERN_2)

        assert weights(plan) == [0, 10_000]
        assert [step.hold_seconds for step in plan.steps] == [300, 0]
        assert (plan.keep_blue_seconds, plan.warms_fully) == (3_600, True)

    def test_only_guards_green_while_it_has_no_traffic(self) -> None:
        green, switch = planned(Strategy.BLUE_GREEN).steps

        assert (green.is_judged, green.needs_samples) == (False, False)
        assert switch.is_judged

    def test_keeps_blue_for_an_hour_by_itself(self) -> None:
        assert planned(Strategy.BLUE_GREEN).keep_blue_seconds == 3_600

    def test_keeps_blue_at_least_as_long_as_a_call_may_run(self) -> None:
        kept = planned(Strategy.BLUE_GREEN, {"keepBlue": "PT30S"}).keep_blue_seconds

        assert kept == 30
        assert faults(Strategy.BLUE_GREEN, {"keepBlue": "PT29.999999S"}) == {
            "keepBlue": "It must be at least PT30S."
        }

    @pytest.mark.parametrize("switch", ["Instant", "instant", "INSTANT"])
    def test_switches_at_once(self, switch: str) -> None:
        assert weights(planned(Strategy.BLUE_GREEN, {"switchType": switch})) == [0, 10_000]

    @pytest.mark.parametrize("switch", ["Gradual", "Linear", "", None, 5])
    def test_does_not_switch_otherwise_and_says_what_does(self, switch: object) -> None:
        found = faults(Strategy.BLUE_GREEN, {"switchType": switch})

        assert "the Canary strategy" in found["switchType"]

    def test_may_switch_without_a_test(self) -> None:
        assert planned(Strategy.BLUE_GREEN, {"testDuration": "PT0S"}).steps[0].hold_seconds == 0
        assert list(faults(Strategy.BLUE_GREEN, {"testDuration": "P31D"})) == ["testDuration"]


class TestRolling:
    def test_takes_the_specifications_body_on_8_runners(self) -> None:
        plan = of_body(PATTERN_3)

        assert [step.runner_share for step in plan.steps] == [2_500, 5_000, 7_500, 10_000]
        assert weights(plan) == [10_000] * 4
        assert [step.hold_seconds for step in plan.steps] == [300] * 4
        assert plan.steps[0].name == "batch 1 of 4"

    @pytest.mark.parametrize(
        ("runners", "size", "counts"),
        [
            (8, 25, [2, 4, 6, 8]),
            (8, 26, [3, 6, 8]),
            (8, 1, [1, 2, 3, 4, 5, 6, 7, 8]),
            (8, 100, [7, 8]),
            (3, 25, [1, 2, 3]),
            (3, 34, [2, 3]),
            (2, 100, [1, 2]),
            (1, 25, [1]),
            (1, 100, [1]),
            (7, 50, [4, 7]),
            (100, 1, list(range(1, 101))),
        ],
    )
    def test_never_takes_all_runners_at_once_but_a_sole_one(
        self, runners: int, size: int, counts: list[int]
    ) -> None:
        plan = planned(Strategy.ROLLING, {"batchSize": size}, fleet=fleet(runners))

        assert [runners_in(step.runner_share, runners) for step in plan.steps] == counts

    def test_plans_shares_while_there_is_no_runner_yet(self) -> None:
        plan = planned(Strategy.ROLLING, fleet=fleet(0))

        assert [step.runner_share for step in plan.steps] == [2_500, 5_000, 7_500, 10_000]

    @given(st.integers(1, 300), st.integers(1, 100))
    def test_reaches_every_runner_in_batches_of_one_size(self, runners: int, size: int) -> None:
        plan = planned(Strategy.ROLLING, {"batchSize": size}, fleet=fleet(runners))
        counts = [0, *(runners_in(step.runner_share, runners) for step in plan.steps)]
        batches = [after - before for before, after in pairwise(counts)]

        assert counts[-1] == runners
        assert min(batches) >= 1
        assert len(set(batches[:-1])) <= 1
        assert max(batches) <= max(1, runners - 1)

    @pytest.mark.parametrize(("value", "is_fine"), [(0.99, False), (1, True), (100, True)])
    def test_takes_batches_of_1_to_100_percent(self, value: float, is_fine: bool) -> None:
        if is_fine:
            assert planned(Strategy.ROLLING, {"batchSize": value}).steps
        else:
            assert list(faults(Strategy.ROLLING, {"batchSize": value})) == ["batchSize"]

    def test_refuses_more_than_100_percent_and_too_short_a_batch(self) -> None:
        found = faults(Strategy.ROLLING, {"batchSize": 100.01, "batchDuration": "PT0.9S"})

        assert set(found) == {"batchSize", "batchDuration"}
        assert planned(Strategy.ROLLING, {"batchDuration": "PT1S"}).steps[0].hold_seconds == 1

    def test_stops_without_going_back_where_that_is_asked(self) -> None:
        assert planned(Strategy.ROLLING, {"rollbackOnFailure": False}).rolls_back is False


class TestApprovals:
    def test_are_asked_for_before_everything_goes_to_the_new_version(self) -> None:
        plan = planned(Strategy.CANARY, {"approvalBefore": "promotion"})

        assert [step.gate for step in plan.steps] == ["", "approval", ""]

    def test_are_asked_for_before_every_further_step(self) -> None:
        plan = planned(Strategy.ROLLING, {"approvalBefore": "every-step"})

        assert [step.gate for step in plan.steps] == ["approval", "approval", "approval", ""]

    @pytest.mark.parametrize("strategy", [Strategy.ALL_AT_ONCE, Strategy.AB_TESTING])
    @pytest.mark.parametrize("when", ["promotion", "every-step"])
    def test_need_a_step_before_the_last(self, strategy: Strategy, when: str) -> None:
        arms = {"versionA": "v1", "versionB": "v2"} if strategy is Strategy.AB_TESTING else {}

        found = faults(strategy, {**arms, "approvalBefore": when})

        assert "has one step only" in found["approvalBefore"]

    def test_are_spelt_in_one_of_two_ways(self) -> None:
        found = faults(Strategy.CANARY, {"approvalBefore": "start"})

        assert found == {"approvalBefore": "It must be promotion or every-step."}


class TestABTesting:
    def test_takes_the_specifications_body(self) -> None:
        plan = of_body(PATTERN_4)

        assert weights(plan) == [5_000]
        assert plan.steps[0].hold_seconds == 3_600
        assert (plan.is_decided_by_person, plan.unit) == (True, "user")

    @pytest.mark.parametrize(("stable", "candidate", "weight"), [(1, 2, 3_000), (2, 1, 7_000)])
    def test_takes_what_the_alias_serves_as_stable_whichever_letter_it_has(
        self, stable: int, candidate: int, weight: int
    ) -> None:
        config = {"versionA": "v1", "versionB": "2", "trafficSplit": {"1": 70, "v2": 30}}

        plan = planned(Strategy.AB_TESTING, config, stable=stable, candidate=candidate)

        assert weights(plan) == [weight]

    @pytest.mark.parametrize(("stable", "candidate"), [(3, 2), (1, 3), (None, 2), (3, 4)])
    def test_refuses_arms_that_are_not_what_is_deployed(
        self, stable: int | None, candidate: int
    ) -> None:
        config = {"versionA": "v1", "versionB": "v2"}

        found = faults(Strategy.AB_TESTING, config, stable=stable, candidate=candidate)

        assert list(found) == ["versionA"]

    def test_refuses_one_version_against_itself(self) -> None:
        config = {"versionA": "v1", "versionB": "1"}

        assert list(faults(Strategy.AB_TESTING, config)) == ["versionA"]

    @pytest.mark.parametrize("version", [None, "", "latest", "v0", -1, 1.5, True, ["v1"]])
    def test_wants_two_versions(self, version: object) -> None:
        found = faults(Strategy.AB_TESTING, {"versionA": "v1", "versionB": version})

        assert list(found) == ["versionB"]

    def test_wants_both_named(self) -> None:
        assert set(faults(Strategy.AB_TESTING)) == {"versionA", "versionB"}

    @pytest.mark.parametrize(
        ("split", "reason"),
        [
            ({"v1": 50, "v2": 49.99}, "sum to 100"),
            ({"v1": 50, "v2": 50.01}, "sum to 100"),
            ({"v1": 50, "v3": 50}, "a share to v1 and to v2"),
            ({"v1": 50}, "a share to v1 and to v2"),
            ({"v1": 40, "v2": 40, "v3": 20}, "a share to v1 and to v2"),
            ({"v1": 100, "v2": 0}, "from 0.01 to 99.99"),
            ({"v1": "50", "v2": 50}, "must be a percentage"),
            ({"a": 50, "b": 50}, "a share to v1 and to v2"),
            ({}, "a share to v1 and to v2"),
            ([50, 50], "must be an object"),
        ],
    )
    def test_refuses_a_split_that_does_not_fit(self, split: object, reason: str) -> None:
        config = {"versionA": "v1", "versionB": "v2", "trafficSplit": split}

        assert reason in faults(Strategy.AB_TESTING, config)["trafficSplit"]

    def test_takes_the_smallest_share(self) -> None:
        config = {
            "versionA": "v1",
            "versionB": "v2",
            "trafficSplit": {"v1": 99.99, "v2": 0.01},
            "testDuration": "PT1S",
        }

        plan = planned(Strategy.AB_TESTING, config)

        assert (weights(plan), plan.steps[0].hold_seconds) == ([1], 1)

    def test_keeps_callers_by_another_key_where_one_is_named(self) -> None:
        config = {"versionA": "v1", "versionB": "v2", "stickyBy": "cookie:uid"}

        assert planned(Strategy.AB_TESTING, config).unit == "cookie:uid"
        assert list(faults(Strategy.AB_TESTING, {**config, "stickyBy": ""})) == ["stickyBy"]

    def test_promotes_by_itself_only_when_told_to(self) -> None:
        config = {"versionA": "v1", "versionB": "v2", "manualPromotion": False}

        plan = planned(Strategy.AB_TESTING, config)

        assert (weights(plan), plan.is_decided_by_person) == ([5_000, 10_000], False)

    def test_finds_the_candidate_by_what_the_alias_serves(self) -> None:
        assert candidate_of(PATTERN_4, stable=1) == 2
        assert candidate_of(PATTERN_4, stable=2) == 1
        with pytest.raises(InvalidInput, match="versionA: One of both must be v7"):
            candidate_of(PATTERN_4, stable=7)
        with pytest.raises(InvalidInput, match="versionA: The alias serves no version yet"):
            candidate_of(PATTERN_4, stable=None)
        with pytest.raises(InvalidInput, match="versionB: It must name a version"):
            candidate_of({"versionA": "v1"}, stable=1)


class TestRegional:
    def test_rolls_out_region_by_region_the_smallest_first(self) -> None:
        plan = planned(Strategy.REGIONAL)

        assert [(s.name, s.weight, s.regions, s.finished_regions) for s in plan.steps] == [
            ("us 10 %", 1_000, ("us",), ()),
            ("us 50 %", 5_000, ("us",), ()),
            ("us 100 %", 10_000, ("us",), ()),
            ("eu 10 %", 1_000, ("eu",), ("us",)),
            ("eu 50 %", 5_000, ("eu",), ("us",)),
            ("eu 100 %", 10_000, ("eu",), ("us",)),
        ]
        assert [s.hold_seconds for s in plan.steps] == [600, 600, 1_800] * 2
        assert plan.has_barrier

    def test_takes_waves_with_a_canary_inside_and_a_time_to_bake(self) -> None:
        config = {
            "waves": ["eu", ["us", "asia"]],
            "increments": [20, 100],
            "canaryDuration": "PT1M",
            "bakeTime": "PT2M",
        }
        three = Fleet({"a": "eu", "b": "us", "c": "asia"})

        plan = planned(Strategy.REGIONAL, config, fleet=three)

        assert [s.regions for s in plan.steps] == [("eu",)] * 2 + [("us", "asia")] * 2
        assert [s.finished_regions for s in plan.steps] == [(), (), ("eu",), ("eu",)]
        assert [s.hold_seconds for s in plan.steps] == [60, 120, 60, 120]
        assert plan.steps[2].name == "us + asia 20 %"

    @pytest.mark.parametrize(
        ("waves", "reason"),
        [
            (["us"], "Region eu is in no wave"),
            (["us", "eu", "mars"], "No runner is in region mars"),
            (["us", "eu", "us"], "named twice"),
            ([["us", "us"], "eu"], "named twice"),
            ([[], "us", "eu"], "a region's name, or a list"),
            ([5, "us", "eu"], "a region's name, or a list"),
            (["", "us", "eu"], "a region's name, or a list"),
            ([["us", 5], "eu"], "a region's name, or a list"),
            ([], "at least one item"),
            ("us", "must be a list"),
        ],
    )
    def test_wants_every_region_in_one_wave(self, waves: object, reason: str) -> None:
        assert reason in faults(Strategy.REGIONAL, {"waves": waves})["waves"]

    @pytest.mark.parametrize(
        "runners", [fleet(0), fleet(2), Fleet({"a": "eu", "b": ""})], ids=["none", "no", "mixed"]
    )
    def test_wants_runners_with_regions(self, runners: Fleet) -> None:
        found = faults(Strategy.REGIONAL, fleet=runners)

        assert "runners that all have a region" in found["strategy"]

    @pytest.mark.parametrize("key", ["bakeTime", "canaryDuration"])
    def test_observes_for_a_second_or_more(self, key: str) -> None:
        assert planned(Strategy.REGIONAL, {key: "PT1S"}).steps
        assert list(faults(Strategy.REGIONAL, {key: "PT0.5S"})) == [key]
