"""External metrics of rollouts: asked every few seconds while there is traffic.

A source that is down, or says anything but a number, holds the rollout and decides nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue
from threading import Thread
from typing import Final, Literal
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from deployments.models import Attempt, SourceReading
from deployments.services.clock import database_now
from deployments.sources import http, promql
from deployments.sources.metrics import (
    NoReading,
    Role,
    RunnerMetric,
    Source,
    SourceType,
    sources_checked,
)
from deployments.sources.outbound import RefusedAddress, Unreachable
from deployments.states import WITH_TRAFFIC
from hotswap.core.errors import NotFound
from runners.selectors import nodes

__all__ = [
    "Reading",
    "Standing",
    "poll_due",
    "readings",
    "readings_get",
    "sources_checked",
    "standing",
]

log = logging.getLogger("hotswap.sources")

POLL_SECONDS: Final = 5.0
STALE_SECONDS: Final = 20.0
BREACHES_NEEDED: Final = 3
_BATCH: Final = 50
_LEASE_SECONDS: Final = 15.0
_READERS: Final[Mapping[SourceType, Callable[[Source, Mapping[str, str]], Awaitable[float]]]] = {
    SourceType.PROMQL: promql.read,
    SourceType.HTTP: http.read,
}

State = Literal["ok", "waiting", "stale", "signal", "breached"]
_WORST_FIRST: Final[tuple[State, ...]] = ("breached", "stale", "signal", "waiting", "ok")


@dataclass(frozen=True, slots=True)
class Reading:
    """A source and what it last said.

    Attributes:
        at: None before the first reading.
        breaches: readings over the limit in a row.
        state: what it means for the rollout, as `Standing.state`.
        sentence: the same for people.
    """

    source: Source
    at: datetime | None
    value: float | None
    error: str
    breaches: int
    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What all sources of an attempt say together; the worst of them counts.

    Attributes:
        state: "ok"; "waiting": nothing is wrong, but nothing may pass yet; "stale": a source
            gives no number, so hold; "signal": hold until it recovers; "breached": fail.
    """

    state: State
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class _Claim:
    reading_id: int
    source: Source
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    reading_id: int
    source: Source
    value: float | None
    error: str


def readings(*, attempt: Attempt, now: datetime) -> list[Reading]:
    """Every source of the attempt with its newest reading, in the order of the settings."""
    rows = {row.name: row for row in SourceReading.objects.filter(attempt=attempt)}
    sources = sources_checked(attempt.deployment.config)
    return [_reading(source, rows.get(source.name), now) for source in sources]


def readings_get(*, deployment_id: UUID, now: datetime) -> list[Reading]:
    """The same of a deployment's newest attempt; raises NotFound."""
    attempts = Attempt.objects.select_related("deployment").filter(deployment_id=deployment_id)
    attempt = attempts.order_by("-number").first()
    if attempt is None:
        raise NotFound(f"There is no deployment {deployment_id}.")
    return readings(attempt=attempt, now=now)


def standing(*, attempt: Attempt, now: datetime) -> Standing:
    """What the sources mean for the rollout now; "ok" where there are none."""
    if not attempt.deployment.config.get("metrics"):
        return Standing("ok")
    found = readings(attempt=attempt, now=now)
    worst = min(found, key=lambda reading: _WORST_FIRST.index(reading.state))
    return Standing(worst.state, worst.sentence)


def poll_due() -> int:
    """Ask every source that is due, all at once, outside any transaction. Returns how many."""
    _make_rows()
    claims = _claim_due()
    outside = [claim for claim in claims if claim.source.type is not SourceType.RUNNER]
    answers: SimpleQueue[_Found | None] = SimpleQueue()
    thread = Thread(target=_read_all, args=(outside, answers), daemon=True)
    thread.start()
    for claim in claims:
        if claim.source.type is SourceType.RUNNER:
            _keep(_read_runners(claim, database_now()))
    while (found := answers.get()) is not None:
        _keep(found)
    thread.join()
    return len(claims)


def _read_all(claims: Sequence[_Claim], answers: "SimpleQueue[_Found | None]") -> None:
    async def read_one(claim: _Claim) -> None:
        answers.put(await _read(claim))

    async def read_each() -> None:
        await asyncio.gather(*(read_one(claim) for claim in claims))

    try:
        asyncio.run(read_each())
    finally:
        answers.put(None)


async def _read(claim: _Claim) -> _Found:
    try:
        value = await _READERS[claim.source.type](claim.source, claim.facts)
    except (NoReading, Unreachable, RefusedAddress) as exc:
        return _Found(claim.reading_id, claim.source, None, str(exc)[:500])
    except Exception as exc:  # one bad source must not lose the others' readings
        log.exception("source %s failed", claim.source.name)
        return _Found(claim.reading_id, claim.source, None, f"{type(exc).__name__} on our side")
    return _Found(claim.reading_id, claim.source, value, "")


def _read_runners(claim: _Claim, now: datetime) -> _Found:
    """The highest figure among the candidate's instances: one that is ill is enough."""
    wanted = claim.facts["candidate"]
    column = "memory_mib" if claim.source.metric == RunnerMetric.MEMORY else "cpu_percent"
    figures = [
        float(figure)
        for instance in nodes.instance_list(function=claim.facts["function"], now=now)
        if f"v{instance.version}" == wanted and (figure := getattr(instance, column)) is not None
    ]
    if not figures:
        text = f"No runner reports the {claim.source.metric} of an instance of {wanted}."
        return _Found(claim.reading_id, claim.source, None, text)
    return _Found(claim.reading_id, claim.source, max(figures), "")


def _make_rows() -> None:
    """A row for every source of every attempt with traffic; it is due at once."""
    attempts = Attempt.objects.filter(
        phase__in=WITH_TRAFFIC, deployment__config__has_key="metrics"
    ).select_related("deployment")
    now = database_now()
    fresh = [
        SourceReading(attempt=attempt, name=source.name, at=now, due_at=now)
        for attempt in attempts
        for source in sources_checked(attempt.deployment.config)
    ]
    SourceReading.objects.bulk_create(fresh, ignore_conflicts=True)


@transaction.atomic(durable=True)
def _claim_due() -> list[_Claim]:
    rows = list(
        SourceReading.objects.select_for_update(skip_locked=True, of=("self",))
        .select_related("attempt__deployment", "attempt__function")
        .filter(due_at__lte=Now(), attempt__phase__in=WITH_TRAFFIC)
        .order_by("due_at", "id")[:_BATCH]
    )
    claims = []
    for row in rows:
        deployment = row.attempt.deployment
        sources = {source.name: source for source in sources_checked(deployment.config)}
        facts = {
            "function": row.attempt.function.name,
            "alias": deployment.alias,
            "candidate": f"v{deployment.to_number}",
            "stable": "" if deployment.from_number is None else f"v{deployment.from_number}",
        }
        claims.append(_Claim(row.id, sources[row.name], facts))
    claimed = [row.id for row in rows]
    again = Now() + timedelta(seconds=_LEASE_SECONDS)
    SourceReading.objects.filter(id__in=claimed).update(due_at=again)
    return claims


@transaction.atomic(durable=True)
def _keep(found: _Found) -> None:
    row = SourceReading.objects.select_for_update().filter(id=found.reading_id).first()
    if row is None:
        return
    was = (row.is_breached, bool(row.error), row.value is None)
    now = database_now()
    row.at = now
    row.due_at = now + timedelta(seconds=POLL_SECONDS)
    row.error = found.error
    if found.value is not None:
        row.value = found.value
        row.is_breached = found.source.is_breached_by(found.value)
        row.breaches = row.breaches + 1 if row.is_breached else 0
    row.save(update_fields=["at", "due_at", "error", "value", "is_breached", "breaches"])
    has_changed = was != (row.is_breached, bool(row.error), row.value is None)
    if has_changed or row.breaches == BREACHES_NEEDED:
        Attempt.objects.filter(id=row.attempt_id, due_at__gt=now).update(due_at=now)


def _reading(source: Source, row: SourceReading | None, now: datetime) -> Reading:
    if row is None:
        return Reading(source, None, None, "", 0, "waiting", f"{source.name}: not read yet.")
    state, sentence = _judged(source, row, now)
    is_read = bool(row.error) or row.value is not None
    return Reading(
        source, row.at if is_read else None, row.value, row.error, row.breaches, state, sentence
    )


def _judged(source: Source, row: SourceReading, now: datetime) -> tuple[State, str]:
    """An error outweighs a breach of the same source: it must not decide."""
    age = (now - row.at).total_seconds()
    if row.error:
        return "stale", f"{source.name}: {row.error}"
    if age > STALE_SECONDS:
        return "stale", f"{source.name}: not read for {age:.0f} s."
    if row.value is None:
        return "waiting", f"{source.name}: not read yet."
    said = f"{source.name} is {row.value:g}"
    if not row.is_breached:
        return "ok", f"{said}, within its limit."
    limit = f"{said}, {source.comparison} {source.threshold:g}"
    if source.role is Role.SIGNAL:
        return "signal", f"{limit}."
    if row.breaches >= BREACHES_NEEDED:
        return "breached", f"{limit}, {row.breaches} times in a row."
    return "waiting", f"{limit}, {row.breaches} of {BREACHES_NEEDED} times in a row."
