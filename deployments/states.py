"""Phases of an attempt, and the moves between them: nothing else knows what may follow what."""

from enum import StrEnum
from typing import Final

from hotswap.core.errors import IllegalTransition


class Phase(StrEnum):
    """Where an attempt stands."""

    QUEUED = "queued"
    AWAITING_APPROVAL = "awaiting-approval"
    PREPARING = "preparing"
    SHIFTING = "shifting"
    OBSERVING = "observing"
    HELD = "held"
    PROMOTING = "promoting"
    SETTLING = "settling"
    ROLLING_BACK = "rolling-back"
    ROLLBACK_STUCK = "rollback-stuck"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Held(StrEnum):
    """Why an attempt waits."""

    MANUAL = "manual"
    GATE = "gate"
    INCONCLUSIVE = "inconclusive"
    NO_TRAFFIC = "no-traffic"
    METRICS_STALE = "metrics-stale"
    SHARED_CAUSE = "shared-cause"
    FREEZE = "freeze"
    STABLE_UNHEALTHY = "stable-unhealthy"
    IRREVERSIBLE = "irreversible"
    DECISION = "decision"


class Command(StrEnum):
    """What a person may ask for; one verb each."""

    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RETRY = "retry"
    APPROVE = "approve"
    REJECT = "reject"


TERMINAL: Final = frozenset(
    {Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.SUPERSEDED, Phase.FAILED, Phase.CANCELLED}
)
WITH_TRAFFIC: Final = frozenset(
    {Phase.SHIFTING, Phase.OBSERVING, Phase.HELD, Phase.PROMOTING, Phase.SETTLING}
)
"""Phases in which calls may reach the candidate; the guards are on in all of them."""

_P = Phase
MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    _P.QUEUED: frozenset({_P.AWAITING_APPROVAL, _P.PREPARING, _P.CANCELLED}),
    _P.AWAITING_APPROVAL: frozenset({_P.PREPARING, _P.CANCELLED}),
    _P.PREPARING: frozenset({_P.SHIFTING, _P.PROMOTING, _P.FAILED, _P.CANCELLED, _P.ROLLING_BACK}),
    _P.SHIFTING: frozenset({_P.OBSERVING, _P.HELD, _P.ROLLING_BACK, _P.PROMOTING}),
    _P.OBSERVING: frozenset({_P.SHIFTING, _P.HELD, _P.PROMOTING, _P.ROLLING_BACK}),
    _P.HELD: frozenset({_P.SHIFTING, _P.OBSERVING, _P.PROMOTING, _P.SETTLING, _P.ROLLING_BACK}),
    _P.PROMOTING: frozenset({_P.SETTLING, _P.HELD, _P.ROLLING_BACK}),
    _P.SETTLING: frozenset({_P.SUCCEEDED, _P.HELD, _P.ROLLING_BACK}),
    _P.ROLLING_BACK: frozenset({_P.ROLLED_BACK, _P.SUPERSEDED, _P.ROLLBACK_STUCK}),
    _P.ROLLBACK_STUCK: frozenset({_P.ROLLED_BACK, _P.SUPERSEDED}),
}


def check_move(old: Phase, new: Phase) -> None:
    """Raise IllegalTransition unless `new` may follow `old`."""
    if new not in MOVES.get(old, frozenset()):
        raise IllegalTransition(f"A deployment that is {old} cannot become {new}.")
