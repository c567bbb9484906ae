"""Background jobs by name: how services start them without importing them, and their rhythm."""

import logging
from enum import StrEnum

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger("hotswap.jobs")


class Job(StrEnum):
    """Every job; the value is the name of its Celery task."""

    ROUTING_SWEEP = "hotswap.routing_sweep"
    RECORDS_PURGE = "hotswap.records_purge"
    FUNCTIONS_PURGE = "functions.purge_deleted"
    VERSIONS_PRUNE = "functions.prune_versions"
    ARTIFACTS_COLLECT = "functions.collect_artifacts"
    TELEMETRY_PURGE = "runners.telemetry_purge"
    DEPLOYMENTS_TICK = "deployments.tick"
    DEPLOYMENTS_RECONCILE = "deployments.reconcile"
    EVIDENCE_PURGE = "deployments.evidence_purge"
    EFFECTS_DELIVER = "deployments.deliver_effects"
    SOURCES_POLL = "deployments.poll_sources"


PERIODIC: dict[Job, float] = {
    Job.ROUTING_SWEEP: 15.0,
    Job.RECORDS_PURGE: 3_600.0,
    Job.FUNCTIONS_PURGE: 3_600.0,
    Job.VERSIONS_PRUNE: 3_600.0,
    Job.ARTIFACTS_COLLECT: 3_600.0,
    Job.TELEMETRY_PURGE: 900.0,
    Job.DEPLOYMENTS_TICK: 1.0,
    Job.EVIDENCE_PURGE: 3_600.0,
    Job.EFFECTS_DELIVER: 1.0,
    Job.SOURCES_POLL: 1.0,
}
"""Seconds between two runs. Each finds its own work, so a missed or doubled run is harmless."""

OUTSIDE: frozenset[Job] = frozenset({Job.EFFECTS_DELIVER, Job.SOURCES_POLL})
"""Jobs that wait for other people's servers. They have a worker of their own, so that a slow
server never keeps the judge of a rollout waiting."""
OUTSIDE_QUEUE = "outside"


def enqueue_on_commit(job: Job, *, key: str = "") -> None:
    """Start a job once the transaction is committed.

    A message is a hint only: when the broker does not answer, the job's periodic run finds
    the work.
    """

    def send() -> None:
        try:
            current_app.tasks[job].delay(key=key)
        except OperationalError:
            log.warning("the broker did not take %s; its periodic run will", job)

    transaction.on_commit(send)
