"""The audit trail and the routing table for staff."""

from django.contrib import admin

from hotswap.db.admin import ReadOnlyAdmin
from hotswap.records.models import AuditEvent, RoutingRevision, TableReader


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what, newest first."""

    list_display = ("at", "actor", "verb", "subject")
    list_filter = ("verb",)
    search_fields = ("actor", "subject")
    ordering = ("-at",)


@admin.register(RoutingRevision)
class RoutingRevisionAdmin(ReadOnlyAdmin):
    """Published steps of the routing table."""

    list_display = ("number", "published_at", "changed")
    ordering = ("-number",)


@admin.register(TableReader)
class TableReaderAdmin(ReadOnlyAdmin):
    """Gateways and runners, and how far they have come."""

    list_display = ("role", "node", "acked_revision", "seen_at")
    ordering = ("role", "node")
