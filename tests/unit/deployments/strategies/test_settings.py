"""Settings that every strategy knows, their bounds, and where they may stand."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.strategies.base import (
    PlanDefaults,
    plan_document,
    plan_load,
    settings_in,
    strategies,
    strategy_named,
)
from deployments.types import OnInconclusive, Plan, Step, Strategy
from hotswap.core.errors import InvalidInput
from tests.unit.deployments.strategies.planning import faults, planned

EVERY = list(Strategy)
CANARY = Strategy.CANARY
ARMS = {"versionA": "v1", "versionB": "v2"}

# key, a value just outside below, the least, the most, just outside above
BOUNDS: list[tuple[str, Any, Any, Any, Any]] = [
    ("rollbackOnErrorRate", 0.00009, 0.0001, 0.9, 0.90001),
    ("rollbackOnLatencyP99", 0, 1, 900_000, 900_001),
    ("minimumCalls", 0, 1, 10_000_000, 10_000_001),
    ("extensions", -1, 0, 10, 11),
    ("mirrorPercentage", -0.01, 0, 100, 100.01),
    ("keepBlue", "-PT1S", "PT0S", "P30D", "P30DT1S"),
    ("holdTimeout", "-PT1S", "PT0S", "P30D", "P30DT1S"),
    ("progressDeadline", "PT0.999999S", "PT1S", "P30D", "P30DT1S"),
    ("canaryPercentage", 0, 0.01, 99.99, 100),
    ("canaryDuration", "PT0.999999S", "PT1S", "P30D", "P30DT1S"),
]
THRESHOLDS: list[tuple[str, Any, Any, Any, Any]] = [
    ("errorRate", 0.00009, 0.0001, 0.9, 0.90001),
    ("latencyP99Ms", 0, 1, 900_000, 900_001),
    ("successRate", 0.09999, 0.1, 0.9999, 0.99991),
]
NO_NUMBER: list[Any] = ["5", True, None, [5], {"is": 5}, math.nan, math.inf, -math.inf]


class TestStrategyNames:
    @pytest.mark.parametrize(
        ("name", "strategy"),
        [
            ("Canary", Strategy.CANARY),
            ("canary", Strategy.CANARY),
            ("CANARY", Strategy.CANARY),
            ("BlueGreen", Strategy.BLUE_GREEN),
            ("blue-green", Strategy.BLUE_GREEN),
            ("blue_green", Strategy.BLUE_GREEN),
            ("Blue Green", Strategy.BLUE_GREEN),
            ("ABTesting", Strategy.AB_TESTING),
            ("ab-testing", Strategy.AB_TESTING),
            ("AllAtOnce", Strategy.ALL_AT_ONCE),
            ("all-at-once", Strategy.ALL_AT_ONCE),
            ("Direct", Strategy.ALL_AT_ONCE),
            ("rolling", Strategy.ROLLING),
            ("REGIONAL", Strategy.REGIONAL),
        ],
    )
    def test_are_known_in_any_case_and_with_dashes(self, name: str, strategy: Strategy) -> None:
        assert strategy_named(name) is strategy

    def test_are_refused_with_the_one_that_was_meant(self) -> None:
        with pytest.raises(InvalidInput) as refused:
            strategy_named("Canery")

        assert "Did you mean Canary?" in refused.value.detail
        assert refused.value.extras["errors"][0]["field"] == "strategy"  # type: ignore[index]

    def test_all_have_a_planner(self) -> None:
        assert strategies.names() == sorted(EVERY)


class TestWhereSettingsStand:
    def test_may_be_in_config(self) -> None:
        body = {"functionName": "f", "strategy": "Canary", "config": {"canaryPercentage": 10}}

        assert settings_in(body) == {"canaryPercentage": 10}

    def test_may_be_beside_the_strategy(self) -> None:
        body = {"strategy": "Canary", "canaryPercentage": 10, "increments": [10, 100]}

        assert settings_in(body) == {"canaryPercentage": 10, "increments": [10, 100]}

    def test_may_be_nowhere(self) -> None:
        assert settings_in({"functionName": "f", "version": "v1", "strategy": "Canary"}) == {}

    @pytest.mark.parametrize("key", ["canaryPercentage", "canaryDuration", "mesage"])
    def test_may_not_be_in_both_places(self, key: str) -> None:
        with pytest.raises(InvalidInput, match=f"{key}: Settings stand either in config or"):
            settings_in({"config": {"canaryPercentage": 10}, key: 10})

    def test_beside_an_empty_config_are_fine(self) -> None:
        assert settings_in({"config": {}, "batchSize": 25}) == {"batchSize": 25}

    @pytest.mark.parametrize("config", [[], "canary", 3, None])
    def test_in_a_config_that_is_no_object_are_refused(self, config: object) -> None:
        with pytest.raises(InvalidInput, match="config: It must be an object"):
            settings_in({"config": config})


class TestBounds:
    @pytest.mark.parametrize(("key", "below", "least", "most", "above"), BOUNDS)
    def test_hold_at_both_edges(
        self, key: str, below: object, least: object, most: object, above: object
    ) -> None:
        for value in (least, most):
            planned(CANARY, {key: value}, is_idempotent=True)
        for value in (below, above):
            assert list(faults(CANARY, {key: value}, is_idempotent=True)) == [key]

    @pytest.mark.parametrize(("key", "below", "least", "most", "above"), THRESHOLDS)
    def test_hold_inside_of_thresholds(
        self, key: str, below: object, least: object, most: object, above: object
    ) -> None:
        for value in (least, most):
            planned(CANARY, {"rollbackThresholds": {key: value}})
        for value in (below, above):
            found = faults(CANARY, {"rollbackThresholds": {key: value}})
            assert list(found) == [f"rollbackThresholds.{key}"]

    @pytest.mark.parametrize("value", NO_NUMBER)
    @pytest.mark.parametrize("key", ["rollbackOnErrorRate", "minimumCalls", "canaryPercentage"])
    def test_of_numbers_want_a_number(self, key: str, value: object) -> None:
        assert list(faults(CANARY, {key: value})) == [key]

    @pytest.mark.parametrize("value", [10**400, -(10**400), 1e308])
    def test_refuse_numbers_of_any_size(self, value: float) -> None:
        config = {"canaryPercentage": value, "minimumCalls": value, "rollbackOnErrorRate": value}

        assert set(faults(CANARY, config)) == set(config)

    @pytest.mark.parametrize("key", ["rollbackOnLatencyP99", "minimumCalls", "extensions"])
    def test_of_counts_want_a_whole_number(self, key: str) -> None:
        assert faults(CANARY, {key: 2.5}) == {key: "It must be a whole number."}

    @pytest.mark.parametrize("value", [1_000, "ten", None, "", ["PT1M"]])
    @pytest.mark.parametrize("key", ["keepBlue", "canaryDuration"])
    def test_of_durations_want_a_text(self, key: str, value: object) -> None:
        assert list(faults(CANARY, {key: value})) == [key]

    @pytest.mark.parametrize("value", [1, "true", None, 0])
    @pytest.mark.parametrize("key", ["needsProof", "rollbackOnFailure"])
    def test_of_flags_want_true_or_false(self, key: str, value: object) -> None:
        assert faults(CANARY, {key: value}) == {key: "It must be true or false."}

    def test_of_percentages_end_at_two_decimals(self) -> None:
        assert planned(CANARY, {"canaryPercentage": 12.34}).steps[0].weight == 1_234
        assert "two decimals" in faults(CANARY, {"canaryPercentage": 12.345})["canaryPercentage"]


class TestUnknownSettings:
    @pytest.mark.parametrize("strategy", EVERY)
    def test_are_refused_by_name(self, strategy: Strategy) -> None:
        config = {**(ARMS if strategy is Strategy.AB_TESTING else {}), "colour": "green"}

        assert list(faults(strategy, config)) == ["colour"]

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("canaryPercent", "canaryPercentage"),
            ("canarypercentage", "canaryPercentage"),
            ("increment", "increments"),
            ("rollbackOnLatency", "rollbackOnLatencyP99"),
            ("keepblue", "keepBlue"),
            ("mirrorPercent", "mirrorPercentage"),
        ],
    )
    def test_come_with_the_nearest_known_one(self, key: str, meant: str) -> None:
        assert f"Did you mean {meant}?" in faults(CANARY, {key: 1})[key]

    def test_inside_of_thresholds_are_named_with_their_path(self) -> None:
        found = faults(CANARY, {"rollbackThresholds": {"errorrate": 0.1}})

        assert "Did you mean errorRate?" in found["rollbackThresholds.errorrate"]

    def test_of_another_strategy_are_unknown(self) -> None:
        assert list(faults(CANARY, {"batchSize": 25})) == ["batchSize"]

    def test_are_told_together_with_all_other_faults(self) -> None:
        found = faults(
            CANARY, {"canaryDuration": "P1M", "keepBlue": 5, "needsProof": "yes", "colour": 1}
        )

        assert set(found) == {"canaryDuration", "keepBlue", "needsProof", "colour"}
        assert "their length is not fixed" in found["canaryDuration"]


class TestLimits:
    def test_are_5_percent_and_no_latency_when_nothing_is_said(self) -> None:
        limits = planned(CANARY).limits

        assert (limits.error_rate, limits.slow_ms, limits.slow_rate) == (0.05, None, 0.01)
        assert (limits.needs_proof, limits.min_calls) == (False, None)

    def test_take_the_short_spelling(self) -> None:
        config = {"rollbackOnErrorRate": 0.02, "rollbackOnLatencyP99": 1000}

        limits = planned(CANARY, config).limits

        assert (limits.error_rate, limits.slow_ms) == (0.02, 1_000)

    def test_take_the_thresholds(self) -> None:
        config = {"rollbackThresholds": {"errorRate": 0.02, "latencyP99Ms": 800}}

        limits = planned(CANARY, config).limits

        assert (limits.error_rate, limits.slow_ms) == (0.02, 800)

    @pytest.mark.parametrize(
        ("errors", "successes", "limit"),
        [(0.05, 0.95, 0.05), (0.05, 0.99, 0.01), (0.01, 0.95, 0.01), (None, 0.97, 0.03)],
    )
    def test_hold_the_stricter_of_error_rate_and_success_rate(
        self, errors: float | None, successes: float, limit: float
    ) -> None:
        thresholds = {"successRate": successes, **({"errorRate": errors} if errors else {})}

        assert planned(CANARY, {"rollbackThresholds": thresholds}).limits.error_rate == limit

    def test_may_be_spelt_twice_when_both_say_the_same(self) -> None:
        config = {
            "rollbackOnErrorRate": 0.02,
            "rollbackOnLatencyP99": 900,
            "rollbackThresholds": {"errorRate": 0.02, "latencyP99Ms": 900},
        }

        limits = planned(CANARY, config).limits

        assert (limits.error_rate, limits.slow_ms) == (0.02, 900)

    @pytest.mark.parametrize(
        ("key", "value"), [("rollbackOnErrorRate", 0.02), ("rollbackOnLatencyP99", 900)]
    )
    def test_may_not_contradict_each_other(self, key: str, value: float) -> None:
        config = {key: value, "rollbackThresholds": {"errorRate": 0.05, "latencyP99Ms": 1_000}}

        assert "something else for the same limit" in faults(CANARY, config)[key]

    @pytest.mark.parametrize("thresholds", [0.05, [0.05], None, "strict"])
    def test_want_thresholds_to_be_an_object(self, thresholds: object) -> None:
        found = faults(CANARY, {"rollbackThresholds": thresholds})

        assert found == {"rollbackThresholds": "It must be an object."}

    def test_may_ask_for_proof_and_for_calls(self) -> None:
        limits = planned(CANARY, {"needsProof": True, "minimumCalls": 400}).limits

        assert (limits.needs_proof, limits.min_calls) == (True, 400)


class TestPolicies:
    def test_come_from_the_environment(self) -> None:
        defaults = PlanDefaults(
            on_inconclusive=OnInconclusive.PROMOTE,
            after_extensions=OnInconclusive.ROLL_BACK,
            extensions=7,
        )

        plan = planned(CANARY, defaults=defaults)

        assert (plan.on_inconclusive, plan.after_extensions, plan.extensions) == (
            OnInconclusive.PROMOTE,
            OnInconclusive.ROLL_BACK,
            7,
        )

    def test_may_be_set_for_one_deployment(self) -> None:
        config = {"onInconclusive": "Hold", "afterExtensions": "rollback", "extensions": 1}

        plan = planned(CANARY, config)

        assert (plan.on_inconclusive, plan.after_extensions, plan.extensions) == (
            OnInconclusive.HOLD,
            OnInconclusive.ROLL_BACK,
            1,
        )

    @pytest.mark.parametrize(
        ("key", "value", "known"),
        [
            ("onInconclusive", "wait", "extend, hold, rollback or promote"),
            ("afterExtensions", "extend", "hold, rollback or promote"),
            ("onInconclusive", None, "extend, hold, rollback or promote"),
        ],
    )
    def test_are_words(self, key: str, value: object, known: str) -> None:
        assert known in faults(CANARY, {key: value})[key]

    def test_have_defaults(self) -> None:
        plan = planned(CANARY)

        assert (plan.hold_timeout_seconds, plan.progress_deadline_seconds) == (0, 600)
        assert (plan.rolls_back, plan.keep_blue_seconds) == (True, 600)

    def test_hold_and_call_a_person_where_nothing_may_roll_back(self) -> None:
        assert planned(CANARY, {"rollbackOnFailure": False}).rolls_back is False


class TestMetrics:
    SOURCE = {"name": "queue", "type": "runner", "metric": "memory", "threshold": 100}

    def test_may_come_from_outside(self) -> None:
        assert planned(CANARY, {"metrics": [self.SOURCE]}) == planned(CANARY)

    @pytest.mark.parametrize(
        ("metrics", "field"),
        [
            ("cpu", "metrics"),
            ([{**SOURCE, "threshold": "high"}], "metrics.0.threshold"),
            ([SOURCE, {**SOURCE, "name": "b", "colour": 1}], "metrics.1.colour"),
        ],
    )
    def test_are_refused_by_their_path_among_all_faults(self, metrics: object, field: str) -> None:
        assert set(faults(CANARY, {"metrics": metrics, "keepBlue": 5})) == {field, "keepBlue"}


class TestMirror:
    def test_is_off(self) -> None:
        assert planned(CANARY).mirror == 0

    def test_is_refused_for_a_function_that_is_not_idempotent(self) -> None:
        found = faults(CANARY, {"mirrorPercentage": 0.01})

        assert "not marked idempotent" in found["mirrorPercentage"]
        assert planned(CANARY, {"mirrorPercentage": 0}).mirror == 0

    def test_repeats_a_share_of_calls_of_an_idempotent_one(self) -> None:
        assert planned(CANARY, {"mirrorPercentage": 5}, is_idempotent=True).mirror == 500


class TestUnit:
    @pytest.mark.parametrize(
        ("given", "unit"),
        [
            ("header:X-User", "header:x-user"),
            ("Header:X-Tenant-Id", "header:x-tenant-id"),
            ("cookie:uid", "cookie:uid"),
            ("cookie:UID", "cookie:UID"),
            ("user", "user"),
            ("header:" + "x" * 64, "header:" + "x" * 64),
        ],
    )
    def test_is_a_header_a_cookie_or_the_user(self, given: str, unit: str) -> None:
        assert planned(CANARY, {"stickyBy": given}).unit == unit

    @pytest.mark.parametrize(
        "given",
        [
            *["", "header", "header:", "header:a b", "cookie:a=b", "query:x", "ip", None, 5],
            *["header:" + "x" * 65, "header:x\n"],
        ],
    )
    def test_is_nothing_else(self, given: object) -> None:
        assert list(faults(CANARY, {"stickyBy": given})) == ["stickyBy"]

    def test_is_none_unless_asked_for(self) -> None:
        assert planned(CANARY).unit == ""


class TestPlans:
    @pytest.mark.parametrize("strategy", EVERY)
    def test_end_with_everything_on_the_candidate_or_with_a_person(
        self, strategy: Strategy
    ) -> None:
        plan = planned(strategy, ARMS if strategy is Strategy.AB_TESTING else {})

        assert plan.steps[-1].weight == 10_000 or plan.is_decided_by_person
        assert all(0 <= step.weight <= 10_000 for step in plan.steps)
        assert len({step.name for step in plan.steps}) == len(plan.steps)

    @pytest.mark.parametrize("strategy", EVERY)
    def test_are_the_same_after_a_round_trip(self, strategy: Strategy) -> None:
        plan = planned(strategy, ARMS if strategy is Strategy.AB_TESTING else {})

        assert plan_load(plan_document(plan)) == plan

    @given(
        st.builds(
            Step,
            name=st.text(max_size=20),
            weight=st.integers(0, 10_000),
            hold_seconds=st.floats(0, 3e6),
            runner_share=st.none() | st.integers(0, 10_000),
            regions=st.lists(st.text(max_size=5)).map(tuple),
            gate=st.text(max_size=5),
        ),
        st.floats(0, 3e6),
        st.sampled_from(OnInconclusive),
    )
    def test_keep_every_value_through_json(
        self, step: Step, seconds: float, policy: OnInconclusive
    ) -> None:
        plan = replace(Plan(steps=(step,)), keep_blue_seconds=seconds, on_inconclusive=policy)

        assert plan_load(plan_document(plan)) == plan
