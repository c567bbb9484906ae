"""Calls to the outside: wanted in a transaction, made outside of any, their answers kept once.

A claim moves an effect's `due_at` on by longer than one try can take. So two workers never
call at the same time, and a worker that dies leaves the effect to the next one; the receiver
tells a repeat by the idempotency key.
"""

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue
from threading import Thread
from typing import Final

from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models.functions import Now

from deployments.models import Attempt, Deployment, Effect
from deployments.rules import ChannelKind
from deployments.services import environments, signatures
from deployments.services.clock import database_now
from deployments.services.events import event_append
from deployments.sources.outbound import (
    Answer,
    Call,
    RefusedAddress,
    Unreachable,
    exchange,
    masked,
)

log = logging.getLogger("hotswap.effects")

ACTOR: Final = "hotswap"
BATCH: Final = 20
MAIL_SECONDS: Final = 20.0
NOTICE_SECONDS: Final = 10.0
_LEASE_SPARE_SECONDS: Final = 15.0
_BACKOFF_MAX_SECONDS: Final = 60.0
_ANSWER_MAX: Final = 300
_RETRIED_STATUSES: Final = frozenset({408, 425, 429})
HOOK: Final = "hook."
NOTIFY: Final = "notify."


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one try needs, read before the transaction ended."""

    effect_id: int
    kind: str
    key: str
    target: str
    payload: dict[str, object]
    tries: int
    timeout_seconds: float
    secret: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A state other than PENDING is final."""

    state: Effect.State
    answer: str


_Tried = tuple[_Claim, _Outcome]


def effect_want(
    *,
    attempt: Attempt,
    kind: str,
    target: str,
    occasion: str,
    payload: dict[str, object],
    now: datetime,
    deadline_seconds: float,
    gate: str = "",
) -> None:
    """Write a wish in the caller's transaction; the same one again changes nothing.

    Args:
        occasion: tells two wishes of the same kind apart, such as the step's number.
        payload: JSON; for a hook it holds `timeoutSeconds` beside the `body` that is sent.
    """
    words = json.dumps([attempt.id.hex, kind, target, gate, occasion])
    Effect.objects.bulk_create(
        [
            Effect(
                attempt=attempt,
                kind=kind,
                key=hashlib.sha256(words.encode()).hexdigest(),
                target=target,
                gate=gate,
                payload=payload,
                due_at=now,
                deadline_at=now + timedelta(seconds=deadline_seconds),
                created_at=now,
            )
        ],
        ignore_conflicts=True,
    )


def facts_of(attempt: Attempt) -> dict[str, object]:
    """What every hook and notification says of an attempt."""
    deployment: Deployment = attempt.deployment
    return {
        "deployment": str(deployment.id),
        "attempt": attempt.number,
        "function": attempt.function.name,
        "alias": deployment.alias,
        "versions": {
            "stable": _version(deployment.from_number),
            "candidate": _version(deployment.to_number),
        },
        "strategy": str(deployment.strategy),
        "phase": str(attempt.phase),
        "step": attempt.step_index,
        "weight": attempt.weight,
        "reason": attempt.reason,
        "verdict": attempt.verdict,
    }


def deliver_due() -> int:
    """Try what is due, all at once and outside any transaction. Returns how many tries.

    Each answer is kept when it comes: a slow receiver delays nobody else's. The calls run in
    a thread of their own, because this one's database connection must not wait for them.
    """
    claims = _claim_due()
    if not claims:
        return 0
    answers: SimpleQueue[_Tried | None] = SimpleQueue()
    thread = Thread(target=_try_all, args=(claims, answers), daemon=True)
    thread.start()
    while (tried := answers.get()) is not None:
        _keep(*tried)
    thread.join()
    return len(claims)


def _try_all(claims: Sequence[_Claim], answers: "SimpleQueue[_Tried | None]") -> None:
    async def try_one(claim: _Claim) -> None:
        answers.put((claim, await _try(claim)))

    async def try_each() -> None:
        await asyncio.gather(*(try_one(claim) for claim in claims))

    try:
        asyncio.run(try_each())
    finally:
        answers.put(None)


@transaction.atomic(durable=True)
def _claim_due() -> list[_Claim]:
    rows = list(
        Effect.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("attempt")
        .filter(state=Effect.State.PENDING, due_at__lte=Now())
        .order_by("due_at", "id")[:BATCH]
    )
    secrets = {
        alias: environments.hook_secret(name=alias) for alias in {row.attempt.alias for row in rows}
    }
    claims = []
    for row in rows:
        timeout = _timeout_of(row)
        row.tries += 1
        row.due_at = Now() + timedelta(seconds=timeout + _LEASE_SPARE_SECONDS)
        row.save(update_fields=["tries", "due_at"])
        secret = secrets[row.attempt.alias]
        claims.append(
            _Claim(row.id, row.kind, row.key, row.target, row.payload, row.tries, timeout, secret)
        )
    return claims


def _timeout_of(row: Effect) -> float:
    if row.kind == NOTIFY + ChannelKind.EMAIL:
        return MAIL_SECONDS
    return float(row.payload.get("timeoutSeconds", NOTICE_SECONDS))


async def _try(claim: _Claim) -> _Outcome:
    try:
        if claim.kind == NOTIFY + ChannelKind.EMAIL:
            return await asyncio.to_thread(_mail, claim)
        return _judged(await exchange(_signed(claim)))
    except RefusedAddress as exc:
        return _Outcome(Effect.State.REFUSED, str(exc))
    except Unreachable as exc:
        return _Outcome(Effect.State.PENDING, str(exc))
    except Exception as exc:  # one bad effect must not lose the others' answers
        log.exception("effect %s failed", claim.effect_id)
        return _Outcome(Effect.State.PENDING, f"{type(exc).__name__} on our side")


def _signed(claim: _Claim) -> Call:
    body = json.dumps(claim.payload["body"], separators=(",", ":")).encode()
    return Call(
        url=claim.target,
        method="POST",
        body=body,
        timeout_seconds=claim.timeout_seconds,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "HotSwap",
            "X-HotSwap-Delivery": claim.key,
            "X-HotSwap-Signature": signatures.sign(claim.secret, body),
        },
    )


def _judged(answer: Answer) -> _Outcome:
    """2xx is yes, 5xx and "try later" are repeated, anything else is no."""
    text = answer.body.decode("utf-8", "replace")
    said = "".join(char for char in text if char.isprintable())[:_ANSWER_MAX]
    line = f"{answer.status} {said}".strip()
    if 200 <= answer.status < 300:
        return _Outcome(Effect.State.DONE, line)
    if answer.status >= 500 or answer.status in _RETRIED_STATUSES:
        return _Outcome(Effect.State.PENDING, line)
    return _Outcome(Effect.State.REFUSED, line)


def _mail(claim: _Claim) -> _Outcome:
    """Send one mail. Whatever the server says against it may change: it is tried again."""
    payload = claim.payload
    message = EmailMessage(
        str(payload["subject"]),
        str(payload["text"]),
        to=[claim.target],
        headers={"Message-ID": f"<{claim.key[:32]}@hotswap>"},
        connection=get_connection(timeout=claim.timeout_seconds / 2),
    )
    try:
        message.send()
    except OSError as exc:  # smtplib's errors are OSErrors
        raise Unreachable(f"{type(exc).__name__}: {exc}"[:_ANSWER_MAX]) from exc
    return _Outcome(Effect.State.DONE, "sent")


@transaction.atomic(durable=True)
def _keep(claim: _Claim, outcome: _Outcome) -> None:
    """Record what came of a try, unless another one has brought the final answer already."""
    owner = Effect.objects.values_list("attempt_id", flat=True).get(id=claim.effect_id)
    attempt = Attempt.objects.select_for_update().get(id=owner)  # before its effect: one order
    effect = Effect.objects.select_for_update().get(id=claim.effect_id)
    if effect.state != Effect.State.PENDING:
        return
    now = database_now()
    effect.answer = outcome.answer[:1_000]
    effect.state = outcome.state
    if outcome.state is Effect.State.PENDING:
        if now < effect.deadline_at:
            wait = timedelta(seconds=_backoff_seconds(claim.tries))
            effect.due_at = min(now + wait, effect.deadline_at)
            effect.save(update_fields=["answer", "due_at"])
            return
        effect.state = Effect.State.FAILED
    effect.due_at = None
    effect.finished_at = now
    effect.save(update_fields=["answer", "state", "due_at", "finished_at"])
    _tell(attempt, effect, now)


def _tell(attempt: Attempt, effect: Effect, now: datetime) -> None:
    """The one event of an effect, and the machine's hint when it waits for the answer."""
    is_hook = effect.kind.startswith(HOOK)
    is_mail = effect.kind == NOTIFY + ChannelKind.EMAIL
    event_append(
        attempt=attempt,
        kind="hook.answered" if is_hook else "notification.sent",
        actor=ACTOR,
        at=now,
        reason=f"{effect.kind.partition('.')[2]}: {WORDS[Effect.State(effect.state)]}",
        detail={
            "target": effect.target if is_mail else masked(effect.target),
            "state": str(effect.state),
            "gate": effect.gate,
            "tries": effect.tries,
            "answer": effect.answer,
        },
    )
    if effect.gate:
        Attempt.objects.filter(id=attempt.id, due_at__gt=now).update(due_at=now)


WORDS: Final = {
    Effect.State.DONE: "ok",
    Effect.State.REFUSED: "refused",
    Effect.State.FAILED: "late",
}
"""What people call a final state."""


def _backoff_seconds(tries: int) -> float:
    """1, 2, 4 ... 60 s, up to a quarter less: receivers that fell over together are spread."""
    longest = min(2.0 ** (min(tries, 10) - 1), _BACKOFF_MAX_SECONDS)
    return longest * random.uniform(0.75, 1.0)  # noqa: S311  # spreads load, guards nothing


def _version(number: int | None) -> str | None:
    return None if number is None else f"v{number}"
