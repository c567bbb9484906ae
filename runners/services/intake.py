"""Apply the reports of gateways and runners, each exactly once.

A report is one transaction. It begins by claiming its number on the row of its process,
which also makes a concurrent repeat wait; a number that was taken changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from django.db import DataError, connection, transaction

from functions import selectors as functions
from hotswap.access import services as access
from hotswap.core.errors import InvalidInput
from hotswap.wire.reports import GatewayReport, LogReport
from runners.services import counters, log_lines, records

# COPY goes past Django, which would translate psycopg's errors.
_OUT_OF_RANGE = (DataError, psycopg.DataError, ValueError, OverflowError)

_CLAIM = """
    INSERT INTO runners_reportseen AS seen
        (channel, node, boot, last_seq, sampled_out, unknown, seen_at)
    VALUES (%s, %s, %s, %s, 0, 0, %s)
    ON CONFLICT (channel, node, boot)
    DO UPDATE SET last_seq = EXCLUDED.last_seq, seen_at = EXCLUDED.seen_at
        WHERE seen.last_seq < EXCLUDED.last_seq
    RETURNING id
"""
_LEFT_OUT = """
    UPDATE runners_reportseen SET sampled_out = sampled_out + %s, unknown = unknown + %s
    WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a report did.

    Attributes:
        repeated: it had been applied before; nothing changed.
        unknown: calls or lines of versions that no longer exist, left out.
        last_seqs: function id -> number of its newest log line, for functions with new ones.
    """

    repeated: bool = False
    unknown: int = 0
    last_seqs: dict[int, int] = field(default_factory=dict)


def calls_apply(*, report: GatewayReport, now: datetime) -> Applied:
    """Add a gateway's counts and records.

    Raises:
        InvalidInput: a value that the database cannot hold; repeating cannot help.
    """
    try:
        with transaction.atomic(durable=True):
            claim = report_claim(
                channel="calls", node=report.node, boot=report.boot, seq=report.seq, now=now
            )
            if claim is None:
                return Applied(repeated=True)
            ids = {item.version_id for item in report.counts}
            ids |= {item.version_id for item in report.records}
            owners = functions.version_owners(ids=ids)
            records.copy(report.records, owners)
            unknown = counters.add(report.counts, owners)
            _leave_out(claim, report.records_dropped, unknown)
            if report.tokens_used:
                access.tokens_used(used=report.tokens_used)
    except _OUT_OF_RANGE as exc:
        raise InvalidInput(f"The report holds a value out of range: {exc}") from exc
    return Applied(unknown=unknown)


def logs_apply(*, report: LogReport, now: datetime) -> Applied:
    """Append a runner's log lines to the streams of their functions.

    Raises:
        InvalidInput: a value that the database cannot hold; repeating cannot help.
    """
    try:
        with transaction.atomic(durable=True):
            claim = report_claim(
                channel="logs", node=report.node, boot=report.boot, seq=report.seq, now=now
            )
            if claim is None:
                return Applied(repeated=True)
            owners = functions.version_owners(ids={line.version_id for line in report.lines})
            last_seqs, unknown = log_lines.append(report.lines, owners, now)
            _leave_out(claim, 0, unknown)
    except _OUT_OF_RANGE as exc:
        raise InvalidInput(f"The report holds a value out of range: {exc}") from exc
    return Applied(unknown=unknown, last_seqs=last_seqs)


def report_claim(*, channel: str, node: str, boot: str, seq: int, now: datetime) -> int | None:
    """Claim a report's number in the caller's transaction; waits for one that does so now.

    Returns:
        Id of the claim, or None when the number, or a later one, was taken before.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [channel, node, boot, seq, now])
        row = cursor.fetchone()
    return row[0] if row else None


def _leave_out(claim: int, sampled_out: int, unknown: int) -> None:
    if sampled_out or unknown:
        with connection.cursor() as cursor:
            cursor.execute(_LEFT_OUT, [sampled_out, unknown, claim])
