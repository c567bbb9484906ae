"""The story of an attempt: append-only, each entry holding the hash of the one before."""

import hashlib
import json
from datetime import datetime

from deployments.models import Attempt, Event

REASON_MAX = 1_000


def event_append(
    *,
    attempt: Attempt,
    kind: str,
    actor: str,
    at: datetime,
    reason: str = "",
    from_phase: str = "",
    to_phase: str = "",
    detail: dict[str, object] | None = None,
) -> Event:
    """Add an event in the caller's transaction, which holds the attempt's row lock.

    Args:
        kind: "phase", or a name such as "hook.answered".
        actor: a user name, or "hotswap".
        detail: JSON; no secrets.
    """
    last = Event.objects.filter(attempt=attempt).order_by("-seq").first()
    event = Event(
        attempt=attempt,
        seq=1 if last is None else last.seq + 1,
        at=at,
        actor=actor,
        kind=kind,
        from_phase=from_phase,
        to_phase=to_phase,
        reason=reason[:REASON_MAX],
        detail=detail or {},
        previous_sha256="" if last is None else last.sha256,
    )
    event.sha256 = event_sha256(event)
    event.save(force_insert=True)
    return event


def event_sha256(event: Event) -> str:
    """Hash over everything an event says, the hash before it included."""
    said = {
        "attempt": event.attempt_id.hex,
        "seq": event.seq,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "kind": event.kind,
        "from": str(event.from_phase),
        "to": str(event.to_phase),
        "reason": event.reason,
        "detail": event.detail,
        "previous": event.previous_sha256,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
