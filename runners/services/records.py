"""Invocations one by one, written by COPY."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from django.db import connection

from hotswap.wire.reports import Invoked
from runners.plain_text import plain, plain_json

_COPY = """
    COPY runners_invocationrecord
        (function_id, version_id, request_id, alias, "user", ended_at, outcome, status, cold,
         total_us, queue_us, init_us, run_us, billed_ms, memory_kib, request_bytes,
         response_bytes, instance, trace_id, error)
    FROM STDIN
"""
_encode = msgspec.json.Encoder().encode


def copy(records: Sequence[Invoked], owners: Mapping[int, int]) -> None:
    """Write records in the caller's transaction; those of versions that are gone are left out."""
    known = [record for record in records if record.version_id in owners]
    if known:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copying:
            for record in known:
                copying.write_row(_row(record, owners[record.version_id]))


def _row(call: Invoked, function_id: int) -> tuple[object, ...]:
    return (
        function_id,
        call.version_id,
        call.request_id,
        call.alias,
        call.user,
        datetime.fromtimestamp(call.ended_ms / 1000, UTC),
        call.outcome,
        call.status,
        call.cold,
        call.total_us,
        call.queue_us,
        call.init_us,
        call.run_us,
        call.billed_ms,
        call.memory_kib,
        call.request_bytes,
        call.response_bytes,
        plain(call.instance),
        plain(call.trace_id),
        None if call.error is None else _encode(plain_json(call.error)).decode(),
    )
