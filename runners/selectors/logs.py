"""Log lines by their numbers."""

from datetime import UTC, datetime
from typing import Final

from django.db.models import QuerySet

from functions import selectors as functions
from runners.models import LogLine, LogStream
from runners.types import LogPage, LogQuery, LogRow

SCAN_LINES: Final = 50_000
"""Lines that one question looks at when it has to compare; the answer says where to go on."""

ANY = LogQuery()


def log_last_seq(*, function_id: int) -> int:
    """Number of the newest line; 0 before the first."""
    stream = LogStream.objects.filter(function_id=function_id)
    return stream.values_list("last_seq", flat=True).first() or 0


def log_after(*, function_id: int, after: int, limit: int, query: LogQuery = ANY) -> LogPage:
    """The oldest `limit` lines above `after`.

    Asking again with `after=page.last` gives every later line once: numbers become visible
    in their order. A number that retention has passed, or beyond the newest, is mended.
    """
    # The end is read first: what commits between the reads belongs to the next page.
    newest = log_last_seq(function_id=function_id)
    if after >= newest:
        return LogPage((), first=newest + 1, last=newest, oldest=newest, newest=newest)
    oldest = _oldest(function_id, newest)
    bottom = max(after + 1, oldest)
    top = min(newest, bottom + _reach(query) - 1)
    rows = _matching(function_id, query).filter(seq__gte=bottom, seq__lte=top)
    lines = _read(rows.order_by("seq")[:limit])
    last = lines[-1].seq if len(lines) == limit else top
    return LogPage(lines, first=bottom, last=last, oldest=oldest, newest=newest)


def log_before(
    *, function_id: int, before: int | None = None, limit: int, query: LogQuery = ANY
) -> LogPage:
    """The newest `limit` lines below `before`, or of all."""
    newest = log_last_seq(function_id=function_id)
    oldest = _oldest(function_id, newest)
    top = newest if before is None else min(newest, before - 1)
    bottom = max(oldest, top - _reach(query) + 1)
    rows = _matching(function_id, query).filter(seq__gte=bottom, seq__lte=top)
    lines = _read(rows.order_by("-seq")[:limit])[::-1]
    first = lines[0].seq if len(lines) == limit else bottom
    return LogPage(lines, first=first, last=top, oldest=oldest, newest=newest)


def log_exists(*, function_id: int, request_id: str) -> bool:
    """Whether an invocation left any line."""
    return _matching(function_id, LogQuery(request_id=request_id)).exists()


def _reach(query: LogQuery) -> int:
    """How many numbers to look at; a request's lines are found by an index of their own."""
    is_scan = (query.levels or query.text) and not query.request_id
    return SCAN_LINES if is_scan else 1 << 62


def _oldest(function_id: int, newest: int) -> int:
    """Retention removes the oldest lines; without any the next one will be the oldest."""
    found = LogLine.objects.filter(function_id=function_id).order_by("seq")
    return found.values_list("seq", flat=True).first() or newest + 1


def _matching(function_id: int, query: LogQuery) -> QuerySet[LogLine]:
    rows = LogLine.objects.filter(function_id=function_id)
    if query.request_id:
        rows = rows.filter(request_id=query.request_id)
    if query.levels:
        rows = rows.filter(level__in=query.levels)
    if query.text:
        rows = rows.filter(text__icontains=query.text)
    return rows


def _read(rows: QuerySet[LogLine]) -> tuple[LogRow, ...]:
    found = list(
        rows.values_list("seq", "time_ms", "level", "request_id", "version_id", "instance", "text")
    )
    ids = {row[4] for row in found}
    labels = functions.version_labels(ids=list(ids)) if ids else {}
    numbers = {version_id: number for version_id, (_, number) in labels.items()}
    return tuple(
        LogRow(
            seq=seq,
            time=datetime.fromtimestamp(time_ms / 1000, UTC),
            level=level,
            request_id=request_id,
            version=numbers.get(version_id, 0),
            instance=instance,
            text=text,
        )
        for seq, time_ms, level, request_id, version_id, instance, text in found
    )
