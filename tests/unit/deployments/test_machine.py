"""Single decisions of the machine: who wins in one tick, what each phase waits for."""

from dataclasses import replace
from typing import Any

import pytest

from deployments.analysis.verdict import Cause, Verdict
from deployments.machine import (
    Clock,
    Move,
    Route,
    Runner,
    View,
    command,
    decide,
    is_leased,
    legal,
    route_of,
    shares,
    stand_of,
)
from deployments.states import Command, Held, Phase
from deployments.types import ALL, OnInconclusive, Plan, Step
from hotswap.core.errors import IllegalTransition
from tests.unit.deployments.simulated import PLANS, canary, judged

READY = {"r1": Runner("", 1, 1), "r2": Runner("", 1, 1)}
FAIL = judged(Verdict.FAIL)
PASS = judged(Verdict.PASS)
UNSURE = judged(Verdict.INCONCLUSIVE, Cause.FEW_SAMPLES)
SILENT = judged(Verdict.INCONCLUSIVE, Cause.NO_TRAFFIC)
SHARED = judged(Verdict.HELD, Cause.SHARED_CAUSE)


def view(phase: Phase = Phase.OBSERVING, **changes: Any) -> View:
    """A canary whose first step is over and healthy, with everything in order."""
    weight = 1_000 if phase in (Phase.SHIFTING, Phase.OBSERVING, Phase.HELD) else 0
    if phase in (Phase.PROMOTING, Phase.SETTLING):
        weight = ALL
    given: dict[str, Any] = {
        "phase": phase, "plan": canary(), "route": Route(weight), "observed_seconds": 61.0,
        "is_clock_running": True, "runners": READY, "gateways": 2, "is_acked": True,
        "has_leases": True, "candidate_in_flight": 0, "stable_in_flight": 0, "evidence_age": 0.4,
        "judgement": PASS,
    }  # fmt: skip
    return View(**{**given, **changes})


class TestPrecedence:
    """Rule 1: FAIL, abort, supersede, deadline, hold, INCONCLUSIVE, PASS."""

    everything: dict[str, Any] = {
        "judgement": FAIL, "is_gone": True, "newer": "d2", "is_overdue": True, "freeze": "Frozen.",
    }  # fmt: skip

    @pytest.mark.parametrize(
        ("without", "phase", "words"),
        [
            ((), Phase.ROLLING_BACK, "It is fail"),
            (("judgement",), Phase.ROLLING_BACK, "function was deleted"),
            (("judgement", "is_gone"), Phase.ROLLING_BACK, "Deployment d2 takes its place"),
            (("judgement", "is_gone", "newer"), Phase.ROLLING_BACK, "not taken by every gateway"),
            (("judgement", "is_gone", "newer", "is_overdue"), Phase.HELD, "Frozen"),
        ],
    )
    def test_the_first_that_is_there_wins(
        self, without: tuple[str, ...], phase: Phase, words: str
    ) -> None:
        """C50."""
        left = {key: value for key, value in self.everything.items() if key not in without}

        decision = decide(view(**left))

        assert decision.phase is phase
        assert words in decision.reason

    def test_inconclusive_beats_pass(self) -> None:
        assert decide(view(judgement=UNSURE)).phase is Phase.OBSERVING

    def test_only_pass_goes_on(self) -> None:
        decision = decide(view())

        assert (decision.phase, decision.step_index) == (Phase.SHIFTING, 1)
        assert decision.route == Route(5_000)

    def test_an_abort_of_a_failing_version_has_the_failure_as_its_reason(self) -> None:
        decision = command(view(judgement=FAIL), Command.ABORT, actor="eva")

        assert decision.reason == "It is fail."

    def test_a_failure_that_was_superseded_too_is_a_rollback(self) -> None:
        assert not decide(view(judgement=FAIL, newer="d2")).is_superseded
        assert decide(view(newer="d2")).is_superseded

    @pytest.mark.parametrize("wanted", [Command.PROMOTE, Command.PROMOTE_FULL])
    def test_nobody_promotes_a_failing_version(self, wanted: Command) -> None:
        with pytest.raises(IllegalTransition, match="failing"):
            command(view(judgement=FAIL), wanted, actor="eva")


class TestGuards:
    """Rule 7."""

    @pytest.mark.parametrize(
        "phase",
        [Phase.SHIFTING, Phase.OBSERVING, Phase.HELD, Phase.PROMOTING, Phase.SETTLING],
    )
    def test_are_on_wherever_there_is_traffic(self, phase: Phase) -> None:
        held = Held.MANUAL if phase is Phase.HELD else None

        decision = decide(view(phase, judgement=FAIL, held=held, is_alias_moved=True))

        assert decision.phase is Phase.ROLLING_BACK
        assert decision.route == Route()
        assert decision.alias is Move.STABLE

    def test_are_off_without_traffic(self) -> None:
        """A preview is no evidence."""
        green = view(route=Route(), judgement=FAIL, plan=PLANS["blue-green"])

        assert decide(green).phase is Phase.SHIFTING

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"is_reversible": False}, "not reversible"),
            ({"plan": canary(rolls_back=False)}, "does not roll back by itself"),
            ({"is_first": True}, "no earlier version"),
        ],
    )
    def test_call_a_person_where_there_is_no_way_back(
        self, changes: dict[str, Any], words: str
    ) -> None:
        """P24."""
        decision = decide(view(judgement=FAIL, **changes))

        assert (decision.phase, decision.held) == (Phase.HELD, Held.IRREVERSIBLE)
        assert words in decision.reason

    def test_see_a_lost_lease(self) -> None:
        """Rule 10."""
        assert decide(view(is_lease_lost=True)).phase is Phase.ROLLING_BACK
        assert decide(view(Phase.SETTLING, is_lease_lost=True)).phase is not Phase.ROLLING_BACK

    @pytest.mark.parametrize(
        ("state", "phase"),
        [
            ("breached", Phase.ROLLING_BACK),
            ("stale", Phase.HELD),
            ("signal", Phase.HELD),
            ("waiting", Phase.OBSERVING),
            ("ok", Phase.SHIFTING),
        ],
    )
    def test_listen_to_external_sources(self, state: str, phase: Phase) -> None:
        assert decide(view(sources=state, sources_sentence="cpu is high")).phase is phase


class TestPass:
    """Rule 6: everything at once."""

    @pytest.mark.parametrize(
        "missing",
        [
            {"observed_seconds": 59.0},
            {"is_acked": False},
            {"evidence_age": None},
            {"evidence_age": 1.6},
            {"judgement": UNSURE},
            {"runners": {"r1": Runner("", 0, 1)}},
        ],
    )
    def test_needs_all_of_it(self, missing: dict[str, Any]) -> None:
        """C26, C40, C50: none is missing."""
        assert decide(view(**missing)).phase is Phase.OBSERVING

    def test_of_the_last_step_promotes(self) -> None:
        decision = decide(view(step_index=2, route=Route(ALL)))

        assert (decision.phase, decision.alias) == (Phase.PROMOTING, Move.CANDIDATE)
        assert decision.route == Route(ALL)

    def test_of_a_test_by_hand_waits_for_its_decision(self) -> None:
        """A/B never promotes by itself."""
        plan = PLANS["decided by a person"]

        decision = decide(view(plan=plan, route=Route(5_000)))

        assert (decision.phase, decision.held) == (Phase.HELD, Held.DECISION)
        chosen = view(Phase.HELD, plan=plan, held=Held.DECISION, route=Route(5_000))
        assert command(chosen, Command.PROMOTE, actor="eva").phase is Phase.PROMOTING

    @pytest.mark.parametrize(
        ("policy", "phase", "held"),
        [
            (OnInconclusive.HOLD, Phase.HELD, Held.NO_TRAFFIC),
            (OnInconclusive.ROLL_BACK, Phase.ROLLING_BACK, None),
            (OnInconclusive.PROMOTE, Phase.SHIFTING, None),
            (OnInconclusive.EXTEND, Phase.OBSERVING, None),
        ],
    )
    def test_that_does_not_come_follows_the_policy(
        self, policy: OnInconclusive, phase: Phase, held: Held | None
    ) -> None:
        """C46, C50, P15."""
        decision = decide(view(judgement=SILENT, plan=canary(on_inconclusive=policy)))

        assert (decision.phase, decision.held) == (phase, held)

    def test_that_comes_late_ends_the_hold(self) -> None:
        held = view(Phase.HELD, held=Held.NO_TRAFFIC, held_from=Phase.OBSERVING, judgement=SILENT)
        assert decide(held).phase is Phase.HELD

        decision = decide(replace(held, judgement=PASS))

        assert (decision.phase, decision.clock) == (Phase.OBSERVING, Clock.START)

    def test_with_a_stable_version_as_bad_is_up_to_the_environment(self) -> None:
        """P13."""
        assert decide(view(judgement=SHARED)).held is Held.SHARED_CAUSE
        assert decide(view(judgement=SHARED, prefers_candidate=True)).phase is Phase.SHIFTING

    def test_of_an_overdue_plan_takes_one_step(self) -> None:
        """C32, rule 12, P19."""
        decision = decide(view(observed_seconds=100_000.0))

        assert (decision.step_index, decision.step_passed) == (1, True)


class TestHooks:
    hooks = frozenset({"confirm-rollout", "pre-rollout", "confirm-traffic-increase"})

    def test_are_asked_once_and_waited_for(self) -> None:
        """P29."""
        first = decide(view(hooks=self.hooks))
        assert (first.phase, first.held) == (Phase.HELD, Held.GATE)
        assert first.wants == (("confirm-traffic-increase", "confirm-traffic-increase-0"),)

        waiting = view(
            Phase.HELD, held=Held.GATE, held_from=Phase.OBSERVING, hooks=self.hooks,
            answers={"confirm-traffic-increase-0": "pending"},
        )  # fmt: skip
        again = decide(waiting)
        assert (again.phase, again.wants) == (Phase.HELD, ())

        opened = decide(replace(waiting, answers={"confirm-traffic-increase-0": "ok"}))
        assert opened.phase is Phase.OBSERVING

    @pytest.mark.parametrize("answer", ["refused", "late"])
    def test_that_do_not_agree_end_it(self, answer: str) -> None:
        held = view(
            Phase.HELD, held=Held.GATE, held_from=Phase.OBSERVING, hooks=self.hooks,
            answers={"confirm-traffic-increase-0": answer},
        )  # fmt: skip
        assert decide(held).phase is Phase.ROLLING_BACK

        before = view(Phase.PREPARING, hooks=self.hooks, answers={"confirm-rollout": answer})
        assert decide(before).phase is Phase.FAILED

    def test_are_asked_in_their_order_before_the_start(self) -> None:
        start = view(Phase.PREPARING, hooks=self.hooks)
        assert decide(start).wants == (("confirm-rollout", "confirm-rollout"),)

        second = replace(start, answers={"confirm-rollout": "ok"})
        assert decide(second).wants == (("pre-rollout", "pre-rollout"),)
        both = {"confirm-rollout": "ok", "pre-rollout": "ok"}
        assert decide(replace(start, answers=both)).phase is Phase.SHIFTING


class TestClock:
    """Rule 5."""

    def test_starts_with_the_last_acknowledgement_and_lease(self) -> None:
        shifting = view(Phase.SHIFTING)
        assert decide(replace(shifting, is_acked=False)).phase is Phase.SHIFTING
        assert decide(replace(shifting, has_leases=False)).phase is Phase.SHIFTING
        assert decide(replace(shifting, gateways=0)).phase is Phase.SHIFTING

        decision = decide(shifting)

        assert (decision.phase, decision.clock) == (Phase.OBSERVING, Clock.START)

    def test_stops_while_it_is_held(self) -> None:
        assert command(view(), Command.PAUSE, actor="eva").clock is Clock.STOP

    def test_of_a_held_attempt_ends_it_where_the_plan_says_so(self) -> None:
        """C10."""
        held = view(Phase.HELD, held=Held.MANUAL, held_from=Phase.OBSERVING, is_overdue=True)

        assert decide(held).phase is Phase.ROLLING_BACK


class TestRollback:
    def test_ends_after_acknowledgement_and_drain(self) -> None:
        """Rule 4, C70."""
        back = view(Phase.ROLLING_BACK, is_acked=False, observed_seconds=0.0, phase_seconds=3.0)
        assert decide(back).must_publish
        assert decide(replace(back, phase_seconds=11.0)).phase is Phase.ROLLBACK_STUCK
        acked = replace(back, is_acked=True)
        assert decide(replace(acked, is_clock_running=False)).clock is Clock.RESTART
        busy = replace(acked, candidate_in_flight=2)
        assert decide(busy).phase is Phase.ROLLING_BACK
        assert decide(acked).phase is Phase.ROLLED_BACK

        late = decide(replace(busy, observed_seconds=31.0))

        assert (late.phase, late.counts_dropped) == (Phase.ROLLED_BACK, True)

    def test_for_another_deployment_is_named_so(self) -> None:
        back = view(Phase.ROLLING_BACK, observed_seconds=1.0, is_superseded=True)

        assert decide(back).phase is Phase.SUPERSEDED

    def test_needs_no_instance_of_what_is_given_up(self) -> None:
        """C27, P7."""
        empty = view(runners={}, gateways=1)

        assert command(empty, Command.ABORT, actor="eva").route == Route()


class TestCommands:
    def test_name_what_is_legal_when_they_are_not(self) -> None:
        with pytest.raises(IllegalTransition) as refused:
            command(view(Phase.PROMOTING), Command.RESUME, actor="eva")

        assert refused.value.extras == {"legal": ["abort", "rollback"]}

    @pytest.mark.parametrize(
        ("phase", "wanted"),
        [
            (Phase.PREPARING, ["promote-full", "abort"]),
            (Phase.OBSERVING, ["promote", "promote-full", "pause", "abort", "rollback"]),
            (Phase.SETTLING, ["promote-full", "pause", "abort", "rollback"]),
            (Phase.ROLLING_BACK, []),
            (Phase.SUCCEEDED, ["rollback"]),
            (Phase.FAILED, ["retry"]),
        ],
    )
    def test_that_are_legal_by_phase(self, phase: Phase, wanted: list[str]) -> None:
        assert legal(stand_of(view(phase))) == wanted

    def test_do_not_go_past_a_gate_for_others(self) -> None:
        """C81: promote is no approval."""
        gated = view(plan=PLANS["canary with an approval"])

        assert {Command.PROMOTE, Command.PROMOTE_FULL}.isdisjoint(legal(stand_of(gated)))

    @pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.OBSERVING, Phase.PREPARING])
    def test_promote_everything_from_anywhere(self, phase: Phase) -> None:
        """C05."""
        decision = command(view(phase), Command.PROMOTE_FULL, actor="eva")

        expected = Phase.PREPARING if phase is Phase.PREPARING else Phase.PROMOTING
        assert decision.phase is expected

    def test_promote_nothing_that_cannot_serve(self) -> None:
        """Rule 11, C26."""
        with pytest.raises(IllegalTransition, match="ready"):
            command(view(runners={"r1": Runner("", 0, 1)}), Command.PROMOTE, actor="eva")


class TestRoutes:
    runners = {f"r{n}": Runner("eu" if n < 3 else "us", 1, 1) for n in range(4)}

    @pytest.mark.parametrize(
        ("names", "share", "count"),
        [(4, 2_500, 1), (4, 2_501, 2), (4, 9_999, 3), (4, ALL, 4), (1, 2_500, 1), (10, 4_100, 5)],
    )
    def test_of_a_batch_round_up_but_never_take_all(
        self, names: int, share: int, count: int
    ) -> None:
        """C67, P12."""
        runners = {f"r{n}": Runner() for n in range(names)}

        route = route_of(Step(name="b", weight=ALL, runner_share=share), runners, Route())

        served = names if route.weight == ALL else len(route.runner_weights)
        assert served == count

    def test_of_a_batch_keep_who_has_it_and_replace_who_is_lost(self) -> None:
        """C23: runners that serve the candidate keep it."""
        step = Step(name="b", weight=ALL, runner_share=5_000)
        now = Route(0, {"r3": ALL, "lost": ALL})

        route = route_of(step, self.runners, now)

        assert route.runner_weights == {"r0": ALL, "r3": ALL}

    def test_that_lost_a_runner_are_shifted_again_without_losing_their_clock(self) -> None:
        plan = Plan(steps=(Step(name="b", weight=ALL, runner_share=5_000, hold_seconds=60),) * 2)
        lost = view(plan=plan, runners=self.runners, route=Route(0, {"lost": ALL, "r0": ALL}))

        decision = decide(lost)

        assert (decision.phase, decision.step_index) == (Phase.SHIFTING, 0)
        assert decision.clock is Clock.STOP

    def test_of_waves_follow_regions(self) -> None:
        step = Step(name="w", weight=1_000, regions=("us",), finished_regions=("eu",))

        route = route_of(step, self.runners, Route())

        assert route.runner_weights == {"r0": ALL, "r1": ALL, "r2": ALL, "r3": 1_000}
        assert shares(route, self.runners) == {"": 0, "eu": ALL, "us": 1_000}

    def test_of_a_batch_know_their_share(self) -> None:
        assert shares(Route(0, {"r0": ALL, "r1": ALL}), self.runners)["eu"] == 6_666

    def test_are_leased_where_calls_divide(self) -> None:
        leased = [is_leased(r) for r in (Route(), Route(1), Route(9_999), Route(ALL))]
        assert leased == [False, True, True, False]
        assert is_leased(Route(0, {"r0": ALL}))
