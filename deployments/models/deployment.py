"""What was asked for. Never changed; attempts say what became of it."""

import uuid

from django.db import models
from django.db.models import Q

from deployments.types import Strategy


class Deployment(models.Model):
    """The wish to serve one version under an alias, and how to get there.

    Versions are bare ids and numbers: a finished deployment must not keep an old version
    from being cleaned up. A running one pins them (`functions.services.holds`).

    Attributes:
        alias: also names the environment whose rules hold.
        from_number: what the alias served when the newest attempt left the queue; None when
            it served nothing. Rollback always goes there.
        is_rollback: made by rolling back a finished one: freezes and approvals do not stop it.
        config: as the caller spelt it; `plan` is what its strategy compiled it to.
        digest: SHA-256 over what is approved: function, alias, versions with code hash and
            configuration, strategy and plan.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    function = models.ForeignKey("functions.Function", models.CASCADE, related_name="+")
    alias = models.CharField(max_length=64)
    strategy = models.CharField(max_length=16, choices=[(s, s) for s in Strategy])
    config = models.JSONField(default=dict)
    plan = models.JSONField()
    from_version_id = models.BigIntegerField(null=True)
    from_number = models.PositiveIntegerField(null=True)
    to_version_id = models.BigIntegerField()
    to_number = models.PositiveIntegerField()
    reversible = models.BooleanField(default=True)
    is_rollback = models.BooleanField(default=False)
    message = models.CharField(max_length=500, blank=True)
    digest = models.CharField(max_length=64)
    approvals_needed = models.PositiveSmallIntegerField(default=0)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="deployment_newest"),
            models.Index(fields=["function", "alias", "-created_at"], name="deployment_alias"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.strategy}"


class Approval(models.Model):
    """One person's word at one gate, bound to what that person saw.

    Attributes:
        gate: what was waiting, such as "1/start" or "2/step-0": attempt number and place.
            A retry, and each gate of a plan, asks anew.
    """

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="approvals")
    gate = models.CharField(max_length=32)
    actor = models.CharField(max_length=150)
    is_approved = models.BooleanField(help_text="False: rejected")
    digest = models.CharField(max_length=64)
    comment = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["deployment", "gate", "actor"], name="approval_once"),
            models.CheckConstraint(condition=~Q(digest=""), name="approval_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {'approved' if self.is_approved else 'rejected'}"
