"""From the queue to the first route: nothing here has traffic."""

from typing import Final

from deployments.machine.gates import ask
from deployments.machine.guards import deadline_text, refusal_of_hook
from deployments.machine.moves import PHASE, end, promote, shift, stay
from deployments.machine.view import Decision, Route, View
from deployments.states import Phase

TO_THE_END: Final = "promote-full"
"""In `View.passed`: a person wants everything at once as soon as it is warm."""


def queued(view: View) -> Decision | None:
    """One at a time on an alias, and none while deployments are frozen."""
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
            kind=PHASE,
            deadline_seconds=view.approval_seconds or None,
        )
    return _prepare(view, "It is its turn.")


def awaiting(view: View) -> Decision | None:
    """Enough approvals, a rejection, or the end of the time for them."""
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
        kind=PHASE,
        step_index=0,
        route=Route(),
        deadline_seconds=view.plan.progress_deadline_seconds,
    )


def preparing(view: View) -> Decision | None:
    """Hooks agree and instances are warm, or it fails without traffic."""
    if refused := refusal_of_hook(view):
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
    return ask(view, "confirm-rollout", "confirm-rollout") or _warming(view)


def _warming(view: View) -> Decision:
    if missing := _missing(view):
        if view.is_overdue:
            reason = f"It was not ready in {deadline_text(view)}: {missing}"
            return end(view, Phase.FAILED, reason)
        return stay(view, missing)
    return ask(view, "pre-rollout", "pre-rollout") or _go(view)


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
        if runner.candidate_ready < view.instances_wanted
    ]
    if not cold:
        return ""
    return f"Instances are being started on {', '.join(sorted(cold))}."
