"""Runners and recorded invocations in the admin, to look at: their truth is elsewhere."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from functions import selectors as functions
from hotswap.core import clock
from runners.models import InvocationRecord, RunnerNode
from runners.selectors import nodes


class _ReadOnly(ModelAdmin):
    """Nothing to add, change or delete by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object | None = None) -> bool:
        return False


@admin.register(RunnerNode)
class RunnerNodeAdmin(_ReadOnly):
    """Runners as their last heartbeat described them."""

    list_display = (
        "name", "region", "is_online", "backend", "instance_count", "queued", "load", "seen_at",
    )  # fmt: skip
    list_filter = ("backend", "region")
    search_fields = ("name",)
    ordering = ("name",)

    @admin.display(boolean=True, description="online")
    def is_online(self, node: RunnerNode) -> bool:
        """Whether it reported within the last seconds."""
        return nodes.is_online(node=node, now=clock.utc_now())

    @admin.display(description="instances")
    def instance_count(self, node: RunnerNode) -> int:
        """How many instances it runs."""
        return len(node.instances)


@admin.register(InvocationRecord)
class InvocationRecordAdmin(_ReadOnly):
    """Invocations that were recorded one by one."""

    list_display = ("request_id", "function", "outcome", "status", "cold", "total_us", "ended_at")
    list_filter = ("outcome", "cold")
    search_fields = ("request_id__startswith",)
    ordering = ("-id",)
    show_full_result_count = False  # counting millions of rows takes longer than showing fifty
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvocationRecord]:
        records: QuerySet[InvocationRecord] = super().get_queryset(request)
        return records.annotate(name=functions.function_name_of("function_id"))

    @admin.display(description="function")
    def function(self, record: InvocationRecord) -> str:
        """Name of the function; empty when it is gone."""
        return getattr(record, "name", None) or ""
