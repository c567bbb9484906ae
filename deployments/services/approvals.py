"""Approvals: N persons say yes to what they saw, at a gate that waits for them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from deployments.models import Approval, Attempt, Deployment
from deployments.services.events import event_append
from deployments.states import Held, Phase
from deployments.strategies.base import plan_load
from hotswap.core.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    IllegalTransition,
    InvalidInput,
    NotFound,
)
from hotswap.jobs import Job, enqueue_on_commit
from hotswap.records import services as records

GATE: Final = "approval"
"""`deployments.types.Step.gate` of a step that waits for people."""

COMMENT_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalState:
    """What was said at the gate where a deployment stands.

    Attributes:
        needed: persons who must say yes.
        is_enough: nobody said no, and so many said yes.
    """

    needed: int
    approved_by: tuple[str, ...] = ()
    rejected_by: tuple[str, ...] = ()

    @property
    def is_enough(self) -> bool:
        return not self.rejected_by and len(self.approved_by) >= self.needed


def approval_state(*, deployment: Deployment) -> ApprovalState:
    """Who has said what at the gate where the newest attempt stands.

    A word counts for one gate of one attempt, for the digest that it was given on, and never
    when it is the word of whoever made the deployment.
    """
    attempt = deployment.attempts.order_by("-number").first()
    if attempt is None:
        return ApprovalState(needed=deployment.approvals_needed)
    words = list(
        Approval.objects.filter(
            deployment=deployment, gate=_gate_name(attempt), digest=deployment.digest
        )
        .exclude(actor=deployment.created_by)
        .order_by("at", "id")
    )
    return ApprovalState(
        needed=_needed(deployment, attempt),
        approved_by=tuple(word.actor for word in words if word.is_approved),
        rejected_by=tuple(word.actor for word in words if not word.is_approved),
    )


def is_waiting(*, attempt: Attempt) -> bool:
    """Whether somebody's word would change anything now."""
    if attempt.phase == Phase.AWAITING_APPROVAL:
        return True
    if attempt.phase != Phase.HELD or attempt.held_reason != Held.GATE:
        return False
    return plan_load(attempt.deployment.plan).steps[attempt.step_index].gate == GATE


@transaction.atomic(durable=True)
def approval_give(
    *,
    deployment_id: UUID,
    is_approved: bool,
    digest: str = "",
    comment: str = "",
    actor: str,
    now: datetime,
) -> ApprovalState:
    """Say yes or no, once per person and gate. One "no" is enough to end the waiting.

    Args:
        digest: of what the person saw; "" means what the deployment is now.

    Raises:
        NotFound: no such deployment.
        IllegalTransition: it does not wait for approval, or no longer.
        Forbidden: whoever made a deployment has no word in it.
        Conflict: the person saw something else.
        AlreadyExists: the person has said the other thing already; the same again is fine.
    """
    if len(comment) > COMMENT_MAX or "\0" in comment:
        raise InvalidInput(f"comment: At most {COMMENT_MAX} characters.")
    deployment, attempt = _locked(deployment_id)
    _check_waiting(attempt, now)
    if actor == deployment.created_by:
        raise Forbidden(
            "You made this deployment; somebody else must approve it. You can abort it."
        )
    if digest and digest != deployment.digest:
        raise Conflict(
            "This is not what you saw: its digest is another. Look at it again, then decide.",
            digest=deployment.digest,
        )
    word, is_new = Approval.objects.get_or_create(
        deployment=deployment,
        gate=_gate_name(attempt),
        actor=actor,
        defaults={
            "is_approved": is_approved,
            "digest": deployment.digest,
            "comment": comment,
            "at": now,
        },
    )
    if not is_new and word.is_approved != is_approved:
        said = "approved" if word.is_approved else "rejected"
        raise AlreadyExists(f"You have {said} it already, and a word is not taken back.")
    if is_new:
        _record(word, deployment, attempt)
    return approval_state(deployment=deployment)


def _locked(deployment_id: UUID) -> tuple[Deployment, Attempt]:
    deployment = Deployment.objects.filter(id=deployment_id).first()
    attempts = Attempt.objects.select_for_update(of=("self",)).select_related("deployment")
    attempt = attempts.filter(deployment_id=deployment_id).order_by("-number").first()
    if deployment is None or attempt is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return deployment, attempt


def _check_waiting(attempt: Attempt, now: datetime) -> None:
    if not is_waiting(attempt=attempt):
        raise IllegalTransition(f"A deployment that is {attempt.phase} waits for no approval.")
    if attempt.deadline_at is not None and attempt.deadline_at <= now:
        raise IllegalTransition("Its time to be approved is over.")


def _gate_name(attempt: Attempt) -> str:
    """Which waiting a word belongs to: every attempt, and every step's gate, asks anew."""
    is_before = attempt.phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL)
    place = "start" if is_before else f"step-{attempt.step_index}"
    return f"{attempt.number}/{place}"


def _needed(deployment: Deployment, attempt: Attempt) -> int:
    """A step that names the gate needs one person also where starting needs none."""
    if attempt.phase in (Phase.QUEUED, Phase.AWAITING_APPROVAL):
        return deployment.approvals_needed
    return max(1, deployment.approvals_needed)


def _record(word: Approval, deployment: Deployment, attempt: Attempt) -> None:
    verb = "approve" if word.is_approved else "reject"
    detail: dict[str, object] = {"gate": word.gate, "digest": word.digest, "comment": word.comment}
    event_append(
        attempt=attempt,
        kind=f"approval.{verb}",
        actor=word.actor,
        at=word.at,
        reason=word.comment,
        detail=detail,
    )
    records.audit_append(
        verb=f"deployment.{verb}",
        subject=f"deployment/{deployment.id}",
        actor=word.actor,
        at=word.at,
        detail=detail,
    )
    attempt.due_at = word.at
    attempt.save(update_fields=["due_at"])
    enqueue_on_commit(Job.DEPLOYMENTS_RECONCILE, key=attempt.id.hex)
