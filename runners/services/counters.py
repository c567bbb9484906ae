"""Exact counts per version and minute, added to by many gateways at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from hotswap.wire.reports import VersionCounts

# The statement adds; a row lock serialises gateways that count the same minute.
_ADD = """
    INSERT INTO runners_invocationminute AS known
        (version_id, minute, function_id, outcomes, calls, cold, total_us, init_us, billed_ms,
         memory_peak_kib, buckets)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (version_id, minute) DO UPDATE SET
        outcomes = (
            SELECT jsonb_object_agg(key, calls)
            FROM (
                SELECT key, sum(value::bigint) AS calls
                FROM (
                    SELECT * FROM jsonb_each_text(known.outcomes)
                    UNION ALL
                    SELECT * FROM jsonb_each_text(EXCLUDED.outcomes)
                ) AS both_sides
                GROUP BY key
            ) AS summed
        ),
        calls = known.calls + EXCLUDED.calls,
        cold = known.cold + EXCLUDED.cold,
        total_us = known.total_us + EXCLUDED.total_us,
        init_us = known.init_us + EXCLUDED.init_us,
        billed_ms = known.billed_ms + EXCLUDED.billed_ms,
        memory_peak_kib = greatest(known.memory_peak_kib, EXCLUDED.memory_peak_kib),
        buckets = ARRAY(
            SELECT coalesce(ours, 0) + coalesce(theirs, 0)
            FROM unnest(known.buckets, EXCLUDED.buckets)
                WITH ORDINALITY AS pairs (ours, theirs, place)
            ORDER BY place
        )
"""


def add(counts: Sequence[VersionCounts], owners: Mapping[int, int]) -> int:
    """Add counts in the caller's transaction; returns the calls of versions that are gone."""
    # One order for everybody: two reports that lock the same rows cannot deadlock.
    known = sorted(
        (item for item in counts if item.version_id in owners),
        key=lambda item: (item.version_id, item.minute),
    )
    if known:
        with connection.cursor() as cursor:
            cursor.executemany(_ADD, [_row(item, owners[item.version_id]) for item in known])
    return sum(sum(item.outcomes.values()) for item in counts if item.version_id not in owners)


def _row(item: VersionCounts, function_id: int) -> tuple[Any, ...]:
    return (
        item.version_id,
        item.minute,
        function_id,
        Jsonb(item.outcomes),
        sum(item.outcomes.values()),
        item.cold,
        item.total_us,
        item.init_us,
        item.billed_ms,
        item.memory_peak_kib,
        item.buckets,
    )
