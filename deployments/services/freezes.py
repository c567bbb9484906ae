"""Freeze windows: times in which deployments neither start nor advance. Rollback always may."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from deployments.models import FreezeWindow
from functions.checks import check_alias_name
from hotswap.core.errors import InvalidInput, NotFound
from hotswap.records import services as records

LENGTH_MAX = timedelta(days=366)
AHEAD_MAX = timedelta(days=3 * 366)
REASON_MAX = 500


def freeze_now(*, environment: str, now: datetime) -> FreezeWindow | None:
    """The window that holds this environment now, the longest of several; None: none does."""
    windows = FreezeWindow.objects.filter(environment__in=("", environment))
    return windows.filter(starts_at__lte=now, ends_at__gt=now).order_by("-ends_at", "id").first()


def freeze_list(*, environment: str | None = None) -> QuerySet[FreezeWindow]:
    """Windows, ended ones too; of one environment those that hold it."""
    windows = FreezeWindow.objects.all()
    return windows if environment is None else windows.filter(environment__in=("", environment))


def freeze_get(*, freeze_id: int) -> FreezeWindow:
    """A window; raises NotFound."""
    return _one(FreezeWindow.objects.filter(id=freeze_id), freeze_id)


@transaction.atomic(durable=True)
def freeze_create(
    *,
    environment: str,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> FreezeWindow:
    """Announce a window. Rollouts under way hold when it begins; nobody needs to do anything.

    Args:
        environment: "" for all.
        starts_at: a moment that has passed means now.

    Raises:
        InvalidInput: a window that has ended, is longer than 366 days or too far ahead, or
            has no reason.
    """
    if environment:
        check_alias_name(environment)
    starts_at = max(starts_at, now)
    if ends_at <= starts_at:
        raise InvalidInput("endsAt: It must lie after the beginning, and in the future.")
    if ends_at - starts_at > LENGTH_MAX or starts_at - now > AHEAD_MAX:
        raise InvalidInput("endsAt: A freeze lasts 366 days at most and begins within 3 years.")
    if not reason.strip() or len(reason) > REASON_MAX or "\0" in reason:
        raise InvalidInput(f"reason: Say why, in 1 to {REASON_MAX} characters; people will ask.")
    window = FreezeWindow.objects.create(
        environment=environment,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=reason.strip(),
        created_by=actor,
        created_at=now,
    )
    _record(window, verb="freeze.create", actor=actor, now=now)
    return window


@transaction.atomic(durable=True)
def freeze_end(*, freeze_id: int, actor: str, now: datetime) -> None:
    """End a window now. One that has not begun is removed; ending an ended one changes nothing.

    Raises:
        NotFound: no such window.
    """
    window = _one(FreezeWindow.objects.select_for_update().filter(id=freeze_id), freeze_id)
    if window.ends_at <= now:
        return
    _record(window, verb="freeze.end", actor=actor, now=now)
    if window.starts_at >= now:
        window.delete()
        return
    window.ends_at = now
    window.save(update_fields=["ends_at"])


def _one(windows: QuerySet[FreezeWindow], freeze_id: int) -> FreezeWindow:
    for window in windows:
        return window
    raise NotFound(f"There is no freeze {freeze_id}.")


def _record(window: FreezeWindow, *, verb: str, actor: str, now: datetime) -> None:
    records.audit_append(
        verb=verb,
        subject=f"freeze/{window.id}",
        actor=actor,
        at=now,
        detail={
            "environment": window.environment,
            "startsAt": window.starts_at.isoformat(),
            "endsAt": window.ends_at.isoformat(),
            "reason": window.reason,
        },
    )
