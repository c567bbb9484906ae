"""Periodic work on deployments: each finds its own, so runs may double or fail."""

from datetime import timedelta
from uuid import UUID

from celery import shared_task

from deployments.outside_tasks import deliver_effects, poll_sources
from deployments.reconcilers import attempt
from deployments.services import retention
from hotswap.core import clock
from hotswap.jobs import Job

__all__ = ["deliver_effects", "evidence_purge", "poll_sources", "reconcile", "tick"]

EVIDENCE_KEPT = timedelta(days=30)


@shared_task(name=Job.DEPLOYMENTS_TICK)
def tick(**_: object) -> None:
    """Look at every attempt that is due."""
    attempt.tick()


@shared_task(name=Job.DEPLOYMENTS_RECONCILE)
def reconcile(*, key: str = "", **_: object) -> None:
    """Look at one attempt now. A hint: without it, or where it names none, the next tick does."""
    try:
        attempt_id = UUID(hex=key)
    except ValueError:
        return
    attempt.reconcile(attempt_id=attempt_id)


@shared_task(name=Job.EVIDENCE_PURGE)
def evidence_purge(**_: object) -> None:
    """Delete the counts of deployments that ended a month ago."""
    retention.evidence_delete(finished_before=clock.utc_now() - EVIDENCE_KEPT)
