"""Writes that every app needs: the audit trail, dirty routes, idempotency."""

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import IntegrityError, transaction

from hotswap.core.errors import Conflict, InvalidInput
from hotswap.records.models import AuditEvent, IdempotencyKey, OutboxEvent

ROUTING = "routing"

Publish = Callable[[], object]
_publish: list[Publish] = []


def audit_append(
    *, verb: str, subject: str, actor: str, at: datetime, detail: dict[str, object] | None = None
) -> None:
    """Record who did what, in the transaction of what was done.

    Args:
        verb: such as "function.delete".
        subject: such as "function/thumbs".
        detail: no secrets, no environment values.
    """
    AuditEvent.objects.create(verb=verb, subject=subject, actor=actor, at=at, detail=detail or {})


def routing_publish_with(publish: Publish) -> None:
    """Name who turns dirty keys into a revision; the project does so when it starts."""
    _publish[:] = [publish]


def routing_mark_dirty(*, keys: Iterable[str], at: datetime) -> None:
    """Say that these entries of the routing table must be computed anew.

    The rows commit with the change itself; publication follows right after the commit, and
    a sweep repeats it when this process dies in between. Marking twice publishes once.

    Args:
        keys: such as "function/thumbs", "token/<sha256>", "key/<kid>".
    """
    OutboxEvent.objects.bulk_create(OutboxEvent(kind=ROUTING, key=key, at=at) for key in keys)
    pending = {follower for _, follower, *_ in transaction.get_connection().run_on_commit}
    if _publish_now not in pending:
        transaction.on_commit(_publish_now, robust=True)


def _publish_now() -> None:
    for publish in _publish:
        publish()


def idempotency_claim(
    *, actor: str, key: str, request_sha256: str, now: datetime
) -> IdempotencyKey | None:
    """Claim a key for the first request, or return the answer that it already has.

    Returns:
        None when the claim is ours; a row with its `status` and `body` for a repeat.

    Raises:
        InvalidInput: the key was used for a different request.
        Conflict: the first request is still running.
    """
    try:
        with transaction.atomic():
            IdempotencyKey.objects.create(
                actor=actor, key=key, request_sha256=request_sha256, created_at=now
            )
    except IntegrityError:
        known = IdempotencyKey.objects.get(actor=actor, key=key)
    else:
        return None
    if known.request_sha256 != request_sha256:
        raise InvalidInput("This Idempotency-Key was used for a different request; make a new one.")
    if known.status is None:
        raise Conflict("The first request with this Idempotency-Key is still running; ask again.")
    return known


def idempotency_answer(
    *, actor: str, key: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Keep the answer for repeats."""
    IdempotencyKey.objects.filter(actor=actor, key=key).update(
        status=status, headers=headers, body=body
    )


def idempotency_release(*, actor: str, key: str) -> None:
    """Forget a claim whose request failed on our side, so that a repeat may succeed."""
    IdempotencyKey.objects.filter(actor=actor, key=key, status=None).delete()


def idempotency_purge(*, before: datetime, stuck_before: datetime) -> int:
    """Delete answers older than `before`, and claims whose process died. Returns how many."""
    answered, _ = IdempotencyKey.objects.filter(created_at__lt=before).delete()
    stuck, _ = IdempotencyKey.objects.filter(status=None, created_at__lt=stuck_before).delete()
    return answered + stuck
