"""Functions for staff: to look at, to delete and to restore. Everything else is in the portal."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from functions.models import Alias, Artifact, Function, FunctionVersion
from functions.services.functions import function_delete, function_restore
from functions.services.versions import version_delete
from hotswap.core import clock
from hotswap.core.errors import HotSwapError
from hotswap.db.admin import ReadOnlyAdmin


def _each(request: HttpRequest, names: list[str], act: Callable[[str], object], done: str) -> None:
    """Call a service for each name; what it refuses is said, the others go on."""
    count = 0
    for name in names:
        try:
            act(name)
            count += 1
        except HotSwapError as error:
            messages.error(request, f"{name}: {error.detail}")
    if count:
        messages.success(request, f"{done}: {count}.")


@admin.register(Function)
class FunctionAdmin(ReadOnlyAdmin):
    """Functions in service and deleted ones."""

    list_display = ("name", "runtime", "last_number", "created_by", "updated_at", "deleted_at")
    list_filter = ("runtime", ("deleted_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "description")
    ordering = ("name",)
    actions = ("delete_functions", "restore_functions")

    @admin.action(description="Delete; they can be restored for a while")
    def delete_functions(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        """Take the chosen functions out of service."""
        actor, now = request.user.get_username(), clock.utc_now()
        _each(
            request,
            list(queryset.values_list("name", flat=True)),
            lambda name: function_delete(name=name, actor=actor, now=now),
            "Deleted",
        )

    @admin.action(description="Restore")
    def restore_functions(self, request: HttpRequest, queryset: QuerySet[Function]) -> None:
        """Put the chosen functions back into service."""
        actor, now = request.user.get_username(), clock.utc_now()
        _each(
            request,
            list(queryset.values_list("name", flat=True)),
            lambda name: function_restore(name=name, actor=actor, now=now),
            "Restored",
        )


@admin.register(FunctionVersion)
class FunctionVersionAdmin(ReadOnlyAdmin):
    """Versions never change; those that no alias uses can go."""

    list_display = ("function", "number", "runtime", "memory_mib", "author", "created_at")
    list_filter = ("runtime",)
    list_select_related = ("function",)
    search_fields = ("function__name", "message")
    ordering = ("-id",)
    actions = ("delete_versions",)

    @admin.action(description="Delete those that no alias uses")
    def delete_versions(self, request: HttpRequest, queryset: QuerySet[FunctionVersion]) -> None:
        """Delete the chosen versions."""
        actor, now = request.user.get_username(), clock.utc_now()
        labels = queryset.values_list("function__name", "number")

        def delete(label: str) -> None:
            name, _, number = label.rpartition(" v")
            version_delete(name=name, version=number, actor=actor, now=now)

        _each(request, [f"{name} v{number}" for name, number in labels], delete, "Deleted")


@admin.register(Alias)
class AliasAdmin(ReadOnlyAdmin):
    """Where callers' names lead."""

    list_display = ("function", "name", "shares", "updated_at")
    list_select_related = ("function",)
    search_fields = ("function__name", "name")
    ordering = ("function__name", "name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        """Aliases with their targets."""
        found: QuerySet[Alias] = super().get_queryset(request)
        return found.prefetch_related("targets__version")

    @admin.display(description="leads to")
    def shares(self, alias: Alias) -> str:
        """Versions with their shares."""
        return ", ".join(
            f"v{target.version.number} {target.weight_bps / 100:g} %"
            for target in alias.targets.all()
        )


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    """Stored packages."""

    list_display = ("sha256", "size_bytes", "files", "created_at", "used_at")
    search_fields = ("sha256",)
    ordering = ("-created_at",)
