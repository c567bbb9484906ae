"""What must be done outside the database: hooks and notifications."""

from django.db import models

from deployments.models.attempt import Attempt


class Effect(models.Model):
    """One call to the outside, written in the transaction that wants it.

    Attributes:
        key: idempotency key, sent along; the same wish is written once.
        gate: the gate that its answer opens, or "" when nobody waits.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        REFUSED = "refused"
        FAILED = "failed"

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="effects")
    kind = models.CharField(
        max_length=40, help_text='"hook.<kind>", "notify.webhook", ".slack" or ".email"'
    )
    key = models.CharField(max_length=64, unique=True)
    target = models.CharField(max_length=500)
    gate = models.CharField(max_length=64, blank=True)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    answer = models.CharField(max_length=1_000, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(state="pending"), name="effect_due"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"
