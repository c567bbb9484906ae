"""What pages say of a deployment: its steps, its clocks, and what comes next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.states import Command, Held, Phase
from deployments.types import Plan, Step
from hotswap.dashboard import rollouts

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DEPLOYMENT = SimpleNamespace(from_number=3, to_number=4)
PLAN = Plan(
    steps=(
        Step(name="10 %", weight=1_000, hold_seconds=600),
        Step(name="50 %", weight=5_000, hold_seconds=600, gate="approval"),
        Step(name="100 %", weight=10_000, hold_seconds=600),
    )
)


def attempt(phase: Phase, **changes: Any) -> SimpleNamespace:
    """An attempt whose phase began 100 s ago."""
    given = {
        "phase": phase, "reason": "", "step_index": 0, "held_reason": "", "weight": 1_000,
        "runner_weights": {}, "gates_passed": [], "extensions": 0, "observed_seconds": 0.0,
        "held_from": "",
        "observing_since": None, "phase_since": NOW - timedelta(seconds=100), "finished_at": None,
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def situation(found: Any, plan: Plan = PLAN, missing: int = 0) -> rollouts.Situation:
    return rollouts.situation(
        deployment=DEPLOYMENT, attempt=found, plan=plan, approvals_missing=missing, now=NOW
    )


class TestTheClock:
    def test_runs_from_the_acknowledgement_and_keeps_what_it_had(self) -> None:
        since = NOW - timedelta(seconds=60)
        seen = situation(attempt(Phase.OBSERVING, observing_since=since, observed_seconds=200.0))

        assert (seen.left, seen.whole, seen.clock) == (340.0, 600.0, "next")

    def test_stands_while_no_gateway_has_acknowledged(self) -> None:
        assert situation(attempt(Phase.OBSERVING, observed_seconds=10.0)).left == 590.0

    def test_counts_the_time_until_the_old_version_cools_down(self) -> None:
        assert situation(attempt(Phase.SETTLING)).left == PLAN.keep_blue_seconds - 100

    def test_is_a_deadline_where_nothing_comes_by_itself(self) -> None:
        assert situation(attempt(Phase.PREPARING)).clock == "deadline"

    @pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.SUCCEEDED])
    def test_is_not_there_where_nothing_runs_out(self, phase: Phase) -> None:
        assert situation(attempt(phase)).clock == ""

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0, "0:00"), (192.9, "3:12"), (3_850, "1:04:10")]
    )
    def test_reads_as_clocks_do(self, seconds: float, text: str) -> None:
        assert rollouts.clock_text(seconds) == text


class TestWhatComesNext:
    def test_is_the_next_step(self) -> None:
        observing = attempt(Phase.OBSERVING, observing_since=NOW)

        assert situation(observing).next == "50 %, if the judge passes"

    def test_is_the_judges_word_when_the_time_is_over(self) -> None:
        over = attempt(Phase.OBSERVING, observed_seconds=600.0)

        assert situation(over).next == "50 % as soon as the judge passes"

    def test_names_a_gate_until_it_was_passed(self) -> None:
        waiting = attempt(Phase.OBSERVING, step_index=1, observing_since=NOW)
        passed = attempt(
            Phase.OBSERVING, step_index=1, observing_since=NOW, gates_passed=["step-1"]
        )

        assert situation(waiting).next.startswith("approval by a person, then 100 %")
        assert situation(passed).next.startswith("100 %")

    def test_is_promotion_or_a_person_at_the_end(self) -> None:
        last = attempt(Phase.OBSERVING, step_index=2, observing_since=NOW)

        assert situation(last).next.startswith("v4 is promoted")
        by_person = replace(PLAN, is_decided_by_person=True)
        assert situation(last, by_person).next.startswith("a person decides")

    def test_counts_the_approvals_that_miss(self) -> None:
        waiting = attempt(Phase.AWAITING_APPROVAL)

        assert situation(waiting, missing=1).next == "it starts with 1 more approval"
        assert situation(waiting, missing=2).next == "it starts with 2 more approvals"

    @pytest.mark.parametrize("held", list(Held))
    def test_is_said_for_every_reason_to_hold(self, held: Held) -> None:
        assert situation(attempt(Phase.HELD, held_reason=held)).next

    def test_warns_of_the_end_of_a_hold(self) -> None:
        plan = replace(PLAN, hold_timeout_seconds=300.0)
        seen = situation(attempt(Phase.HELD, held_reason=Held.MANUAL), plan)

        assert (seen.left, seen.clock) == (200.0, "next")
        assert seen.next == "unless somebody acts, all calls go back to v3"

    @pytest.mark.parametrize("phase", list(Phase))
    def test_every_phase_has_a_name_and_a_sentence(self, phase: Phase) -> None:
        seen = situation(attempt(phase))

        assert seen.label
        assert seen.reason.endswith(".")

    def test_the_machines_own_reason_comes_first(self) -> None:
        assert situation(attempt(Phase.FAILED, reason="It does not start")).reason == (
            "It does not start."
        )


class TestTheTrack:
    @pytest.mark.parametrize(
        ("phase", "step", "states"),
        [
            (Phase.PREPARING, 0, ["next", "next", "next"]),
            (Phase.OBSERVING, 1, ["done", "now", "next"]),
            (Phase.HELD, 1, ["done", "now", "next"]),
            (Phase.SETTLING, 2, ["done", "done", "done"]),
            (Phase.ROLLING_BACK, 1, ["done", "failed", "never"]),
            (Phase.ROLLED_BACK, 1, ["done", "failed", "never"]),
            (Phase.CANCELLED, 0, ["never", "never", "never"]),
        ],
    )
    def test_says_what_was_done_and_what_follows(
        self, phase: Phase, step: int, states: list[str]
    ) -> None:
        track = rollouts.track(PLAN, attempt(phase, step_index=step))

        assert [stop.state for stop in track] == states

    def test_the_share_is_the_mean_where_runners_differ(self) -> None:
        rolling = attempt(
            Phase.OBSERVING, weight=10_000, runner_weights={"a": 10_000, "b": 0, "c": 0, "d": 0}
        )

        assert rollouts.share_of(rolling) == 2_500


class TestButtons:
    def test_are_the_allowed_ones_and_one_stands_out(self) -> None:
        allowed = [Command.PROMOTE, Command.RESUME, Command.ABORT]

        found = rollouts.buttons(allowed, DEPLOYMENT)

        assert {each["command"] for each in found} == set(allowed)
        assert [each["tone"] for each in found].count("primary") == 1

    @pytest.mark.parametrize(
        ("stands", "kept"),
        [
            ({"phase": Phase.OBSERVING}, Command.ABORT),
            ({"phase": Phase.SETTLING}, Command.ROLLBACK),
            ({"phase": Phase.HELD, "held_from": Phase.SETTLING}, Command.ROLLBACK),
        ],
    )
    def test_offer_one_way_back(self, stands: dict[str, Phase], kept: Command) -> None:
        both = [Command.PAUSE, Command.ABORT, Command.ROLLBACK]
        stood = attempt(**stands)

        assert rollouts.one_way_back(both, stood) == [Command.PAUSE, kept]
        assert rollouts.one_way_back([Command.ROLLBACK], stood) == [Command.ROLLBACK]

    @pytest.mark.parametrize("command", [Command.ABORT, Command.ROLLBACK, Command.PROMOTE_FULL])
    def test_what_cannot_be_undone_asks_first(self, command: Command) -> None:
        (button,) = rollouts.buttons([command], DEPLOYMENT)

        assert button["asks"].endswith("?")

    def test_every_command_has_one(self) -> None:
        assert len(rollouts.buttons(list(Command), DEPLOYMENT)) == len(Command)


class TestDurations:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (45, "45 s"), (90, "1 min 30 s"), (600, "10 min"), (5_400, "1 h 30 min")],
    )
    def test_read_as_people_say_them(self, seconds: float, text: str) -> None:
        assert rollouts.duration(seconds) == text


class TestThePicture:
    def test_is_a_staircase(self) -> None:
        line = rollouts.path_of([(1_000, 1), (10_000, 1)], width=100, height=10)

        assert line == "M0 10V9.0H50.0V0.0H100.0"
