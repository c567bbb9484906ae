"""Tables that every app appends to."""

from django.apps import AppConfig


class RecordsConfig(AppConfig):
    """Audit, idempotency, outbox, routing table."""

    name = "hotswap.records"
    label = "records"
