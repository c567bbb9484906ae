"""The rules of every phase, in the order in which they win.

In one tick FAIL beats abort, abort beats supersede, then deadline, hold, INCONCLUSIVE and at
last PASS. Guards are on wherever calls may reach the candidate, also while a person is
awaited. One departure from a strict reading: a deployment that is settling was judged and
promoted, so a newer one ends its settling instead of taking it back.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from deployments.analysis.verdict import Verdict
from deployments.machine.gates import gate_closed, gate_of, wants
from deployments.machine.guards import GUARDS, Rule
from deployments.machine.moves import (
    PHASE,
    advance,
    end,
    hold,
    release,
    roll_back,
    shift,
    stay,
)
from deployments.machine.routes import is_leased, route_of
from deployments.machine.start import TO_THE_END, awaiting, preparing, queued
from deployments.machine.view import Clock, Decision, View
from deployments.states import Held, Phase
from deployments.types import OnInconclusive

FRESH_SECONDS: Final = 1.5  # three reports of a gateway
STALE_SECONDS: Final = 10.0
STUCK_SECONDS: Final = 10.0
EXTENSION_LEAST_SECONDS: Final = 30.0


def decide(view: View) -> Decision:
    """The one next move. Staying names what is waited for."""
    for rule in _RULES.get(view.phase, ()):
        decision = rule(view)
        if decision is not None:
            return decision
    return stay(view)


def _shifting(view: View) -> Decision | None:
    wanted = route_of(view.step, view.runners, view.route)
    if wanted != view.route and view.runners:
        return shift(view, view.step_index, "The runners are others now.", clock=Clock.KEEP)
    if not view.gateways:
        return stay(view, "No gateway is alive.")
    if not view.is_acked:
        return Decision(
            phase=view.phase, reason="Not every gateway has the route yet.", must_publish=True
        )
    if is_leased(view.route) and not view.has_leases:
        return stay(view, "Not every gateway has its lease yet.")
    return Decision(
        phase=Phase.OBSERVING,
        reason="Every gateway has the route.",
        kind=PHASE,
        clock=Clock.START,
        wants=wants(view, "rollout", f"rollout-{view.step_index}"),
    )


def _hold_causes(view: View) -> Decision | None:
    """Whatever makes an observed step wait, while it lasts."""
    cause = _cause(view)
    if cause is None:
        return None
    held, reason = cause
    return None if view.held is held else hold(view, held, reason)


def _cause(view: View) -> tuple[Held, str] | None:
    if view.freeze:
        return Held.FREEZE, view.freeze
    if view.sources in ("stale", "signal"):
        return Held.METRICS_STALE, view.sources_sentence
    if _is_silent(view):
        return Held.METRICS_STALE, f"A gateway has reported nothing for {STALE_SECONDS:g} s."
    judged = view.judgement
    if judged is not None and judged.verdict is Verdict.HELD and not view.prefers_candidate:
        return Held.SHARED_CAUSE, judged.sentence
    return None


def _is_silent(view: View) -> bool:
    if view.evidence_age is None:
        return view.phase is Phase.OBSERVING and view.phase_seconds > STALE_SECONDS
    return view.evidence_age > STALE_SECONDS


def _replan(view: View) -> Decision | None:
    wanted = route_of(view.step, view.runners, view.route)
    if wanted == view.route or not view.runners:
        return None
    return shift(view, view.step_index, "The runners are others now.", clock=Clock.STOP)


def _observing(view: View) -> Decision | None:
    is_over = view.observed_seconds >= view.step.hold_seconds
    judged = view.judgement if view.step.is_judged and view.route.has_traffic else None
    if judged is not None and judged.verdict is Verdict.INCONCLUSIVE:
        return _inconclusive(view, is_over=is_over, cause=judged.cause, sentence=judged.sentence)
    if not is_over:
        return stay(view, "It is being observed.")
    if judged is not None and judged.verdict is Verdict.FAIL:  # the risk was accepted, once
        gate = gate_closed(view)
        return gate or hold(view, Held.IRREVERSIBLE, f"{judged.sentence} A person must promote it.")
    return _passed(view, judged.sentence if judged else f"{view.step.name}: its time is over.")


_HELD_BY_CAUSE: Final[Mapping[str, Held]] = {"no-traffic": Held.NO_TRAFFIC}


def _inconclusive(view: View, *, is_over: bool, cause: str, sentence: str) -> Decision:
    if not is_over or cause in ("stale-metrics", "time"):
        return stay(view, sentence)
    policy = view.plan.on_inconclusive
    if policy is OnInconclusive.EXTEND:
        period = max(view.step.hold_seconds, EXTENSION_LEAST_SECONDS)
        if view.observed_seconds < view.step.hold_seconds + period * view.extensions:
            return stay(view, sentence)
        if view.extensions < view.plan.extensions:
            return Decision(
                phase=view.phase,
                reason=f"{sentence} The step gets its time again.",
                kind="extended",
                extensions=view.extensions + 1,
            )
        policy = view.plan.after_extensions
    if policy is OnInconclusive.PROMOTE:
        return _passed(view, f"{sentence} The plan goes on all the same.")
    if policy is OnInconclusive.ROLL_BACK and view.may_roll_back:
        return roll_back(view, f"{sentence} The plan rolls back without an answer.")
    return hold(view, _HELD_BY_CAUSE.get(cause, Held.INCONCLUSIVE), sentence)


def _passed(view: View, reason: str) -> Decision:
    """A step is done: its gates, then the next step or promotion."""
    if not view.is_acked or view.evidence_age is None or view.evidence_age >= FRESH_SECONDS:
        return stay(view, "It waits for the newest reports of every gateway.")
    if view.sources == "waiting":
        return stay(view, view.sources_sentence)
    if gate := gate_closed(view):
        return gate
    if TO_THE_END not in view.passed and not any(
        runner.candidate_ready for runner in view.runners.values()
    ):
        return stay(view, "No instance of the new version is ready.")
    return advance(view, reason)


def _held(view: View) -> Decision | None:
    """Whether the cause is gone. What a person did, a person ends."""
    if view.held in (Held.MANUAL, Held.IRREVERSIBLE, Held.DECISION):
        return stay(view)
    if cause := _hold_causes(view):
        return cause
    if _cause(view) is not None:
        return stay(view)
    if view.held is Held.GATE:
        if view.step.gate == "approval" and gate_of(view) not in view.passed:
            return _approval(view)
        waiting = gate_closed(view)
        if waiting is not None:
            return stay(view) if waiting.held is Held.GATE else waiting
        return release(view, "Its gate is open.")
    if view.held in (Held.INCONCLUSIVE, Held.NO_TRAFFIC):
        judged = view.judgement
        if judged is not None and judged.verdict is not Verdict.PASS:
            return stay(view)
        return release(view, "The evidence decides now.")
    if view.held is Held.METRICS_STALE and view.evidence_age is None:
        return stay(view)
    return release(view, "What it waited for is over.")


def _approval(view: View) -> Decision:
    if view.approval == "rejected":
        return roll_back(view, f"{view.step.name} was rejected.")
    if view.approval == "enough":
        opened = release(view, "It is approved.")
        return replace(opened, passed=frozenset({gate_of(view)}))
    return stay(view)


# Promoting, settling, going back


def _promoting(view: View) -> Decision | None:
    if view.is_first and not view.gateways:
        return stay(view, "No gateway is alive.")
    if not view.is_acked or not view.gateways:
        return Decision(
            phase=view.phase, reason="Not every gateway has the route yet.", must_publish=True
        )
    return Decision(
        phase=Phase.SETTLING,
        reason="Every gateway sends everything to the new version.",
        kind=PHASE,
        clock=Clock.RESTART,
    )


def _settling(view: View) -> Decision | None:
    if view.is_first:
        return end(view, Phase.SUCCEEDED, "The alias serves its first version.")
    if not view.is_acked:  # a gateway came back with an old copy of the table
        return Decision(
            phase=view.phase, reason="Not every gateway has the route yet.", must_publish=True
        )
    if view.newer:
        return end(view, Phase.SUCCEEDED, f"Promoted; deployment {view.newer} comes next.")
    if view.observed_seconds < view.plan.keep_blue_seconds:
        return stay(view, "The old version stays warm, and one call brings it back.")
    if view.stable_in_flight != 0 and view.observed_seconds < view.drain_seconds:
        return stay(view, "Calls may still run on the old version.")
    reason = "Promoted, and the old version has ended its calls."
    return end(view, Phase.SUCCEEDED, reason, counts_dropped=bool(view.stable_in_flight))


def _rolling_back(view: View) -> Decision | None:
    if not view.is_acked:
        if view.phase is Phase.ROLLING_BACK and view.phase_seconds > STUCK_SECONDS:
            return Decision(
                phase=Phase.ROLLBACK_STUCK,
                reason="A gateway has not taken the route back for 10 s; it is sent again.",
                kind=PHASE,
                must_publish=True,
            )
        return Decision(phase=view.phase, must_publish=True)
    if not view.is_clock_running:
        return Decision(phase=view.phase, clock=Clock.RESTART)
    is_late = view.observed_seconds >= view.drain_seconds
    if view.candidate_in_flight != 0 and not is_late:
        return stay(view)
    last = Phase.SUPERSEDED if view.is_superseded else Phase.ROLLED_BACK
    # The reason of the rollback stays the reason of the attempt.
    return end(view, last, "", counts_dropped=bool(view.candidate_in_flight))


_RULES: Final[Mapping[Phase, tuple[Rule, ...]]] = {
    Phase.QUEUED: (queued,),
    Phase.AWAITING_APPROVAL: (awaiting,),
    Phase.PREPARING: (preparing,),
    Phase.SHIFTING: (*GUARDS, _shifting),
    Phase.OBSERVING: (*GUARDS, _hold_causes, _replan, _observing),
    Phase.HELD: (*GUARDS, _held),
    Phase.PROMOTING: (*GUARDS, _promoting),
    Phase.SETTLING: (*GUARDS, _settling),
    Phase.ROLLING_BACK: (_rolling_back,),
    Phase.ROLLBACK_STUCK: (_rolling_back,),
}
