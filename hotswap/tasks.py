"""The project's own periodic work."""

from datetime import timedelta

from celery import shared_task

from hotswap import publisher
from hotswap.core import clock
from hotswap.jobs import Job
from hotswap.records import services as records
from hotswap.records import table

ANSWERS_KEPT = timedelta(hours=24)
CLAIM_STUCK = timedelta(minutes=5)
REVISIONS_KEPT = timedelta(days=1)


@shared_task(name=Job.ROUTING_SWEEP)
def routing_sweep(**_: object) -> None:
    """Publish what a dead process left dirty, and mend the difference to what should be."""
    publisher.sweep(now=clock.utc_now())


@shared_task(name=Job.RECORDS_PURGE)
def records_purge(**_: object) -> None:
    """Forget old idempotency answers and routing revisions."""
    now = clock.utc_now()
    records.idempotency_purge(before=now - ANSWERS_KEPT, stuck_before=now - CLAIM_STUCK)
    table.table_purge(before=now - REVISIONS_KEPT)
