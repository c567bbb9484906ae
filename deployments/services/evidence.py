"""Take in what gateways report of rollouts, each report exactly once, and answer the leases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from django.db import DataError, connection, transaction
from psycopg.types.json import Jsonb

from deployments.models import Attempt
from deployments.services.clock import database_now
from deployments.states import TERMINAL, Phase
from hotswap.core.errors import InvalidInput
from hotswap.jobs import Job, enqueue_on_commit
from hotswap.wire.rollouts import (
    CLIENTS_MAX,
    ArmCounts,
    EvidenceAnswer,
    EvidenceReport,
    SplitState,
)
from runners.services.intake import report_claim

_OUT_OF_RANGE = (DataError, psycopg.DataError, ValueError, OverflowError)

_ADD = """
    INSERT INTO deployments_evidence AS known
        (attempt_id, epoch, version_id, runner, cold, "window", calls, bad, slow, total_us,
         buckets, failures_left_out)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (attempt_id, epoch, version_id, runner, cold, "window") DO UPDATE SET
        calls = known.calls + EXCLUDED.calls,
        bad = known.bad + EXCLUDED.bad,
        slow = known.slow + EXCLUDED.slow,
        total_us = known.total_us + EXCLUDED.total_us,
        failures_left_out = known.failures_left_out + EXCLUDED.failures_left_out,
        buckets = ARRAY(
            SELECT coalesce(ours, 0) + coalesce(theirs, 0)
            FROM unnest(known.buckets, EXCLUDED.buckets)
                WITH ORDINALITY AS pairs (ours, theirs, place)
            ORDER BY place
        )
"""
_FAILURE = """
    INSERT INTO deployments_failureseen
        (attempt_id, epoch, version_id, runner, cold, client, kind, minute)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (attempt_id, version_id, client, kind, minute) DO NOTHING
"""
# A report that arrives late must not turn the state back: a claim already dropped it.
_STATE = """
    INSERT INTO deployments_gatewaystate AS known
        (attempt_id, node, boot, epoch, has_lease, had_lease, in_flight, seen_at, previewed,
         mirrored, mirror_same, mirror_different, mirror_failed, dropped)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (attempt_id, node, boot) DO UPDATE SET
        epoch = EXCLUDED.epoch,
        has_lease = EXCLUDED.has_lease,
        had_lease = EXCLUDED.has_lease
            OR (known.epoch = EXCLUDED.epoch AND known.had_lease),
        in_flight = EXCLUDED.in_flight,
        seen_at = EXCLUDED.seen_at,
        previewed = known.previewed + EXCLUDED.previewed,
        mirrored = known.mirrored + EXCLUDED.mirrored,
        mirror_same = known.mirror_same + EXCLUDED.mirror_same,
        mirror_different = known.mirror_different + EXCLUDED.mirror_different,
        mirror_failed = known.mirror_failed + EXCLUDED.mirror_failed,
        dropped = (
            SELECT coalesce(jsonb_object_agg(key, calls), '{}'::jsonb)
            FROM (
                SELECT key, sum(value::bigint) AS calls
                FROM (
                    SELECT * FROM jsonb_each_text(known.dropped)
                    UNION ALL
                    SELECT * FROM jsonb_each_text(EXCLUDED.dropped)
                ) AS both_sides
                GROUP BY key
            ) AS summed
        )
"""
_WAITS_FOR_GATEWAYS: Final = frozenset(
    {Phase.SHIFTING, Phase.PROMOTING, Phase.ROLLING_BACK, Phase.ROLLBACK_STUCK}
)


@dataclass(frozen=True, slots=True)
class _Known:
    """The part of an attempt that a report needs."""

    id: UUID
    phase: str
    clients: Sequence[str]
    lease_until: datetime | None


def evidence_apply(*, report: EvidenceReport, now: datetime) -> EvidenceAnswer:
    """Add a gateway's counts and states once, and tell it how long its leases last.

    A repeated report changes nothing and is answered all the same.

    Raises:
        InvalidInput: a value that the database cannot hold; repeating cannot help.
    """
    try:
        with transaction.atomic(durable=True):
            claim = report_claim(
                channel="evidence", node=report.node, boot=report.boot, seq=report.seq, now=now
            )
            moment = database_now()
            known = _known(report)
            if claim is not None:
                _add(report, known, moment)
    except _OUT_OF_RANGE as exc:
        raise InvalidInput(f"The report holds a value out of range: {exc}") from exc
    return EvidenceAnswer(
        leases={
            row.id.hex: max(0, int((row.lease_until - moment).total_seconds() * 1_000))
            for row in known.values()
            if row.lease_until is not None
        }
    )


def _known(report: EvidenceReport) -> dict[str, _Known]:
    """Attempts that are there, by the id that the report uses; others are left out."""
    wanted = {item.attempt for item in report.splits} | {item.attempt for item in report.arms}
    ids = [UUID(hex=item) for item in sorted(wanted)]
    rows = Attempt.objects.filter(id__in=ids)
    found = rows.values_list("id", "phase", "clients", "lease_until")
    return {row[0].hex: _Known(*row) for row in found}


def _add(report: EvidenceReport, known: dict[str, _Known], now: datetime) -> None:
    arms = sorted(
        (arm for arm in report.arms if arm.attempt in known),
        # One order for everybody: reports that lock the same rows cannot deadlock.
        key=lambda a: (a.attempt, a.epoch, a.version_id, a.runner, a.cold, a.window),
    )
    splits = [split for split in report.splits if split.attempt in known]
    _execute(_ADD, map(_counts, arms))
    _execute(_FAILURE, sorted(row for arm in arms for row in _failures(arm)))
    _execute(_STATE, (_state(split, report, now) for split in splits))
    for split in splits:
        _remember_clients(known[split.attempt], split.clients)
    for name in _hurry(known, arms, splits):
        enqueue_on_commit(Job.DEPLOYMENTS_RECONCILE, key=name)


def _hurry(
    known: dict[str, _Known], arms: Iterable[ArmCounts], splits: Iterable[SplitState]
) -> list[str]:
    """Attempts that should be looked at now: a failure came, or a gateway is waited for."""
    running = {name for name, row in known.items() if row.phase not in TERMINAL}
    failed = {arm.attempt for arm in arms if arm.bad or arm.slow}
    waited = {s.attempt for s in splits if known[s.attempt].phase in _WAITS_FOR_GATEWAYS}
    return sorted((failed | waited) & running)


def _execute(statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(rows))


def _counts(arm: ArmCounts) -> tuple[Any, ...]:
    return (
        UUID(hex=arm.attempt), arm.epoch, arm.version_id, arm.runner, arm.cold, arm.window,
        arm.calls, arm.bad, arm.slow, arm.total_us, arm.buckets, arm.failures_left_out,
    )  # fmt: skip


def _failures(arm: ArmCounts) -> list[tuple[Any, ...]]:
    place = (UUID(hex=arm.attempt), arm.epoch, arm.version_id, arm.runner, arm.cold)
    return [(*place, seen.client, seen.kind, seen.minute) for seen in arm.failures]


def _state(split: SplitState, report: EvidenceReport, now: datetime) -> tuple[Any, ...]:
    return (
        UUID(hex=split.attempt), report.node, report.boot, split.epoch, split.has_lease,
        split.has_lease, Jsonb({str(k): v for k, v in split.in_flight.items()}), now,
        split.previewed, split.mirrored, split.mirror_same, split.mirror_different,
        split.mirror_failed, Jsonb({str(k): v for k, v in split.dropped.items()}),
    )  # fmt: skip


def _remember_clients(row: _Known, clients: Sequence[str]) -> None:
    """Who has called, as far as it matters: whether there is more than one."""
    together = [*row.clients, *(c for c in dict.fromkeys(clients) if c not in row.clients)]
    if len(row.clients) < min(len(together), CLIENTS_MAX):
        Attempt.objects.filter(id=row.id).update(clients=together[:CLIENTS_MAX])
