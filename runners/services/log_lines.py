"""Log lines: numbered per function, written by COPY."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from django.db import connection

from hotswap.wire.reports import LogRecord
from runners.plain_text import plain

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "PLATFORM")

_OLDEST_MS = 24 * 3_600_000
_NEWEST_MS = 60_000

# The row stays locked until the commit; ORDER BY, so that two reports cannot deadlock.
_NUMBER = """
    INSERT INTO runners_logstream AS stream (function_id, last_seq)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS fresh (function_id, lines)
    ORDER BY function_id
    ON CONFLICT (function_id) DO UPDATE SET last_seq = stream.last_seq + EXCLUDED.last_seq
    RETURNING function_id, last_seq
"""
_COPY = """
    COPY runners_logline
        (function_id, seq, version_id, time_ms, level, request_id, instance, text)
    FROM STDIN
"""


def append(
    lines: Sequence[LogRecord], owners: Mapping[int, int], now: datetime
) -> tuple[dict[int, int], int]:
    """Number and write lines in the caller's transaction.

    Returns:
        The newest number of each function that got lines, and how many lines belonged to
        versions that are gone.
    """
    fresh = Counter(owners[line.version_id] for line in lines if line.version_id in owners)
    if not fresh:
        return {}, len(lines)
    last_seqs = _number(fresh)
    following = {owner: last_seqs[owner] - count + 1 for owner, count in fresh.items()}
    with connection.cursor() as cursor, cursor.copy(_COPY) as copying:
        for row in _rows(lines, owners, following, int(now.timestamp() * 1000)):
            copying.write_row(row)
    return last_seqs, len(lines) - fresh.total()


def _rows(
    lines: Sequence[LogRecord], owners: Mapping[int, int], following: dict[int, int], now_ms: int
) -> Iterator[tuple[object, ...]]:
    """The columns of each line; `following` holds each function's next number."""
    oldest, newest = now_ms - _OLDEST_MS, now_ms + _NEWEST_MS
    for line in lines:
        owner = owners.get(line.version_id)
        if owner is None:
            continue
        seq = following[owner]
        following[owner] = seq + 1
        # A function names the time of its lines; retention must not depend on its word.
        time_ms = min(max(line.time_ms, oldest), newest)
        level = line.level if line.level in LEVELS else "INFO"
        text = plain(line.text)
        yield owner, seq, line.version_id, time_ms, level, line.request_id, line.instance, text


def _number(fresh: Mapping[int, int]) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(_NUMBER, [list(fresh.keys()), list(fresh.values())])
        return dict(cursor.fetchall())
