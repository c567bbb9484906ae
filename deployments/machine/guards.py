"""What ends a rollout wherever calls may reach the candidate, the strongest first."""

from collections.abc import Callable
from typing import Final

from deployments.analysis.verdict import Verdict
from deployments.machine.moves import hold, roll_back
from deployments.machine.routes import is_leased
from deployments.machine.view import Decision, View
from deployments.states import Held, Phase

Rule = Callable[[View], Decision | None]

RISK_ACCEPTED: Final = "risk-accepted"
"""In `View.passed`: a person went on with a failing version that cannot be taken back."""


def failing(view: View) -> str:
    """Why the candidate must not go on; "" when nothing speaks against it."""
    if refused := refusal_of_hook(view):
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


def fail(view: View) -> Decision | None:
    """Back, or to a person where there is no way back."""
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


def refusal_of_hook(view: View) -> str:
    """A hook that said no, or nothing until its deadline."""
    for gate, answer in view.answers.items():
        if answer == "refused":
            return f"The hook {gate} refused."
        if answer == "late":
            return f"The hook {gate} did not answer in time."
    return ""


def lost(view: View) -> Decision | None:
    """The gateways are on the stable version already."""
    if is_leased(view.route) and view.is_lease_lost:
        return roll_back(
            view,
            "Lease lost: nobody judged the split for too long, so the gateways returned to the "
            "stable version by themselves.",
        )
    return None


def gone(view: View) -> Decision | None:
    """Nobody can call it any more."""
    return roll_back(view, "The function was deleted.") if view.is_gone else None


def superseded(view: View) -> Decision | None:
    """A newer deployment wants the place."""
    # A release that must not be taken back makes nobody room.
    if not view.newer or view.is_first or not view.is_reversible:
        return None
    if view.phase is Phase.SETTLING or view.held_from is Phase.SETTLING:
        return None
    reason = f"Deployment {view.newer} takes its place; everything goes back to the stable version."
    return roll_back(view, reason, is_superseded=True)


def overdue(view: View) -> Decision | None:
    """The deadline of the phase."""
    if not view.is_overdue or view.is_first or view.held is Held.IRREVERSIBLE:
        return None
    if not view.is_reversible and view.route.has_traffic:
        return hold(view, Held.IRREVERSIBLE, f"It takes too long. {_why_not_back(view)}")
    if view.phase is Phase.HELD:
        return roll_back(view, "It was held for as long as its plan allows.")
    return roll_back(view, f"The route was not taken by every gateway in {deadline_text(view)}.")


def deadline_text(view: View) -> str:
    """For people."""
    return f"{view.plan.progress_deadline_seconds:g} s"


GUARDS: Final[tuple[Rule, ...]] = (fail, lost, gone, superseded, overdue)
