"""What must be said before a step may be left: by hooks, by approvers, by a person."""

from dataclasses import replace
from typing import Final

from deployments.machine.moves import hold
from deployments.machine.view import Decision, View
from deployments.states import Held

DECIDED: Final = "decided"
"""In `View.passed`: a person has chosen the candidate."""


def gate_of(view: View) -> str:
    """Name of the gate behind the step that is on, as approvals and events name it."""
    return gate_name(view.step_index)


def gate_name(step_index: int) -> str:
    """As `gate_of`."""
    return f"step-{step_index}"


def gate_closed(view: View) -> Decision | None:
    """What must be said before the step may be left; None when everything is."""
    index, step = view.step_index, view.step
    if asked := ask(view, "rollout", f"rollout-{index}"):
        return asked
    if step.gate == "approval" and gate_of(view) not in view.passed:
        return hold(view, Held.GATE, f"{step.name} waits for approval.")
    if step.gate not in ("", "approval") and gate_of(view) not in view.passed:
        return ask_held(view, step.gate, f"{step.gate}-{index}", must_answer=True)
    if view.is_last_step and view.plan.is_decided_by_person and DECIDED not in view.passed:
        return hold(view, Held.DECISION, "The test is over; a person decides which version stays.")
    kind = "confirm-promotion" if view.is_last_step else "confirm-traffic-increase"
    return ask_held(view, kind, f"{kind}-{index}")


def ask(view: View, kind: str, gate: str) -> Decision | None:
    """Ask a hook and wait where we are; None once it agreed or the environment has none."""
    if kind not in view.hooks or view.answers.get(gate) == "ok":
        return None
    waits = f"It waits for the hook {gate}."
    return Decision(phase=view.phase, reason=waits, wants=wants(view, kind, gate))


def ask_held(view: View, kind: str, gate: str, *, must_answer: bool = False) -> Decision | None:
    """As `ask`, but held meanwhile. A plan's own gate without a hook waits for a person."""
    if view.answers.get(gate) == "ok" or (kind not in view.hooks and not must_answer):
        return None
    if view.held is Held.GATE:
        return Decision(phase=view.phase, wants=wants(view, kind, gate))
    held = hold(view, Held.GATE, f"It waits for the hook {gate}.")
    return replace(held, wants=wants(view, kind, gate))


def wants(view: View, kind: str, gate: str) -> tuple[tuple[str, str], ...]:
    """What to ask: the hook, unless it was asked or there is none."""
    return ((kind, gate),) if kind in view.hooks and gate not in view.answers else ()
