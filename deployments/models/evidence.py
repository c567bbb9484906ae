"""What gateways and others reported of an attempt."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from deployments.models.attempt import Attempt


class Evidence(models.Model):
    """Added-up `hotswap.wire.rollouts.ArmCounts` of all gateways, per window of ten seconds."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="evidence")
    epoch = models.PositiveIntegerField()
    version_id = models.BigIntegerField()
    runner = models.CharField(max_length=128)
    cold = models.BooleanField()
    window = models.BigIntegerField(help_text="epoch seconds")
    calls = models.BigIntegerField()
    bad = models.BigIntegerField(help_text="every bad call")
    slow = models.BigIntegerField()
    total_us = models.BigIntegerField()
    buckets = ArrayField(models.BigIntegerField())
    failures_left_out = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["attempt", "epoch", "version_id", "runner", "cold", "window"],
                name="evidence_row",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id} v{self.version_id} {self.window}"


class FailureSeen(models.Model):
    """A failure that counts: one per client, kind and minute over all gateways."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="failures")
    epoch = models.PositiveIntegerField()
    version_id = models.BigIntegerField()
    runner = models.CharField(max_length=128)
    cold = models.BooleanField()
    client = models.CharField(max_length=16)
    kind = models.CharField(max_length=64)
    minute = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["attempt", "version_id", "client", "kind", "minute"],
                name="failure_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id} {self.kind}"


class GatewayState(models.Model):
    """What one gateway last said of one attempt: its epoch, lease, and calls in flight.

    Attributes:
        had_lease: it has had the lease of this epoch; then `has_lease` False means lost.
    """

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="gateways")
    node = models.CharField(max_length=128)
    boot = models.CharField(max_length=32)
    epoch = models.PositiveIntegerField()
    has_lease = models.BooleanField()
    had_lease = models.BooleanField(default=False)
    in_flight = models.JSONField(default=dict, help_text="version id -> calls")
    seen_at = models.DateTimeField()
    previewed = models.BigIntegerField(default=0)
    mirrored = models.BigIntegerField(default=0)
    mirror_same = models.BigIntegerField(default=0)
    mirror_different = models.BigIntegerField(default=0)
    mirror_failed = models.BigIntegerField(default=0)
    dropped = models.JSONField(default=dict, help_text="version id -> calls without an answer")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "node", "boot"], name="gateway_state"),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id} {self.node}"


class BusinessValue(models.Model):
    """A value that a program reported for a unit or a request of an A/B test."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="business_values")
    metric = models.CharField(max_length=64)
    unit = models.CharField(max_length=200)
    version_id = models.BigIntegerField()
    value = models.FloatField()
    before = models.FloatField(null=True, help_text="the same unit before the test, for CUPED")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "metric", "unit"], name="business_once"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.unit}"


class SourceReading(models.Model):
    """The newest answer of an external metric source; an error holds and never decides.

    Attributes:
        at: when it was read; the attempt's start before the first reading.
        breaches: readings over the limit in a row; an error does not interrupt them.
        due_at: when to ask next; moved on by whoever asks, so that one process does.
    """

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="readings")
    name = models.CharField(max_length=64)
    at = models.DateTimeField()
    value = models.FloatField(null=True)
    is_breached = models.BooleanField(default=False)
    breaches = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attempt", "name"], name="reading_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.value}"
