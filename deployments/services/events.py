"""The history of an attempt: append-only, each event bound to the one before by its hash."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from deployments import live
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
    detail: Mapping[str, object] | None = None,
) -> Event:
    """Add what happened, in the transaction in which it happened. The caller holds the
    attempt's row lock, so numbers are dense and every event knows the one before.

    Args:
        actor: a user name, or "hotswap".
        detail: JSON; no secrets.
    """
    last = Event.objects.filter(attempt=attempt).order_by("-seq").first()
    event = Event(
        attempt=attempt,
        seq=last.seq + 1 if last else 1,
        at=at,
        actor=actor,
        kind=kind,
        from_phase=from_phase,
        to_phase=to_phase,
        reason=reason[:REASON_MAX],
        detail=dict(detail or {}),
        previous_sha256=last.sha256 if last else "",
    )
    event.sha256 = event_sha256(event)
    event.save(force_insert=True)
    live.announce_after_commit(attempt.deployment_id)
    return event


def event_sha256(event: Event) -> str:
    """Hex digest over an event's content and the digest of the one before."""
    content = [
        event.attempt_id.hex,
        event.seq,
        event.at.astimezone(UTC).isoformat(),
        event.actor,
        event.kind,
        event.from_phase,
        event.to_phase,
        event.reason,
        event.detail,
        event.previous_sha256,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_chain_whole(events: Iterable[Event]) -> bool:
    """Whether nothing was changed, left out or put between, given all events in order."""
    previous = ""
    for seq, event in enumerate(events, 1):
        is_next = (event.seq, event.previous_sha256) == (seq, previous)
        if not is_next or event_sha256(event) != event.sha256:
            return False
        previous = event.sha256
    return True
