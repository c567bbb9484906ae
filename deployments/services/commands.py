"""What persons ask of a running deployment: one door for the API, the portal and the admin."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from deployments import machine
from deployments.models import Attempt, Deployment
from deployments.services.clock import database_now
from deployments.services.deployments import attempt_create, deployment_roll_back
from deployments.services.events import event_append
from deployments.services.observation import observe
from deployments.services.transitions import apply
from deployments.states import TERMINAL, Command, Phase
from hotswap.core.errors import Conflict, InvalidInput, NotFound
from hotswap.jobs import Job, enqueue_on_commit
from hotswap.records import services as records

REASON_MAX = 500


@transaction.atomic(durable=True)
def command_give(
    *, deployment_id: UUID | str, command: Command, reason: str = "", actor: str, now: datetime
) -> Attempt:
    """Do what a person asks for, at once. What has happened already stays as it is.

    Approvals are given by `services.approvals`.

    Returns:
        The attempt that the command was for, or the new one that it made: RETRY tries again,
        ROLLBACK of a finished deployment makes a deployment back to the old version.

    Raises:
        NotFound: no such deployment.
        IllegalTransition: not possible now; `extras["legal"]` names what is.
        Conflict: the alias serves something else by now, or another deployment runs.
    """
    if len(reason) > REASON_MAX or "\0" in reason:
        raise InvalidInput(f"reason: It may have at most {REASON_MAX} characters, none NUL.")
    attempt = attempt_lock(deployment_id=deployment_id)
    moment = database_now()
    records.audit_append(
        verb=f"deployment.{command}",
        subject=f"deployment/{attempt.deployment_id}",
        actor=actor,
        at=now,
        detail={"reason": reason},
    )
    if attempt.phase in TERMINAL and command in (Command.RETRY, Command.ROLLBACK):
        return _after_the_end(attempt, command, reason, actor, moment)
    view = observe(attempt=attempt, now=moment)
    decision = machine.command(view, command, actor=actor, reason=reason)
    if decision != machine.Decision(phase=view.phase, reason=decision.reason):
        apply(attempt=attempt, view=view, decision=decision, now=moment, actor=actor)
        enqueue_on_commit(Job.DEPLOYMENTS_RECONCILE, key=attempt.id.hex)
    return attempt


def attempt_lock(*, deployment_id: UUID | str) -> Attempt:
    """The newest attempt of a deployment, locked until the transaction ends; raises NotFound."""
    try:
        wanted = UUID(str(deployment_id))
    except ValueError:
        raise NotFound("There is no such deployment.") from None
    attempts = Attempt.objects.select_for_update(of=("self",))
    rows = attempts.select_related("deployment", "function", "deployment__function")
    attempt = rows.filter(deployment_id=wanted).order_by("-number").first()
    if attempt is None:
        raise NotFound("There is no such deployment.")
    return attempt


def _after_the_end(
    attempt: Attempt, command: Command, reason: str, actor: str, now: datetime
) -> Attempt:
    phase, deployment = Phase(attempt.phase), attempt.deployment
    allowed = machine.legal(machine.Stand(phase=phase, is_first=deployment.from_number is None))
    if command is Command.ROLLBACK and phase is not Phase.SUCCEEDED:
        return attempt
    if command not in allowed:
        raise machine.refusal(phase, command, allowed)
    if command is Command.ROLLBACK:
        return _undone(deployment, actor, now)
    return _again(attempt, reason, actor, now)


def _undone(deployment: Deployment, actor: str, now: datetime) -> Attempt:
    made = deployment_roll_back(deployment=deployment, actor=actor, now=now)
    return made.attempts.get()


def _again(attempt: Attempt, reason: str, actor: str, now: datetime) -> Attempt:
    """A retry takes nobody's place and joins no queue: it is refused while another runs."""
    running = (
        Attempt.objects.filter(function=attempt.function_id, alias=attempt.alias)
        .exclude(phase__in=TERMINAL)
        .first()
    )
    if running is not None:
        raise Conflict(
            f"Deployment {running.deployment_id} runs on {attempt.alias}; wait until it is done.",
            deployment=str(running.deployment_id),
        )
    made = attempt_create(deployment=attempt.deployment, wants_room=False, now=now)
    event_append(
        attempt=made,
        kind="created",
        actor=actor,
        at=now,
        reason=reason or f"Attempt {attempt.number} again.",
        to_phase=Phase.QUEUED,
        detail={"attempt": made.number},
    )
    return made
