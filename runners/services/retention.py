"""Delete what is older than the operator wants to keep, a little at a time."""

from datetime import datetime
from typing import Final

from django.db import connection

BATCH: Final = 10_000

# `ctid` is where a row lies: the index on age finds a batch, nothing is sorted or joined.
_DELETE = """
    DELETE FROM {table}
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {column} < %s LIMIT %s))
"""
_LINES = _DELETE.format(table="runners_logline", column="time_ms")
_RECORDS = _DELETE.format(table="runners_invocationrecord", column="ended_at")
_MINUTES = _DELETE.format(table="runners_invocationminute", column="minute")
_SEEN = _DELETE.format(table="runners_reportseen", column="seen_at")


def log_lines_delete(*, before: datetime) -> int:
    """Delete log lines; returns how many. Numbers are never given out again."""
    return _delete(_LINES, int(before.timestamp() * 1000))


def invocations_delete(*, before: datetime) -> int:
    """Delete records, counts and the marks of processes that ended; returns how many records."""
    _delete(_MINUTES, int(before.timestamp() // 60))
    _delete(_SEEN, before)
    return _delete(_RECORDS, before)


def _delete(statement: str, limit: int | datetime) -> int:
    """Each batch commits by itself, so that intake never waits for long."""
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, [limit, BATCH])
            deleted: int = cursor.rowcount
        total += deleted
        if deleted < BATCH:
            return total
