"""The start form: its answers as the API spells them, and what it predicts."""

import pytest

from deployments.analysis import power
from deployments.forecast import Forecast
from deployments.services.deployments import Preview
from deployments.strategies.base import PlanDefaults, compile_plan
from deployments.types import Fleet, Strategy
from hotswap.core.errors import InvalidInput
from hotswap.dashboard import start_form, strategy_forms

FLEET = Fleet({"r1": "eu", "r2": "us"})


def previewed(strategy: Strategy, rate: float, **config: object) -> dict[str, object]:
    """What the form says of a plan at so many calls a second."""
    plan = compile_plan(
        strategy=strategy, config=config, fleet=FLEET, function_timeout_seconds=30,
        is_idempotent=True, defaults=PlanDefaults(), stable=1, candidate=2,
    )  # fmt: skip
    found = Preview(
        plan=plan, alias="production", from_number=1, to_number=2, outcome="start", sentence="Go."
    )
    needed = power.calls_to_detect(plan.limits, 3.0, 0.95)
    seen = Forecast(calls_per_second=rate, calls_to_detect=needed, seconds_to_detect=())
    return start_form.preview(found, seen)


def hints(shown: dict[str, object]) -> str:
    found = shown["hints"]
    assert isinstance(found, list)
    return " ".join(hint["text"] for hint in found)


class TestAnswers:
    def test_empty_fields_are_left_out(self) -> None:
        canary = strategy_forms.choice_of("Canary")

        config = strategy_forms.config_of({"increments": " "}, canary, stable=1, candidate="v2")

        assert config == {}

    @pytest.mark.parametrize(
        ("unit", "text"), [("S", "PT5S"), ("M", "PT5M"), ("H", "PT5H"), ("D", "P5D")]
    )
    def test_durations_have_a_unit(self, unit: str, text: str) -> None:
        given = {"canaryDuration": "5", "canaryDuration.unit": unit}
        canary = strategy_forms.choice_of("Canary")

        config = strategy_forms.config_of(given, canary, stable=1, candidate="v2")

        assert config == {"canaryDuration": text}

    def test_shares_and_rates_are_in_per_cent(self) -> None:
        given = {"increments": "5; 25 %, 100", "rollbackThresholds.errorRate": "0,5"}
        canary = strategy_forms.choice_of("Canary")

        config = strategy_forms.config_of(given, canary, stable=1, candidate="v2")

        assert config == {
            "increments": [5, 25, 100],
            "rollbackThresholds": {"errorRate": 0.005},
        }

    def test_a_test_names_both_arms(self) -> None:
        choice = strategy_forms.choice_of("ABTesting")

        config = strategy_forms.config_of({"share": "30"}, choice, stable=1, candidate="v2")

        assert config["trafficSplit"] == {"v1": 70, "v2": 30}
        assert (config["versionA"], config["versionB"]) == ("v1", "v2")

    @pytest.mark.parametrize("choice", strategy_forms.CHOICES, ids=lambda c: str(c.strategy))
    def test_what_the_form_starts_with_is_accepted(self, choice: strategy_forms.Choice) -> None:
        given = {field.key: field.value for field in choice.fields} | {
            f"{field.key}.unit": field.unit for field in choice.fields
        }
        config = strategy_forms.config_of(given, choice, stable=1, candidate="v2")

        assert previewed(choice.strategy, 10.0, **config)["steps"]

    def test_errors_find_their_fields(self) -> None:
        error = InvalidInput(
            "trafficSplit: The shares must sum to 100.",
            errors=[{"field": "trafficSplit", "message": "The shares must sum to 100."}],
        )

        assert start_form.errors_of(error) == {"share": "The shares must sum to 100."}
        assert start_form.errors_of(InvalidInput("No.")) == {"": "No."}


class TestPredictions:
    def test_a_busy_function_keeps_to_its_plan(self) -> None:
        shown = previewed(Strategy.CANARY, 100.0)

        assert shown["total"] == "30 min in all,"
        assert hints(shown) == ""

    def test_a_quiet_one_takes_as_long_as_its_calls(self) -> None:
        shown = previewed(Strategy.CANARY, 0.02, rollbackThresholds={"errorRate": 0.01})

        assert "At 1.2 calls a minute a share of 10 % needs about" in hints(shown)
        assert "in all" in str(shown["total"])

    def test_one_that_nobody_calls_has_no_end(self) -> None:
        shown = previewed(Strategy.CANARY, 0.0)

        assert shown["total"] == "Its end cannot be foretold."
        assert shown["detect"] == []

    def test_worse_harm_is_found_sooner(self) -> None:
        shown = previewed(Strategy.CANARY, 1.0)

        assert shown["detect"] == [
            {"text": "a 3x rise over the limit", "time": "about 40 min"},
            {"text": "a 5x rise over the limit", "time": "about 12 min"},
        ]

    def test_a_test_ends_when_a_person_decides(self) -> None:
        shown = previewed(Strategy.AB_TESTING, 10.0, versionA="v1", versionB="v2")

        assert shown["total"] == "Ends when you decide."

    def test_all_at_once_says_what_it_means(self) -> None:
        assert "Every caller gets v2 at once." in hints(previewed(Strategy.ALL_AT_ONCE, 10.0))

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0.2, "under 1 s"), (85, "about 85 s"), (600, "about 10 min"), (25_200, "about 7 h")],
    )
    def test_times_are_no_more_exact_than_they_are_known(self, seconds: float, text: str) -> None:
        assert start_form.about(seconds) == text
