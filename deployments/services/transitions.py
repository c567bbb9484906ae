"""Makes the machine's move real: rows, route, alias, history and wishes, in one transaction.

The caller holds the attempt's row lock. Whatever must be done outside follows the commit or
is written down as an `Effect`.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from deployments.machine import Clock, Decision, Move, Route, View, is_leased, shares
from deployments.models import Attempt
from deployments.rules import HookKind, Notice
from deployments.services import hooks, judging, notifications
from deployments.services.deployments import holder_of
from deployments.services.digests import digest_of
from deployments.services.events import REASON_MAX, event_append
from deployments.services.observation import alias_now, attempt_that_wants_room, split_key
from deployments.services.receipts import receipt_of
from deployments.states import TERMINAL, Phase, check_move
from functions.services import holds
from hotswap.core.errors import StaleRow
from hotswap.records import services as records
from hotswap.wire.rollouts import LEASE_SECONDS

SYSTEM: Final = "hotswap"
LOOK_SECONDS: Final = 0.5
LOOK_WAITING_SECONDS: Final = 1.0
LEASE_EVIDENCE_SECONDS: Final = 5.0
"""Evidence older than that renews no lease."""
WARM_MAX: Final = 50

_NOTICES: Final = {
    Phase.PREPARING: Notice.STARTED,
    Phase.AWAITING_APPROVAL: Notice.NEEDS_APPROVAL,
    Phase.HELD: Notice.HELD,
    Phase.ROLLED_BACK: Notice.ROLLED_BACK,
    Phase.SUCCEEDED: Notice.SUCCEEDED,
    Phase.FAILED: Notice.FAILED,
    Phase.SUPERSEDED: Notice.SUPERSEDED,
    Phase.ROLLBACK_STUCK: Notice.ROLLBACK_STUCK,
}
_HOOKS: Final = {
    Phase.ROLLING_BACK: HookKind.ROLLBACK,
    Phase.SUCCEEDED: HookKind.POST_ROLLOUT,
}


def apply(
    *, attempt: Attempt, view: View, decision: Decision, now: datetime, actor: str = SYSTEM
) -> None:
    """Make one move. A repeat of the same move finds another phase and cannot be made.

    Raises:
        IllegalTransition: no such move; the machine never decides one.
        StaleRow: somebody else changed the attempt.
    """
    before, epoch = Phase(attempt.phase), attempt.epoch
    is_move = decision.phase is not before
    if is_move:
        check_move(before, decision.phase)
    _take_hold(attempt, before, decision, now)
    _set_clock(attempt, decision.clock, now)
    _set_route(attempt, view, decision)
    _set_fields(attempt, decision, now, is_move=is_move)
    if is_move and decision.phase is Phase.PREPARING:
        attempt.warm = _warm_of(attempt, view)
    _set_lease(attempt, view, decision, now, is_new=attempt.epoch != epoch)
    if decision.is_superseded:
        attempt.superseded_by = attempt_that_wants_room(attempt)
    if view.judgement is not None:
        attempt.verdict = view.judgement.document()
    _store(attempt, counts=is_move or bool(decision.kind) or attempt.epoch != epoch)
    _move_alias(attempt, decision, now)
    if attempt.epoch != epoch or decision.phase in TERMINAL or decision.must_publish:
        records.routing_mark_dirty(keys=[split_key(attempt)], at=now)
    if decision.kind:
        _write_event(attempt, before, decision, now, actor)
    _want(attempt, decision, now, is_move=is_move)
    if decision.phase in TERMINAL:
        _finish(attempt, view, decision)


def _take_hold(attempt: Attempt, before: Phase, decision: Decision, now: datetime) -> None:
    """At the start: fix what to go back to, and keep both versions and the alias.

    Already while approvals are awaited: who approves has seen what the alias leads to.
    """
    if before is Phase.QUEUED and decision.phase not in (*TERMINAL, Phase.QUEUED):
        _fix_stable(attempt)
        deployment = attempt.deployment
        ids = {deployment.to_version_id, deployment.from_version_id} - {None}
        holds.hold_take(
            function_name=attempt.function.name,
            alias=attempt.alias,
            version_ids=[pk for pk in ids if pk is not None],
            holder=holder_of(deployment),
            now=now,
        )
    if decision.phase is Phase.PREPARING and before is not Phase.PREPARING:
        attempt.started_at = now


def _fix_stable(attempt: Attempt) -> None:
    """The alias may have moved while the attempt was queued."""
    deployment = attempt.deployment
    alias = alias_now(function=attempt.function, alias=attempt.alias)
    if alias.number == deployment.from_number:
        return
    deployment.from_version_id, deployment.from_number = alias.version_id, alias.number
    deployment.digest = digest_of(deployment)
    deployment.save(update_fields=["from_version_id", "from_number", "digest"])


def _set_clock(attempt: Attempt, clock: Clock, now: datetime) -> None:
    if clock is Clock.STOP and attempt.observing_since is not None:
        attempt.observed_seconds += (now - attempt.observing_since).total_seconds()
    if clock in (Clock.RESET, Clock.RESTART):
        attempt.observed_seconds = 0.0
    if clock in (Clock.STOP, Clock.RESET):
        attempt.observing_since = None
    if clock is Clock.RESTART or (clock is Clock.START and attempt.observing_since is None):
        attempt.observing_since = now


def _set_route(attempt: Attempt, view: View, decision: Decision) -> None:
    if decision.route is None:
        return
    attempt.epoch += 1
    attempt.weight = decision.route.weight
    attempt.runner_weights = dict(decision.route.runner_weights)
    step = attempt.step_index if decision.step_index is None else decision.step_index
    name = judging.PROMOTED if decision.phase is Phase.PROMOTING else step
    attempt.routes[str(attempt.epoch)] = {
        "step": name,
        "shares": shares(decision.route, view.runners),
    }


def _set_fields(attempt: Attempt, decision: Decision, now: datetime, *, is_move: bool) -> None:
    attempt.phase = decision.phase
    attempt.reason = (decision.reason or attempt.reason)[:REASON_MAX]
    attempt.gates_passed = sorted(decision.passed.union(attempt.gates_passed))
    if decision.step_index is not None:
        attempt.step_index = decision.step_index
    if decision.extensions is not None:
        attempt.extensions = decision.extensions
    if decision.phase is not Phase.HELD:
        attempt.held_reason = attempt.held_from = ""
    elif decision.held is not None:
        attempt.held_reason = decision.held
        attempt.held_from = decision.held_from or ""
    if is_move:
        attempt.phase_since = now
        seconds = decision.deadline_seconds
        attempt.deadline_at = None if seconds is None else now + timedelta(seconds=seconds)
    attempt.due_at = _due(decision.phase, now)


def _due(phase: Phase, now: datetime) -> datetime | None:
    if phase in TERMINAL:
        return None
    is_waiting = phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL)
    return now + timedelta(seconds=LOOK_WAITING_SECONDS if is_waiting else LOOK_SECONDS)


def _set_lease(
    attempt: Attempt, view: View, decision: Decision, now: datetime, *, is_new: bool
) -> None:
    """A split lives on as long as somebody judges fresh evidence of every gateway."""
    if not is_leased(Route(attempt.weight, attempt.runner_weights)):
        attempt.lease_until = None
        return
    is_fresh = view.evidence_age is not None and view.evidence_age < LEASE_EVIDENCE_SECONDS
    if is_fresh or (is_new and not is_leased(view.route)):
        attempt.lease_until = now + timedelta(seconds=LEASE_SECONDS)


_STORED: Final = (
    "phase", "reason", "step_index", "held_reason", "held_from", "gates_passed", "extensions",
    "epoch", "weight", "runner_weights", "routes", "warm", "started_at", "phase_since",
    "observing_since", "observed_seconds", "deadline_at", "due_at", "lease_until", "finished_at",
    "superseded_by_id", "verdict", "receipt",
)  # fmt: skip


def _store(attempt: Attempt, *, counts: bool) -> None:
    """Write the row if nobody else has. A look that changed nothing is no new state of it."""
    if attempt.phase in TERMINAL and attempt.finished_at is None:
        attempt.finished_at = attempt.phase_since
    known = attempt.row_version
    attempt.row_version = known + 1 if counts else known
    values: dict[str, Any] = {name: getattr(attempt, name) for name in _STORED}
    rows = Attempt.objects.filter(id=attempt.id, row_version=known)
    if not rows.update(**values, row_version=attempt.row_version):
        raise StaleRow("Somebody changed this attempt meanwhile.")


def _move_alias(attempt: Attempt, decision: Decision, now: datetime) -> None:
    deployment = attempt.deployment
    to = {Move.CANDIDATE: deployment.to_number, Move.STABLE: deployment.from_number}
    number = to.get(decision.alias)
    if number is not None:
        holds.alias_point(
            function_name=attempt.function.name,
            name=attempt.alias,
            number=number,
            holder=holder_of(deployment),
            actor=deployment.created_by,
            now=now,
        )


def _write_event(
    attempt: Attempt, before: Phase, decision: Decision, now: datetime, actor: str
) -> None:
    detail: dict[str, object] = {
        "epoch": attempt.epoch,
        "step": attempt.step_index,
        "weight": attempt.weight,
    }
    if attempt.runner_weights:
        detail["runnerWeights"] = attempt.runner_weights
    if attempt.held_reason:
        detail["held"] = str(attempt.held_reason)
    if attempt.verdict:
        detail["verdict"] = {
            key: attempt.verdict.get(key) for key in ("verdict", "cause", "sentence")
        }
    event_append(
        attempt=attempt,
        kind=decision.kind,
        actor=actor,
        at=now,
        reason=decision.reason,
        from_phase=before,
        to_phase=attempt.phase,
        detail=detail,
    )


def _want(attempt: Attempt, decision: Decision, now: datetime, *, is_move: bool) -> None:
    """Hooks and messages."""
    for kind, gate in decision.wants:
        hooks.want(attempt=attempt, kind=kind, gate=gate, now=now)
    phase = Phase(attempt.phase)
    if not is_move and decision.kind != "held":
        return
    if phase in _NOTICES:
        notifications.want(attempt=attempt, event=_NOTICES[phase], now=now)
    if is_move and phase in _HOOKS:
        hooks.want(attempt=attempt, kind=_HOOKS[phase], now=now)
    if is_move:
        hooks.want(attempt=attempt, kind=HookKind.EVENT, now=now)


def _finish(attempt: Attempt, view: View, decision: Decision) -> None:
    """Nothing of a finished attempt holds anybody up; what it did is put on its receipt."""
    holds.holds_release(holder=holder_of(attempt.deployment))
    attempt.receipt = receipt_of(attempt=attempt, counts_dropped=decision.counts_dropped)
    Attempt.objects.filter(id=attempt.id).update(receipt=attempt.receipt)


def _warm_of(attempt: Attempt, view: View) -> dict[str, int]:
    """Version number -> instances that every runner keeps ready for this attempt."""
    deployment = attempt.deployment
    most = max((runner.stable_ready for runner in view.runners.values()), default=1)
    stable = min(max(1, most), WARM_MAX)
    warm = {str(deployment.to_number): stable if view.plan.warms_fully else 1}
    if deployment.from_number is not None:
        warm[str(deployment.from_number)] = stable
    return warm
