"""Work that waits for other people's servers; it runs in a queue of its own."""

from celery import shared_task

from deployments.services import effects, sources
from hotswap.jobs import Job


@shared_task(name=Job.EFFECTS_DELIVER)
def deliver_effects(**_: object) -> None:
    """Make the calls and send the messages that are due."""
    effects.deliver_due()


@shared_task(name=Job.SOURCES_POLL)
def poll_sources(**_: object) -> None:
    """Read the external metrics that are due."""
    sources.poll_due()
