"""Periodic work on what the data plane reported."""

from datetime import timedelta

from celery import shared_task

from hotswap import config
from hotswap.core import clock
from hotswap.jobs import Job
from runners.services import nodes, retention

NODE_KEPT = timedelta(days=1)


@shared_task(name=Job.TELEMETRY_PURGE)
def telemetry_purge(**_: object) -> None:
    """Delete old log lines, old records, and runners that are gone."""
    now = clock.utc_now()
    kept = config.current().retention
    retention.log_lines_delete(before=now - timedelta(days=kept.log_days))
    retention.invocations_delete(before=now - timedelta(days=kept.invocation_days))
    nodes.nodes_forget(seen_before=now - NODE_KEPT)
