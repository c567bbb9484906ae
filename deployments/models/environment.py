"""Rules of an environment, which is what an alias of that name stands for."""

from django.db import models
from django.db.models import F, Q

from deployments.types import Concurrency, OnInconclusive


class Environment(models.Model):
    """Rules for every deployment to the alias of this name.

    An alias without a row has `services.environments.defaults`: strict for "production",
    quick for the others.

    Attributes:
        approval_seconds: how long a deployment waits for its approvals.
        hooks: `services.hooks.Hook` as dicts, checked by `hooks.hooks_checked`.
        notify: `services.notifications.Channel` as dicts, checked by `channels_checked`.
        secret_generation: rises when the secret that signs hooks is made anew.
    """

    name = models.CharField(max_length=64, primary_key=True)
    concurrency = models.CharField(max_length=10, choices=[(c, c) for c in Concurrency])
    on_inconclusive = models.CharField(max_length=10, choices=[(o, o) for o in OnInconclusive])
    after_extensions = models.CharField(max_length=10, choices=[(o, o) for o in OnInconclusive])
    extensions = models.PositiveSmallIntegerField(default=2)
    approvals_needed = models.PositiveSmallIntegerField(default=0)
    approval_seconds = models.PositiveIntegerField(default=7 * 86_400)
    stable_unhealthy = models.CharField(
        max_length=20,
        choices=[("prefer-candidate", "prefer-candidate"), ("hold", "hold")],
        default="hold",
    )
    hooks = models.JSONField(default=list)
    notify = models.JSONField(default=list)
    secret_generation = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()
    row_version = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return self.name


class FreezeWindow(models.Model):
    """A time in which an environment's deployments neither start nor advance; rollback may.

    Attributes:
        environment: "" freezes all.
    """

    environment = models.CharField(max_length=64, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=500)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="freeze_order"),
        ]

    def __str__(self) -> str:
        return self.reason
