"""Machines that run functions."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class RunnerNode(models.Model):
    """One runner, as its last heartbeat described it. Never edited by people.

    `instances` holds the heartbeat's list as it came: it is replaced whole every two
    seconds, and rows of their own would be written and deleted for nothing.
    """

    name = models.CharField(max_length=128, unique=True)
    region = models.CharField(max_length=64, blank=True, default="")
    boot = models.CharField(max_length=32)
    version = models.CharField(max_length=32)
    backend = models.CharField(max_length=32)
    enforced = ArrayField(models.TextField(), help_text="protections in force")
    missing = ArrayField(models.TextField(), help_text="protections missing, each with its reason")
    runtimes = ArrayField(models.CharField(max_length=64))
    instances = models.JSONField()
    stem_cells = models.JSONField(help_text="runtime -> booted sandboxes that wait")
    queued = models.PositiveIntegerField()
    memory_total_mib = models.PositiveIntegerField()
    memory_free_mib = models.PositiveIntegerField()
    load = models.FloatField()
    table_revision = models.BigIntegerField()
    failed_starts = models.JSONField(
        default=dict, help_text="version id -> why its last start failed, of those kept warm"
    )
    is_draining = models.BooleanField(
        default=False, help_text="it finishes its calls and takes no new ones"
    )
    started_at = models.DateTimeField(help_text="first heartbeat of this boot")
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name
