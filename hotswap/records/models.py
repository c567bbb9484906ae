"""Tables that every app appends to: audit, idempotency, outbox, and the routing table."""

from django.db import models
from django.db.models import Q


class AuditEvent(models.Model):
    """Who did what to which thing, and when. Never changed, never deleted by the application."""

    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=150)
    verb = models.CharField(max_length=64)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["subject", "-at"], name="audit_subject_at")]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.subject}"


class IdempotencyKey(models.Model):
    """One unsafe request that may be repeated. `status` is empty while the first one runs."""

    actor = models.CharField(max_length=150)
    key = models.CharField(max_length=255)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["actor", "key"], name="idempotency_actor_key"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.key}"


class OutboxEvent(models.Model):
    """Something that must follow a commit. Written in the transaction, removed when it is done."""

    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["kind", "id"], name="outbox_kind_id")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class RoutingRevision(models.Model):
    """One published step of the routing table, with the digests each role must arrive at."""

    number = models.BigIntegerField(primary_key=True)
    published_at = models.DateTimeField()
    changed = models.PositiveIntegerField(help_text="entries that this revision changed")
    gateway_digest = models.CharField(max_length=64)
    runner_digest = models.CharField(max_length=64)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(number__gte=1), name="revision_from_1")]

    def __str__(self) -> str:
        return f"revision {self.number}"


class RoutingEntry(models.Model):
    """The newest published form of one key; a key that went away stays as a tombstone."""

    key = models.CharField(max_length=200, primary_key=True)
    revision = models.BigIntegerField(db_index=True)
    is_deleted = models.BooleanField(default=False)
    gateway_body = models.BinaryField(default=b"")
    gateway_sha256 = models.CharField(max_length=64, default="")
    runner_body = models.BinaryField(default=b"")
    runner_sha256 = models.CharField(max_length=64, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_deleted=True) | ~Q(gateway_sha256="") | ~Q(runner_sha256=""),
                name="routing_entry_live_has_body",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} @{self.revision}"


class TableReader(models.Model):
    """A gateway or runner process that follows the table, and how far it has come."""

    role = models.CharField(max_length=8)
    node = models.CharField(max_length=128)
    acked_revision = models.BigIntegerField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["role", "node"], name="table_reader_role_node"),
            models.CheckConstraint(
                condition=Q(role__in=["gateway", "runner"]), name="table_reader_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.node} @{self.acked_revision}"
