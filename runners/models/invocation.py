"""Invocations: some one by one, all of them counted."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models


class InvocationRecord(models.Model):
    """One synchronous invocation. Written by COPY; ids of functions and versions are bare,
    because a foreign key would cost a look-up per row and records may outlive both.
    """

    function_id = models.BigIntegerField()
    version_id = models.BigIntegerField()
    request_id = models.CharField(max_length=64)
    alias = models.CharField(max_length=64)
    user = models.CharField(max_length=150)
    ended_at = models.DateTimeField()
    outcome = models.CharField(max_length=64, help_text='"ok" or a problem slug')
    status = models.PositiveSmallIntegerField()
    cold = models.BooleanField()
    total_us = models.BigIntegerField(help_text="the caller's wait at the gateway")
    queue_us = models.BigIntegerField()
    init_us = models.BigIntegerField()
    run_us = models.BigIntegerField()
    billed_ms = models.BigIntegerField()
    memory_kib = models.BigIntegerField()
    request_bytes = models.BigIntegerField()
    response_bytes = models.BigIntegerField()
    instance = models.CharField(max_length=128)
    trace_id = models.CharField(max_length=64)
    error = models.JSONField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["function_id", "-ended_at", "-id"], name="invocation_newest"),
            models.Index(
                fields=["function_id", "-ended_at", "-id"],
                condition=~models.Q(outcome="ok"),
                name="invocation_failed",
            ),
            models.Index(fields=["request_id"], name="invocation_request"),
            BrinIndex(fields=["ended_at"], name="invocation_ended", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} {self.outcome}"


class InvocationMinute(models.Model):
    """Exact counts of one version in one minute, added to by every gateway.

    Attributes:
        minute: epoch minutes.
        outcomes: outcome -> calls.
        buckets: calls per bucket of `hotswap.wire.reports.LATENCY_BUCKETS_MS`, and above.
    """

    pk = models.CompositePrimaryKey("version_id", "minute")
    version_id = models.BigIntegerField()
    minute = models.IntegerField()
    function_id = models.BigIntegerField()
    outcomes = models.JSONField()
    calls = models.BigIntegerField()
    cold = models.BigIntegerField()
    total_us = models.BigIntegerField()
    init_us = models.BigIntegerField()
    billed_ms = models.BigIntegerField()
    memory_peak_kib = models.BigIntegerField()
    buckets = ArrayField(models.BigIntegerField())

    class Meta:
        indexes = [
            models.Index(fields=["function_id", "minute"], name="minute_function"),
            BrinIndex(fields=["minute"], name="minute_age", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"version {self.version_id} minute {self.minute}"
