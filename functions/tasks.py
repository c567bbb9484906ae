"""Periodic work on functions: each finds its own, so runs may double or fail."""

from datetime import timedelta

from celery import shared_task

from functions.services.artifacts import artifacts_collect
from functions.services.functions import functions_purge
from functions.services.versions import versions_prune
from hotswap import config
from hotswap.core import clock
from hotswap.jobs import Job

UPLOAD_GRACE = timedelta(hours=1)
"""A package may wait so long between its upload and its version."""


@shared_task(name=Job.FUNCTIONS_PURGE)
def purge_deleted(**_: object) -> None:
    """Remove functions whose time to be restored is over."""
    now = clock.utc_now()
    kept = timedelta(days=config.current().retention.deleted_function_days)
    functions_purge(before=now - kept, now=now)


@shared_task(name=Job.VERSIONS_PRUNE)
def prune_versions(**_: object) -> None:
    """Remove the versions that exceed what is kept and that nothing uses."""
    versions_prune(keep=config.current().retention.versions, now=clock.utc_now())


@shared_task(name=Job.ARTIFACTS_COLLECT)
def collect_artifacts(**_: object) -> None:
    """Remove packages that no version uses."""
    artifacts_collect(unused_since=clock.utc_now() - UPLOAD_GRACE)
