"""Deployments for staff: to look at, and the verbs of their pages for many at once."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from deployments.models import Attempt, Deployment, Environment, Event, FreezeWindow
from deployments.services.commands import command_give
from deployments.states import Command
from hotswap.core import clock
from hotswap.core.errors import HotSwapError
from hotswap.db.admin import ReadOnlyAdmin

Action = Callable[[Any, HttpRequest, QuerySet[Deployment]], None]
_REASON = "Asked for in the administration."


def _verb(command: Command, description: str) -> Action:
    """An action that gives every chosen deployment the same command."""

    @admin.action(description=description)
    def act(_: Any, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        actor, now = request.user.get_username(), clock.utc_now()
        count = 0
        for deployment_id in queryset.values_list("id", flat=True):
            try:
                command_give(
                    deployment_id=deployment_id,
                    command=command,
                    reason=_REASON,
                    actor=actor,
                    now=now,
                )
                count += 1
            except HotSwapError as error:
                messages.error(request, f"{deployment_id}: {error.detail}")
        if count:
            messages.success(request, f"{description}: {count}.")

    act.__name__ = f"{command}_deployments"
    return act


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """What was asked for, and where its newest attempt stands."""

    list_display = (
        "function",
        "alias",
        "versions",
        "strategy",
        "phase",
        "created_by",
        "created_at",
    )
    list_filter = ("strategy", "alias")
    list_select_related = ("function",)
    search_fields = ("function__name", "message", "id__startswith")
    ordering = ("-created_at", "-id")
    actions = (
        _verb(Command.PROMOTE, "Promote"),
        _verb(Command.PAUSE, "Pause"),
        _verb(Command.ABORT, "Abort"),
        _verb(Command.ROLLBACK, "Roll back"),
        _verb(Command.RETRY, "Retry"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        """Deployments with the phase of their newest attempts."""
        found: QuerySet[Deployment] = super().get_queryset(request)
        newest = Attempt.objects.filter(deployment=OuterRef("pk")).order_by("-number")
        return found.annotate(newest_phase=Subquery(newest.values("phase")[:1]))

    @admin.display(description="versions")
    def versions(self, deployment: Deployment) -> str:
        """From what to what."""
        old = f"v{deployment.from_number}" if deployment.from_number else "nothing"
        return f"{old} → v{deployment.to_number}"

    @admin.display(description="phase", ordering="newest_phase")
    def phase(self, deployment: Deployment) -> str:
        """Of the newest attempt."""
        return getattr(deployment, "newest_phase", None) or ""


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """Tries at deployments."""

    list_display = ("deployment", "number", "phase", "held_reason", "weight", "epoch", "created_at")
    list_filter = ("phase", "held_reason")
    list_select_related = ("deployment",)
    search_fields = ("id__startswith", "deployment__id__startswith", "function__name")
    ordering = ("-created_at", "-id")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """What happened, each event bound to the one before by its hash."""

    list_display = ("attempt", "seq", "kind", "from_phase", "to_phase", "actor", "reason", "at")
    list_filter = ("kind",)
    search_fields = ("attempt__id__startswith", "actor", "reason")
    ordering = ("-id",)


@admin.register(Environment)
class EnvironmentAdmin(ReadOnlyAdmin):
    """Rules of aliases that have rules of their own."""

    list_display = ("name", "concurrency", "approvals_needed", "on_inconclusive", "updated_at")
    ordering = ("name",)


@admin.register(FreezeWindow)
class FreezeWindowAdmin(ReadOnlyAdmin):
    """Times in which nothing starts or advances."""

    list_display = ("reason", "environment", "starts_at", "ends_at", "created_by")
    list_filter = ("environment",)
    ordering = ("-starts_at", "-id")
