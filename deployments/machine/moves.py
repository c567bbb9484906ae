"""What an attempt can do next: decisions that rules and commands make."""

from typing import Final

from deployments.machine.routes import route_of
from deployments.machine.view import Clock, Decision, Move, Route, View
from deployments.states import Held, Phase
from deployments.types import ALL

PHASE: Final = "phase"
"""Kind of the event that a move from phase to phase writes."""


def stay(view: View, reason: str = "") -> Decision:
    """Nothing changes."""
    return Decision(phase=view.phase, reason=reason)


def roll_back(view: View, reason: str, *, is_superseded: bool = False) -> Decision:
    """Everything to the stable version; the alias first, where it was moved."""
    return Decision(
        phase=Phase.ROLLING_BACK,
        reason=reason,
        kind=PHASE,
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
        kind=PHASE,
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
        kind=PHASE,
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
        kind=PHASE,
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
        kind=PHASE,
        clock=Clock.START if running else Clock.KEEP,
        deadline_seconds=(view.plan.progress_deadline_seconds if back is Phase.SHIFTING else None),
    )


def end(view: View, phase: Phase, reason: str, *, counts_dropped: bool = False) -> Decision:
    """A terminal phase."""
    return Decision(
        phase=phase, reason=reason, kind=PHASE, clock=Clock.STOP, counts_dropped=counts_dropped
    )


def advance(view: View, reason: str) -> Decision:
    """The next step, or promotion after the last."""
    if view.is_last_step:
        return promote(view, reason)
    return shift(view, view.step_index + 1, reason)
