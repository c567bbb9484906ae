import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.analysis.evidence import Arm, Cell, Evidence
from deployments.analysis.gates import Gate, Kind
from deployments.analysis.verdict import Cause, Judgement, Verdict, judge
from deployments.types import Limits
from tests.unit.deployments.analysis.test_evidence import evidences

PER_CENT = Limits(error_rate=0.01)
LATENCY = Limits(error_rate=0.5, slow_ms=200)


def evidence(
    candidate: Arm,
    stable: Arm,
    *cells: Cell,
    cold: bool = False,
    age: float | None = 0.4,
    failing: int = 9,
    clients: int = 50,
    carries_all: bool = False,
) -> Evidence:
    first = Cell(cold, 0.1, candidate, stable)
    return Evidence((first, *cells), failing, clients, age, carries_all)


def ask(
    seen: Evidence,
    limits: Limits = PER_CENT,
    *,
    duration_is_over: bool = True,
    needs_samples: bool = True,
) -> Judgement:
    return judge(seen, limits, duration_is_over=duration_is_over, needs_samples=needs_samples)


def gate(judgement: Judgement, kind: Kind, metric: str = "errors") -> Gate:
    return next(g for g in judgement.gates if (g.kind, g.metric) == (kind, metric))


HEALTHY = evidence(Arm(5_000, 20), Arm(45_000, 180))


class TestVerdictTable:
    """delivery.md 6.2, line by line."""

    def test_worse_than_stable_fails_though_under_the_limit(self) -> None:
        judgement = ask(evidence(Arm(2_000, 60), Arm(18_000, 90)), Limits(error_rate=0.05))

        assert judgement.verdict is Verdict.FAIL
        assert not gate(judgement, Kind.ABSOLUTE).has_crossed
        assert gate(judgement, Kind.RELATIVE).has_crossed

    def test_worse_than_stable_fails_though_stable_is_over_the_limit(self) -> None:
        judgement = ask(evidence(Arm(1_000, 500), Arm(9_000, 900)))

        assert judgement.verdict is Verdict.FAIL
        assert gate(judgement, Kind.STABLE).has_crossed

    def test_over_the_limit_fails_where_stable_is_not(self) -> None:
        judgement = ask(evidence(Arm(200, 12), Arm(200, 2)))

        assert (judgement.verdict, judgement.cause) == (Verdict.FAIL, Cause.NONE)
        assert gate(judgement, Kind.ABSOLUTE).has_crossed
        assert not gate(judgement, Kind.RELATIVE).has_crossed
        assert judgement.sentence.startswith("Over the limit: 12 of 200 calls failed")

    def test_an_outage_that_both_share_is_held(self) -> None:
        """S7, P33: nobody is rolled back for what the stable version suffers too."""
        judgement = ask(evidence(Arm(300, 90), Arm(2_700, 810)))

        assert (judgement.verdict, judgement.cause) == (Verdict.HELD, Cause.SHARED_CAUSE)

    def test_an_outage_after_long_health_is_held(self) -> None:
        """Stable's own sums still look healthy; the comparison knows better."""
        judgement = ask(evidence(Arm(1_060, 27), Arm(1_060, 21)))

        assert gate(judgement, Kind.ABSOLUTE).has_crossed
        assert not gate(judgement, Kind.STABLE).has_crossed
        assert (judgement.verdict, judgement.cause) == (Verdict.HELD, Cause.SHARED_CAUSE)

    def test_an_outage_fails_where_nothing_runs_beside_the_candidate(self) -> None:
        judgement = ask(evidence(Arm(300, 90), Arm(2_700, 810), carries_all=True))

        assert judgement.verdict is Verdict.FAIL

    def test_health_passes(self) -> None:
        judgement = ask(HEALTHY)

        assert (judgement.verdict, judgement.cause) == (Verdict.PASS, Cause.NONE)
        assert judgement.sentence == "No sign of harm in 5,000 calls."

    def test_harm_in_one_metric_outweighs_a_shared_cause_in_another(self) -> None:
        """C42, C49, C50: one critical metric decides, FAIL before HELD."""
        seen = evidence(Arm(1_000, 300, 200), Arm(9_000, 2_700, 18))

        judgement = ask(seen, Limits(error_rate=0.01, slow_ms=200))

        assert judgement.verdict is Verdict.FAIL
        assert "took more than 200 ms" in judgement.sentence

    def test_harm_outweighs_everything_that_is_missing(self) -> None:
        """C50, rule 1: precedence of simultaneous findings."""
        seen = evidence(Arm(40, 40), Arm(360, 0), age=None)

        assert ask(seen, duration_is_over=False).verdict is Verdict.FAIL


class TestFloor:
    def test_four_bad_calls_are_not_enough(self) -> None:
        judgement = ask(evidence(Arm(4, 4), Arm(36, 0)))

        assert gate(judgement, Kind.ABSOLUTE).is_held_back
        assert (judgement.verdict, judgement.cause) == (
            Verdict.INCONCLUSIVE,
            Cause.FEW_SAMPLES,
        )
        assert "counts from 5 such calls on" in gate(judgement, Kind.ABSOLUTE).sentence

    def test_five_are(self) -> None:
        """S5."""
        assert ask(evidence(Arm(5, 5), Arm(45, 0))).verdict is Verdict.FAIL

    def test_one_client_of_many_is_not_enough_and_does_not_pass(self) -> None:
        judgement = ask(evidence(Arm(5_000, 200), Arm(45_000, 0), failing=1))

        assert (judgement.verdict, judgement.cause) == (
            Verdict.INCONCLUSIVE,
            Cause.FEW_SAMPLES,
        )
        assert "counts once 2 clients have seen it" in judgement.sentence

    @pytest.mark.parametrize("clients", [0, 1])
    def test_a_sole_caller_needs_five_bad_calls_only(self, clients: int) -> None:
        seen = evidence(Arm(5, 5), Arm(45, 0), failing=clients, clients=clients)

        assert ask(seen).verdict is Verdict.FAIL

    def test_slow_calls_have_no_clients(self) -> None:
        seen = evidence(Arm(100, 0, 40), Arm(900, 0, 3), failing=0)

        assert ask(seen, LATENCY).verdict is Verdict.FAIL

    def test_repeats_count_towards_it(self) -> None:
        assert ask(evidence(Arm(9, 3, 0, 6), Arm(81, 0), failing=3)).verdict is Verdict.FAIL


class TestWarning:
    def test_that_is_too_weak_to_roll_back_does_not_pass(self) -> None:
        """P15: every call of one client among others failed, within one minute."""
        judgement = ask(evidence(Arm(43, 1, 0, 42), Arm(160, 0), failing=1), Limits(min_calls=20))

        assert (judgement.verdict, judgement.cause) == (Verdict.INCONCLUSIVE, Cause.FEW_SAMPLES)
        assert "43 of 43 calls failed" in judgement.sentence


class TestWhatPassNeeds:
    def test_time(self) -> None:
        judgement = ask(HEALTHY, duration_is_over=False)

        assert (judgement.verdict, judgement.cause) == (Verdict.INCONCLUSIVE, Cause.TIME)

    def test_calls(self) -> None:
        """C40, C50, P2: the table of detection says how many."""
        judgement = ask(evidence(Arm(1_282, 5), Arm(11_000, 40)))

        assert (judgement.cause, judgement.candidate_calls) == (Cause.FEW_SAMPLES, 1_282)
        assert judgement.needed_calls == 1_283
        assert judgement.sentence == "1,282 of 1,283 calls needed."
        assert ask(evidence(Arm(1_283, 5), Arm(11_000, 40))).verdict is Verdict.PASS

    def test_as_many_calls_as_asked_for(self) -> None:
        limits = replace(PER_CENT, min_calls=30)

        assert ask(evidence(Arm(30, 0), Arm(270, 0)), limits).verdict is Verdict.PASS
        assert ask(evidence(Arm(29, 0), Arm(270, 0)), limits).cause is Cause.FEW_SAMPLES

    def test_any_traffic(self) -> None:
        """C40, P1, P15: no measurement is no success."""
        judgement = ask(Evidence((), 0, 0, 0.2, False))

        assert (judgement.verdict, judgement.cause) == (Verdict.INCONCLUSIVE, Cause.NO_TRAFFIC)

    @pytest.mark.parametrize("age", [None, 1.6, math.nan, math.inf])
    def test_fresh_reports_of_every_gateway(self, age: float | None) -> None:
        """C44, C50, P5: stale evidence neither passes nor fails."""
        judgement = ask(replace(HEALTHY, age_seconds=age))

        assert (judgement.verdict, judgement.cause) == (
            Verdict.INCONCLUSIVE,
            Cause.STALE_METRICS,
        )

    def test_is_fresh_again_with_the_next_report(self) -> None:
        """C41: a gap leaves nothing behind."""
        assert ask(replace(HEALTHY, age_seconds=1.5)).verdict is Verdict.PASS

    def test_nothing_but_time_where_people_test_by_hand(self) -> None:
        nothing = Evidence((), 0, 0, 0.2, False)

        assert ask(nothing, needs_samples=False).verdict is Verdict.PASS
        assert ask(nothing, needs_samples=False, duration_is_over=False).cause is Cause.TIME

    def test_proof_where_it_is_asked_for(self) -> None:
        limits = Limits(error_rate=0.01, needs_proof=True, min_calls=100)

        unproved = ask(evidence(Arm(375, 0), Arm(3_000, 0)), limits)
        proved = ask(evidence(Arm(376, 0), Arm(3_000, 0)), limits)

        assert (unproved.verdict, unproved.cause) == (Verdict.INCONCLUSIVE, Cause.FEW_SAMPLES)
        assert "to prove that it is under 1 %" in unproved.sentence
        assert proved.verdict is Verdict.PASS

    def test_proof_against_stable_where_there_is_no_limit(self) -> None:
        limits = Limits(error_rate=None, needs_proof=True, min_calls=100)

        unproved = ask(evidence(Arm(100, 1), Arm(100, 1)), limits)
        proved = ask(evidence(Arm(5_000, 5), Arm(5_000, 100)), limits)

        assert unproved.cause is Cause.FEW_SAMPLES
        assert "1.5 times the stable version's rate" in unproved.sentence
        assert proved.verdict is Verdict.PASS


class TestSlowness:
    def test_a_cold_candidate_is_not_a_slow_one(self) -> None:
        """S10, P32: ten times the cold starts, all of them slow; warm calls alike."""
        cold = Cell(True, 0.1, Arm(500, 0, 500), Arm(450, 0, 450))
        seen = evidence(Arm(4_500, 0, 22), Arm(44_550, 0, 220), cold)

        judgement = ask(seen, LATENCY)

        assert judgement.verdict is Verdict.PASS
        assert judgement.cold_candidate == pytest.approx(0.1)
        assert judgement.cold_stable == pytest.approx(0.01)

    def test_slower_starts_than_stable_has_fail(self) -> None:
        cold = Cell(True, 0.5, Arm(200, 0, 150), Arm(200, 0, 20))

        judgement = ask(evidence(Arm(2_000, 0, 5), Arm(2_000, 0, 5), cold), LATENCY)

        assert judgement.verdict is Verdict.FAIL
        assert gate(judgement, Kind.RELATIVE, "slowness").has_crossed

    def test_slow_warm_calls_fail_beside_cold_ones_that_are_alike(self) -> None:
        cold = Cell(True, 0.1, Arm(100, 0, 100), Arm(900, 0, 900))

        judgement = ask(evidence(Arm(600, 0, 60), Arm(5_400, 0, 54), cold), LATENCY)

        assert judgement.verdict is Verdict.FAIL

    def test_is_not_judged_without_a_limit_of_time(self) -> None:
        judgement = ask(evidence(Arm(2_000, 0, 2_000), Arm(9_000)))

        assert {g.metric for g in judgement.gates} == {"errors"}
        assert judgement.verdict is Verdict.PASS


class TestRepeatedFailures:
    def test_bursts_of_one_client_count_once(self) -> None:
        """S8, P31: eight failing calls, each repeated four times."""
        counted_alone = ask(evidence(Arm(1_500, 40), Arm(13_500, 67)))
        in_bursts = ask(evidence(Arm(1_500, 8, 0, 32), Arm(13_500, 67)))

        assert counted_alone.verdict is Verdict.FAIL
        assert in_bursts.verdict is not Verdict.FAIL

    def test_an_outage_seen_by_few_busy_clients_is_shared(self) -> None:
        """Ten clients fail all the time: counted once a minute, both versions show ten."""
        judgement = ask(evidence(Arm(1_000, 10, 0, 290), Arm(9_000, 10, 0, 2_690)))

        assert (judgement.verdict, judgement.cause) == (Verdict.HELD, Cause.SHARED_CAUSE)


class TestArithmetic:
    def test_every_gate_says_what_was_counted(self) -> None:
        judgement = ask(evidence(Arm(310, 12), Arm(2_790, 27)), Limits(error_rate=0.05))

        assert [g.sentence for g in judgement.gates] == [
            "12 of 310 calls failed, at most 5 % are accepted; evidence under 0.01 of 400 needed",
            "Stable version: 27 of 2,790 calls failed, at most 5 % are accepted; evidence under"
            " 0.01 of 10 needed for a shared cause",
            "12 of 310 calls failed, and 27 of 2,790 of the stable version's, at most 1.5 times"
            " that rate is accepted; evidence 6.2 of 400 needed",
        ]

    def test_the_meter_says_what_would_have_been_caught(self) -> None:
        judgement = ask(evidence(Arm(280, 2), Arm(2_520, 20)), Limits(error_rate=0.05))

        assert judgement.meter.sentence == (
            "By now a 3x rise over the limit of 5 % would have been caught with 97 % (errors)."
        )
        assert judgement.meter.probability == pytest.approx(0.977, abs=0.005)

    def test_the_meter_shows_the_metric_that_is_known_least(self) -> None:
        judgement = ask(HEALTHY, replace(LATENCY, error_rate=0.05))

        assert "slowness" in judgement.meter.sentence

    def test_the_meter_compares_where_there_is_no_limit(self) -> None:
        relative = Limits(error_rate=None)

        busy, quiet = (
            ask(seen, relative).meter
            for seen in (
                evidence(Arm(20_000, 200), Arm(180_000, 1_800)),
                evidence(Arm(10, 0), Arm(90, 0)),
            )
        )

        assert "over the stable version" in busy.sentence
        assert busy.probability > 0.99 > 0.01 > quiet.probability
        assert "less than 1 %" in quiet.sentence

    def test_a_limit_over_a_third_cannot_be_missed_by_three_times(self) -> None:
        judgement = ask(HEALTHY, Limits(error_rate=0.5))

        assert judgement.meter.times_worse == 2
        assert "a 2x rise over the limit of 50 %" in judgement.meter.sentence

    @settings(deadline=None, max_examples=40)
    @given(evidences(), st.booleans(), st.booleans(), st.booleans())
    def test_is_json_of_finite_numbers(
        self, seen: Evidence, is_over: bool, needs_samples: bool, is_limited: bool
    ) -> None:
        """C44, C48: no count makes a number that is none."""
        limits = Limits(
            error_rate=0.05 if is_limited else None,
            slow_ms=100 if needs_samples else None,
            needs_proof=is_over,
        )

        document = ask(
            seen, limits, duration_is_over=is_over, needs_samples=needs_samples
        ).document()

        assert json.loads(json.dumps(document, allow_nan=False)) == document

    @settings(deadline=None)
    @given(evidences(), st.booleans())
    def test_never_passes_over_a_crossed_gate(self, seen: Evidence, needs_samples: bool) -> None:
        judgement = ask(seen, Limits(slow_ms=100), needs_samples=needs_samples)

        crossed = {g.kind for g in judgement.gates if g.has_crossed}
        assert judgement.verdict is not Verdict.PASS or not crossed & {
            Kind.ABSOLUTE,
            Kind.RELATIVE,
        }
        assert (judgement.cause is Cause.NONE) == (
            judgement.verdict in {Verdict.PASS, Verdict.FAIL}
        )
