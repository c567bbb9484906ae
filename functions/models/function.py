"""The named unit a user owns."""

from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod

from hotswap.core import limits
from hotswap.db.models import TimestampedModel

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$"


def settings_constraints(table: str) -> list[models.BaseConstraint]:
    """The bounds that a function and each of its versions share."""
    memory = Q(memory_mib__range=(limits.MEMORY_MIN_MIB, limits.MEMORY_MAX_MIB))
    timeout = Q(timeout_seconds__range=(limits.TIMEOUT_MIN_SECONDS, limits.TIMEOUT_MAX_SECONDS))
    step: Any = Q(memory_mib=F("memory_mib") - Mod(F("memory_mib"), limits.MEMORY_STEP_MIB))
    return [
        models.CheckConstraint(condition=memory & step, name=f"{table}_memory"),
        models.CheckConstraint(condition=timeout, name=f"{table}_timeout"),
    ]


class Function(TimestampedModel):
    """Configuration that the next version will take, live limits, and the version counter.

    A deleted function keeps its name until it is purged, so that it can be restored.
    """

    name = models.CharField(max_length=limits.FUNCTION_NAME_MAX, unique=True)
    description = models.CharField(max_length=1_000, blank=True)
    tags = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)

    runtime = models.CharField(max_length=64)
    handler = models.CharField(max_length=256)
    memory_mib = models.PositiveIntegerField(default=256)
    timeout_seconds = models.PositiveIntegerField(default=30)
    environment = models.JSONField(default=dict)

    reserved_concurrency = models.PositiveIntegerField(null=True)
    max_instances = models.PositiveIntegerField(default=100)
    idle_timeout_seconds = models.PositiveIntegerField(default=300)
    max_queue = models.PositiveIntegerField(default=1_000)
    is_idempotent = models.BooleanField(default=False, help_text="calls may be repeated")

    last_number = models.PositiveIntegerField(default=0)
    row_version = models.PositiveIntegerField(default=1)
    created_by = models.CharField(max_length=150)
    deleted_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        indexes = [
            models.Index(fields=["-created_at", "id"], name="function_created"),
            models.Index(fields=["-updated_at", "id"], name="function_updated"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="function_name"),
            models.CheckConstraint(
                condition=Q(max_instances__range=(1, 1_000)), name="function_max_instances"
            ),
            models.CheckConstraint(
                condition=Q(idle_timeout_seconds__range=(1, 86_400)),
                name="function_idle_timeout",
            ),
            models.CheckConstraint(
                condition=Q(max_queue__range=(0, 10_000)), name="function_max_queue"
            ),
            models.CheckConstraint(
                condition=Q(reserved_concurrency__isnull=True)
                | Q(reserved_concurrency__range=(0, 10_000)),
                name="function_reserved_concurrency",
            ),
            *settings_constraints("function"),
        ]

    def __str__(self) -> str:
        return self.name
