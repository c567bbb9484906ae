"""Periodic work on deployments: each finds its own, so runs may double or fail."""

from deployments.outside_tasks import deliver_effects, poll_sources

__all__ = ["deliver_effects", "poll_sources"]
