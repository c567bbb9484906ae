"""Periodic work on deployments: each finds its own, so runs may double or fail."""

from uuid import UUID

from celery import shared_task

from deployments.outside_tasks import deliver_effects, poll_sources
from deployments.reconcilers import attempt
from hotswap.jobs import Job

__all__ = ["deliver_effects", "poll_sources", "reconcile", "tick"]


@shared_task(name=Job.DEPLOYMENTS_TICK)
def tick(**_: object) -> None:
    """Look at every attempt that is due."""
    attempt.tick()


@shared_task(name=Job.DEPLOYMENTS_RECONCILE)
def reconcile(*, key: str, **_: object) -> None:
    """Look at one attempt now. A hint: without it the next tick does."""
    attempt.reconcile(attempt_id=UUID(hex=key))
