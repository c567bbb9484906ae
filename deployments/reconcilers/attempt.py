"""Observe, decide, apply: one pass over an attempt, as often as anybody likes.

A pass never waits. What it has set going, such as a route on its way to the gateways, the
next pass finds done or not done. Two at once are harmless: the row's lock lets one in, and
the other leaves.
"""

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from deployments import machine
from deployments.models import Attempt
from deployments.services.clock import database_now
from deployments.services.observation import observe
from deployments.services.transitions import apply
from deployments.states import TERMINAL
from hotswap.core.errors import HotSwapError

log = logging.getLogger("hotswap.deployments")

MOVES_MAX: Final = 4
"""Moves in one pass that need no waiting; one evaluated step ends the pass."""
DUE_MAX: Final = 200


def tick(*, late_seconds: float = 0.0) -> int:
    """Reconcile every attempt that has been due for so long. Returns how many were."""
    late = timedelta(seconds=late_seconds)
    due = Attempt.objects.filter(due_at__lte=Now() - late).order_by("due_at")
    ids = list(due.values_list("id", flat=True)[:DUE_MAX])
    for attempt_id in ids:
        try:
            reconcile(attempt_id=attempt_id)
        except (HotSwapError, DatabaseError):  # one bad attempt must not stop the others
            log.exception("attempt %s could not be reconciled", attempt_id)
    return len(ids)


def reconcile(*, attempt_id: UUID) -> None:
    """Move an attempt as far as it can go now, each move in a transaction of its own."""
    for _ in range(MOVES_MAX):
        if not _pass(attempt_id):
            return


@transaction.atomic(durable=True)
def _pass(attempt_id: UUID) -> bool:
    """One move. Returns whether another may follow at once."""
    rows = Attempt.objects.select_for_update(skip_locked=True, of=("self",))
    loaded = rows.select_related("deployment", "function", "deployment__function")
    attempt = loaded.filter(id=attempt_id).exclude(phase__in=TERMINAL).first()
    if attempt is None:
        return False
    before = attempt.phase
    now = database_now()
    view = observe(attempt=attempt, now=now)
    decision = machine.decide(view)
    apply(attempt=attempt, view=view, decision=decision, now=now)
    return decision.phase != before and not decision.step_passed
