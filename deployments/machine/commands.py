"""What persons may ask for in each phase, and the move that follows."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from deployments.machine.gates import DECIDED, gate_name, gate_of
from deployments.machine.guards import RISK_ACCEPTED, failing
from deployments.machine.moves import advance, end, hold, promote, release, roll_back, stay
from deployments.machine.start import TO_THE_END
from deployments.machine.view import Clock, Decision, View
from deployments.states import TERMINAL, Command, Held, Phase
from deployments.types import Plan
from hotswap.core.errors import IllegalTransition

_P, _C = Phase, Command
_BACK: Final = frozenset({_C.ABORT, _C.ROLLBACK})

_LEGAL: Final[Mapping[Phase, frozenset[Command]]] = {
    _P.QUEUED: frozenset({_C.ABORT}),
    _P.AWAITING_APPROVAL: frozenset({_C.APPROVE, _C.REJECT, _C.ABORT}),
    _P.PREPARING: frozenset({_C.PROMOTE_FULL, _C.ABORT}),
    _P.SHIFTING: frozenset({_C.PROMOTE_FULL, _C.PAUSE}) | _BACK,
    _P.OBSERVING: frozenset({_C.PROMOTE, _C.PROMOTE_FULL, _C.PAUSE}) | _BACK,
    _P.PROMOTING: _BACK,
    _P.SETTLING: frozenset({_C.PROMOTE_FULL, _C.PAUSE}) | _BACK,
    _P.SUCCEEDED: frozenset({_C.ROLLBACK}),
    _P.ROLLED_BACK: frozenset({_C.RETRY}),
    _P.SUPERSEDED: frozenset({_C.RETRY}),
    _P.FAILED: frozenset({_C.RETRY}),
    _P.CANCELLED: frozenset({_C.RETRY}),
}
_ONWARD: Final = frozenset({_C.PROMOTE, _C.PROMOTE_FULL})
_WHILE_HELD: Final[Mapping[Held, frozenset[Command]]] = {
    Held.MANUAL: _ONWARD | {_C.RESUME},
    Held.IRREVERSIBLE: _ONWARD | {_C.RESUME},
    Held.INCONCLUSIVE: _ONWARD | {_C.RESUME, _C.PAUSE},
    Held.NO_TRAFFIC: _ONWARD | {_C.RESUME, _C.PAUSE},
    Held.METRICS_STALE: _ONWARD | {_C.PAUSE},
    Held.SHARED_CAUSE: _ONWARD | {_C.PAUSE},
    Held.STABLE_UNHEALTHY: _ONWARD | {_C.PAUSE},
    Held.GATE: _ONWARD | {_C.PAUSE},
    Held.DECISION: _ONWARD,
    Held.FREEZE: frozenset({_C.PAUSE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The facts of an attempt that decide which commands are legal.

    Attributes:
        is_gated: the step that is on ends at a gate for approvals not yet given.
        is_gated_later: or a later step does.
    """

    phase: Phase
    held: Held | None = None
    held_from: Phase | None = None
    is_first: bool = False
    is_gated: bool = False
    is_gated_later: bool = False


def legal(stand: Stand) -> list[Command]:
    """What may be asked for now, in the order of `Command`; repeats that change nothing are
    taken as well, but not named."""
    found = set(_LEGAL.get(stand.phase, frozenset()))
    if stand.phase is Phase.HELD and stand.held is not None:
        found = set(_WHILE_HELD[stand.held] | _BACK)
        if stand.held_from in (Phase.PROMOTING, Phase.SETTLING):
            found -= _ONWARD
        if stand.held_from is Phase.SHIFTING:
            found -= {Command.PROMOTE}
    if stand.is_gated and stand.held is Held.GATE:
        found |= {Command.APPROVE, Command.REJECT}
    if stand.phase is not Phase.SETTLING:  # nobody goes past a gate that waits for others
        found -= {Command.PROMOTE} if stand.is_gated else set()
        found -= {Command.PROMOTE_FULL} if stand.is_gated or stand.is_gated_later else set()
    if stand.is_first and stand.phase not in (
        Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.PREPARING,
    ):  # fmt: skip
        found -= _BACK
    return [command for command in Command if command in found]


def stand_of(view: View) -> Stand:
    """The part of a view that `legal` needs."""
    return stand(
        plan=view.plan,
        step_index=view.step_index,
        passed=view.passed,
        phase=view.phase,
        held=view.held,
        held_from=view.held_from,
        is_first=view.is_first,
    )


def stand(
    *,
    plan: Plan,
    step_index: int,
    passed: Collection[str],
    phase: Phase,
    held: Held | None,
    held_from: Phase | None,
    is_first: bool,
) -> Stand:
    """Where an attempt with this plan stands."""
    later = plan.steps[step_index + 1 :]
    here = plan.steps[step_index].gate == "approval"
    return Stand(
        phase=phase,
        held=held,
        held_from=held_from,
        is_first=is_first,
        is_gated=here and gate_name(step_index) not in passed,
        is_gated_later=any(step.gate == "approval" for step in later),
    )


def command(view: View, wanted: Command, *, actor: str, reason: str = "") -> Decision:
    """The move that a person's command makes. What has happened already is a no-op.

    RETRY, APPROVE, REJECT, and ROLLBACK after success are not moves of this attempt:
    services know what to do.

    Raises:
        IllegalTransition: not in this phase, with the legal ones in `extras["legal"]`; or the
            candidate is failing, or deployments are frozen.
    """
    if _is_done(view, wanted):
        return stay(view, view.phase)
    allowed = legal(stand_of(view))
    if wanted not in allowed or view.phase in TERMINAL:
        raise refusal(view.phase, wanted, allowed)
    if wanted in (*_ONWARD, Command.RESUME):
        _check_onward(view, wanted)
    said = f"{actor}: {reason}" if reason else f"{actor} asked for it."
    return _MOVES[wanted](view, said)


def refusal(phase: Phase, wanted: Command, allowed: list[Command]) -> IllegalTransition:
    """What a person is told who asked for something that is not possible now."""
    names = ", ".join(allowed) or "nothing"
    return IllegalTransition(
        f"A deployment that is {phase} cannot take {wanted}; possible: {names}.",
        legal=[str(command) for command in allowed],
    )


def _is_done(view: View, wanted: Command) -> bool:
    if wanted in _BACK:
        return view.phase in (
            Phase.ROLLING_BACK, Phase.ROLLBACK_STUCK, *(TERMINAL - {Phase.SUCCEEDED}),
        )  # fmt: skip
    if wanted is Command.PAUSE:
        return view.held is Held.MANUAL
    if wanted in _ONWARD:
        return view.phase is Phase.PROMOTING
    return False


def _check_onward(view: View, wanted: Command) -> None:
    if view.phase is Phase.SETTLING:
        return
    reason = failing(view)
    if reason and view.may_roll_back:
        raise IllegalTransition(f"The new version is failing and will be rolled back: {reason}")
    if (
        wanted in _ONWARD
        and view.phase is not Phase.PREPARING
        and not any(runner.candidate_ready for runner in view.runners.values())
    ):
        raise IllegalTransition("No instance of the new version is ready to take calls.")
    if view.freeze and wanted is not Command.RESUME:
        raise IllegalTransition(f"{view.freeze} Rolling back is possible.")


def _back(view: View, said: str) -> Decision:
    if view.phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL, Phase.PREPARING):
        return end(view, Phase.CANCELLED, said)
    return roll_back(view, failing(view) or said)


def _pause(view: View, said: str) -> Decision:
    return hold(view, Held.MANUAL, said)


def _resume(view: View, said: str) -> Decision:
    opened = release(view, said)
    if view.held is Held.IRREVERSIBLE:
        return replace(opened, passed=frozenset({RISK_ACCEPTED}))
    if view.held in (Held.INCONCLUSIVE, Held.NO_TRAFFIC):
        return replace(opened, clock=Clock.RESTART, extensions=0)
    return opened


def _promote(view: View, said: str) -> Decision:
    """The next step, whatever the present one still waits for."""
    return replace(advance(view, said), passed=_accepted(view) | {gate_of(view), DECIDED})


def _promote_full(view: View, said: str) -> Decision:
    if view.phase is Phase.SETTLING:
        return end(view, Phase.SUCCEEDED, said, counts_dropped=bool(view.stable_in_flight))
    if view.phase is Phase.PREPARING:
        return replace(stay(view, said), kind="promote-full.wanted", passed=frozenset({TO_THE_END}))
    return replace(promote(view, said), passed=_accepted(view))


def _accepted(view: View) -> frozenset[str]:
    """Who goes on with a failing version that cannot be taken back has accepted the risk."""
    return frozenset({RISK_ACCEPTED}) if view.held is Held.IRREVERSIBLE else frozenset()


_MOVES: Final[Mapping[Command, Callable[[View, str], Decision]]] = {
    Command.PROMOTE: _promote,
    Command.PROMOTE_FULL: _promote_full,
    Command.PAUSE: _pause,
    Command.RESUME: _resume,
    Command.ABORT: _back,
    Command.ROLLBACK: _back,
}
