"""The rules of every phase, in the order in which they win.

In one tick FAIL beats abort, abort beats supersede, then deadline, hold, INCONCLUSIVE and at
last PASS. Guards are on wherever calls may reach the candidate, also while a person is
awaited. One departure from a strict reading: a deployment that is settling was judged and
promoted, so a newer one ends its settling instead of taking it back.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from deployments.analysis.verdict import Verdict
from deployments.machine.routes import is_leased, route_of
from deployments.machine.view import Clock, Decision, Move, Route, View
from deployments.states import Held, Phase
from deployments.types import ALL, OnInconclusive

FRESH_SECONDS: Final = 1.5  # three reports of a gateway
STALE_SECONDS: Final = 10.0
STUCK_SECONDS: Final = 10.0
EXTENSION_LEAST_SECONDS: Final = 30.0
RISK_ACCEPTED: Final = "risk-accepted"
DECIDED: Final = "decided"
TO_THE_END: Final = "promote-full"

_PHASE: Final = "phase"
Rule = Callable[[View], Decision | None]


def decide(view: View) -> Decision:
    """The one next move. Staying names what is waited for."""
    for rule in _RULES.get(view.phase, ()):
        decision = rule(view)
        if decision is not None:
            return decision
    return stay(view)


# Moves, also made by `commands`


def stay(view: View, reason: str = "") -> Decision:
    """Nothing changes."""
    return Decision(phase=view.phase, reason=reason)


def roll_back(view: View, reason: str, *, is_superseded: bool = False) -> Decision:
    """Everything to the stable version; the alias first, where it was moved."""
    return Decision(
        phase=Phase.ROLLING_BACK,
        reason=reason,
        kind=_PHASE,
        route=Route(),
        alias=Move.STABLE if view.is_alias_moved else Move.STAY,
        clock=Clock.RESET,
        is_superseded=is_superseded,
    )


def hold(view: View, held: Held, reason: str) -> Decision:
    """Stand where it is. A second cause replaces the first, and leads back to the same phase."""
    seconds = view.plan.hold_timeout_seconds
    if view.phase is Phase.HELD:
        return Decision(
            phase=Phase.HELD, reason=reason, kind="held", held=held, held_from=view.held_from
        )
    return Decision(
        phase=Phase.HELD,
        reason=reason,
        kind=_PHASE,
        held=held,
        held_from=view.phase,
        clock=Clock.STOP,
        deadline_seconds=seconds or None,
    )


def shift(view: View, index: int, reason: str, *, clock: Clock = Clock.RESET) -> Decision:
    """Publish the route of step `index`."""
    return Decision(
        phase=Phase.SHIFTING,
        reason=reason,
        kind=_PHASE,
        step_index=index,
        route=route_of(view.plan.steps[index], view.runners, view.route),
        clock=clock,
        extensions=view.extensions if index == view.step_index else 0,
        deadline_seconds=view.plan.progress_deadline_seconds,
        step_passed=True,
    )


def promote(view: View, reason: str) -> Decision:
    """Move the alias itself, once, and send everything to the candidate."""
    return Decision(
        phase=Phase.PROMOTING,
        reason=reason,
        kind=_PHASE,
        route=Route(ALL),
        alias=Move.CANDIDATE,
        clock=Clock.RESET,
        deadline_seconds=None if view.is_first else view.plan.progress_deadline_seconds,
        step_passed=True,
    )


def release(view: View, reason: str) -> Decision:
    """Go back to the phase that was held."""
    back = view.held_from or Phase.OBSERVING
    running = back in (Phase.OBSERVING, Phase.SETTLING)
    return Decision(
        phase=back,
        reason=reason,
        kind=_PHASE,
        clock=Clock.START if running else Clock.KEEP,
        deadline_seconds=(view.plan.progress_deadline_seconds if back is Phase.SHIFTING else None),
    )


def end(view: View, phase: Phase, reason: str, *, counts_dropped: bool = False) -> Decision:
    """A terminal phase."""
    return Decision(
        phase=phase, reason=reason, kind=_PHASE, clock=Clock.STOP, counts_dropped=counts_dropped
    )


# Guards: on wherever calls may reach the candidate


def failing(view: View) -> str:
    """Why the candidate must not go on; "" when nothing speaks against it."""
    if refused := _refusal(view):
        return refused
    if not view.route.has_traffic:
        return ""
    if view.judgement is not None and view.judgement.verdict is Verdict.FAIL:
        return view.judgement.sentence
    if view.sources == "breached":
        return view.sources_sentence
    if view.failed_start and not any(r.candidate_ready for r in view.runners.values()):
        return f"No instance of the new version runs any more: {view.failed_start}"
    return ""


def _fail(view: View) -> Decision | None:
    reason = failing(view)
    if not reason:
        return None
    if view.may_roll_back:
        return roll_back(view, reason)
    if view.held is Held.IRREVERSIBLE or RISK_ACCEPTED in view.passed:
        return None
    return hold(view, Held.IRREVERSIBLE, f"{reason} {_why_not_back(view)} A person must decide.")


def _why_not_back(view: View) -> str:
    if view.is_first:
        return "There is no earlier version to go back to."
    if not view.is_reversible:
        return "The release is marked as not reversible."
    return "Its plan does not roll back by itself."


def _refusal(view: View) -> str:
    """A hook that said no, or nothing until its deadline."""
    for gate, answer in view.answers.items():
        if answer == "refused":
            return f"The hook {gate} refused."
        if answer == "late":
            return f"The hook {gate} did not answer in time."
    return ""


def _lost(view: View) -> Decision | None:
    if is_leased(view.route) and view.is_lease_lost:
        return roll_back(
            view,
            "Lease lost: nobody judged the split for too long, so the gateways returned to the "
            "stable version by themselves.",
        )
    return None


def _gone(view: View) -> Decision | None:
    return roll_back(view, "The function was deleted.") if view.is_gone else None


def _superseded(view: View) -> Decision | None:
    # A release that must not be taken back makes nobody room.
    if not view.newer or view.is_first or not view.is_reversible:
        return None
    if view.phase is Phase.SETTLING or view.held_from is Phase.SETTLING:
        return None
    reason = f"Deployment {view.newer} takes its place; everything goes back to the stable version."
    return roll_back(view, reason, is_superseded=True)


def _overdue(view: View) -> Decision | None:
    if not view.is_overdue or view.is_first or view.held is Held.IRREVERSIBLE:
        return None
    if not view.is_reversible and view.route.has_traffic:
        return hold(view, Held.IRREVERSIBLE, f"It takes too long. {_why_not_back(view)}")
    if view.phase is Phase.HELD:
        return roll_back(view, "It was held for as long as its plan allows.")
    return roll_back(view, f"The route was not taken by every gateway in {_deadline_text(view)}.")


def _deadline_text(view: View) -> str:
    return f"{view.plan.progress_deadline_seconds:g} s"


# Waiting for a start


def _queued(view: View) -> Decision | None:
    if view.is_gone:
        return end(view, Phase.CANCELLED, "The function was deleted.")
    if view.newer:
        return end(view, Phase.CANCELLED, f"Deployment {view.newer} takes its place.")
    if view.obstacle:
        return stay(view, view.obstacle)
    if view.is_served:
        return end(view, Phase.CANCELLED, "The alias serves this version already.")
    if view.freeze:
        return stay(view, view.freeze)
    if view.approval == "waiting":
        return Decision(
            phase=Phase.AWAITING_APPROVAL,
            reason="It waits for approval.",
            kind=_PHASE,
            deadline_seconds=view.approval_seconds or None,
        )
    return _prepare(view, "It is its turn.")


def _awaiting(view: View) -> Decision | None:
    if view.is_gone:
        return end(view, Phase.CANCELLED, "The function was deleted.")
    if view.newer:
        return end(view, Phase.CANCELLED, f"Deployment {view.newer} takes its place.")
    if view.approval == "rejected":
        return end(view, Phase.CANCELLED, "It was rejected.")
    if view.is_overdue:
        return end(view, Phase.CANCELLED, "Nobody approved it in time.")
    if view.approval == "waiting":
        return stay(view, "It waits for approval.")
    if view.freeze:
        return stay(view, view.freeze)
    return _prepare(view, "It is approved.")


def _prepare(view: View, reason: str) -> Decision:
    return Decision(
        phase=Phase.PREPARING,
        reason=reason,
        kind=_PHASE,
        step_index=0,
        route=Route(),
        deadline_seconds=view.plan.progress_deadline_seconds,
    )


def _preparing(view: View) -> Decision | None:
    if refused := _refusal(view):
        return end(view, Phase.FAILED, refused)
    if view.failed_start:
        reason = f"The new version does not start, so it gets no traffic: {view.failed_start}"
        return end(view, Phase.FAILED, reason)
    if view.is_gone:
        return end(view, Phase.CANCELLED, "The function was deleted.")
    if view.newer:
        return end(view, Phase.CANCELLED, f"Deployment {view.newer} takes its place.")
    if view.freeze:
        return stay(view, view.freeze)
    return _ask(view, "confirm-rollout", "confirm-rollout") or _warming(view)


def _warming(view: View) -> Decision:
    if missing := _missing(view):
        if view.is_overdue:
            reason = f"It was not ready in {_deadline_text(view)}: {missing}"
            return end(view, Phase.FAILED, reason)
        return stay(view, missing)
    return _ask(view, "pre-rollout", "pre-rollout") or _go(view)


def _go(view: View) -> Decision:
    if view.is_first:
        return promote(view, "The alias served nothing before: nothing to compare with.")
    if TO_THE_END in view.passed:
        return promote(view, "A person asked for everything at once.")
    return shift(view, 0, "Its instances are ready.")


def _missing(view: View) -> str:
    """What is not warm yet, for people; "" when everything is."""
    if not view.runners:
        return "No runner that could serve the function is alive."
    cold = [
        name
        for name, runner in view.runners.items()
        if runner.candidate_ready < _instances_wanted(view, runner.stable_ready)
    ]
    if not cold:
        return ""
    return f"Instances are being started on {', '.join(sorted(cold))}."


def _instances_wanted(view: View, stable_ready: int) -> int:
    return max(1, stable_ready) if view.plan.warms_fully else 1


# Moving and observing


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
        kind=_PHASE,
        clock=Clock.START,
        wants=_wants(view, "rollout", f"rollout-{view.step_index}"),
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
        gate = _gate(view)
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
    if gate := _gate(view):
        return gate
    if TO_THE_END not in view.passed and not any(
        runner.candidate_ready for runner in view.runners.values()
    ):
        return stay(view, "No instance of the new version is ready.")
    return advance(view, reason)


def advance(view: View, reason: str) -> Decision:
    """The next step, or promotion after the last."""
    if view.is_last_step:
        return promote(view, reason)
    return shift(view, view.step_index + 1, reason)


def gate_of(view: View) -> str:
    """Name of the gate behind the step that is on, as approvals and events name it."""
    return gate_name(view.step_index)


def gate_name(step_index: int) -> str:
    """As `gate_of`."""
    return f"step-{step_index}"


def _gate(view: View) -> Decision | None:
    """What must be said before the step may be left; None when everything is."""
    index, step = view.step_index, view.step
    if asked := _ask(view, "rollout", f"rollout-{index}"):
        return asked
    if step.gate == "approval" and gate_of(view) not in view.passed:
        return hold(view, Held.GATE, f"{step.name} waits for approval.")
    if step.gate not in ("", "approval") and gate_of(view) not in view.passed:
        return _ask_held(view, step.gate, f"{step.gate}-{index}", must_answer=True)
    if view.is_last_step and view.plan.is_decided_by_person and DECIDED not in view.passed:
        return hold(view, Held.DECISION, "The test is over; a person decides which version stays.")
    kind = "confirm-promotion" if view.is_last_step else "confirm-traffic-increase"
    return _ask_held(view, kind, f"{kind}-{index}")


def _ask(view: View, kind: str, gate: str) -> Decision | None:
    """Ask a hook and wait where we are; None once it agreed or the environment has none."""
    if kind not in view.hooks or view.answers.get(gate) == "ok":
        return None
    waits = f"It waits for the hook {gate}."
    return Decision(phase=view.phase, reason=waits, wants=_wants(view, kind, gate))


def _ask_held(view: View, kind: str, gate: str, *, must_answer: bool = False) -> Decision | None:
    """As `_ask`, but held meanwhile. A plan's own gate without a hook waits for a person."""
    if view.answers.get(gate) == "ok" or (kind not in view.hooks and not must_answer):
        return None
    if view.held is Held.GATE:
        return Decision(phase=view.phase, wants=_wants(view, kind, gate))
    held = hold(view, Held.GATE, f"It waits for the hook {gate}.")
    return replace(held, wants=_wants(view, kind, gate))


def _wants(view: View, kind: str, gate: str) -> tuple[tuple[str, str], ...]:
    return ((kind, gate),) if kind in view.hooks and gate not in view.answers else ()


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
        waiting = _gate(view)
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
        kind=_PHASE,
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
                kind=_PHASE,
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


_GUARDS: Final[tuple[Rule, ...]] = (_fail, _lost, _gone, _superseded, _overdue)
_RULES: Final[Mapping[Phase, tuple[Rule, ...]]] = {
    Phase.QUEUED: (_queued,),
    Phase.AWAITING_APPROVAL: (_awaiting,),
    Phase.PREPARING: (_preparing,),
    Phase.SHIFTING: (*_GUARDS, _shifting),
    Phase.OBSERVING: (*_GUARDS, _hold_causes, _replan, _observing),
    Phase.HELD: (*_GUARDS, _held),
    Phase.PROMOTING: (*_GUARDS, _promoting),
    Phase.SETTLING: (*_GUARDS, _settling),
    Phase.ROLLING_BACK: (_rolling_back,),
    Phase.ROLLBACK_STUCK: (_rolling_back,),
}
