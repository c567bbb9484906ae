"""The published routing table: write a revision, read a feed, know who has it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from django.db import connection, transaction

from hotswap.core import clock
from hotswap.records.models import RoutingEntry, RoutingRevision, TableReader
from hotswap.wire.table import SCHEMA, Entry, Feed, entry_sha256

CHANNEL = "hotswap_routing"
EMPTY_DIGEST = "0" * 64
READER_ALIVE = timedelta(seconds=5)
_POLL_SECONDS = 0.003

Role = Literal["gateway", "runner"]


@dataclass(frozen=True, slots=True)
class Bodies:
    """One entry as each role gets it; an empty body keeps the key out of that role's table."""

    gateway: bytes
    runner: bytes = b""


def current_revision() -> int:
    """Number of the newest revision; 0 before the first."""
    newest = RoutingRevision.objects.order_by("-number").values_list("number", flat=True).first()
    return newest or 0


def revision_write(*, rendered: Mapping[str, Bodies | None], now: datetime) -> int:
    """Store the entries that really changed under the next number and wake the feeds.

    The caller holds the publisher's lock in a transaction, so numbers rise without gaps in
    the order in which they become visible.

    Args:
        rendered: key -> its bodies now, or None when it is gone.

    Returns:
        The newest revision; unchanged when every body is as it was.
    """
    newest = RoutingRevision.objects.order_by("-number").first()
    number = newest.number if newest else 0
    known = {entry.key: entry for entry in RoutingEntry.objects.filter(key__in=list(rendered))}
    changed = [
        entry
        for key, bodies in rendered.items()
        if (entry := _entry(key, bodies, number + 1, known.get(key)))
    ]
    if not changed:
        return number
    before = [known[entry.key] for entry in changed if entry.key in known]
    RoutingRevision.objects.create(
        number=number + 1,
        published_at=now,
        changed=len(changed),
        gateway_digest=_moved(
            newest.gateway_digest if newest else EMPTY_DIGEST,
            removed=[entry.gateway_sha256 for entry in before],
            added=[entry.gateway_sha256 for entry in changed],
        ),
        runner_digest=_moved(
            newest.runner_digest if newest else EMPTY_DIGEST,
            removed=[entry.runner_sha256 for entry in before],
            added=[entry.runner_sha256 for entry in changed],
        ),
    )
    _store(changed)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(number + 1)])
    return number + 1


def _moved(digest: str, *, removed: Iterable[str], added: Iterable[str]) -> str:
    """`hotswap.wire.table.table_digest` of the changed table, from that of the old one."""
    change = sum(int(sha256 or "0", 16) for sha256 in added)
    change -= sum(int(sha256 or "0", 16) for sha256 in removed)
    return f"{(int(digest, 16) + change) % (1 << 256):064x}"


def _entry(
    key: str, bodies: Bodies | None, revision: int, known: RoutingEntry | None
) -> RoutingEntry | None:
    """The row to store, or None when it says what the table already says."""
    if bodies is None:
        if known is None or known.is_deleted:
            return None
        return RoutingEntry(key=key, revision=revision, is_deleted=True)
    gateway = entry_sha256(key, bodies.gateway) if bodies.gateway else ""
    runner = entry_sha256(key, bodies.runner) if bodies.runner else ""
    if known and (known.gateway_sha256, known.runner_sha256) == (gateway, runner):
        return None
    return RoutingEntry(
        key=key,
        revision=revision,
        gateway_body=bodies.gateway,
        gateway_sha256=gateway,
        runner_body=bodies.runner,
        runner_sha256=runner,
    )


def _store(entries: Iterable[RoutingEntry]) -> None:
    RoutingEntry.objects.bulk_create(
        entries,
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=[
            "revision",
            "is_deleted",
            "gateway_body",
            "gateway_sha256",
            "runner_body",
            "runner_sha256",
        ],
    )


_FEED = """
WITH newest AS (
    SELECT number, {role}_digest AS digest FROM records_routingrevision
    ORDER BY number DESC LIMIT 1
)
SELECT newest.number, newest.digest, entry.key, entry.revision, entry.{role}_sha256,
       entry.{role}_body
FROM newest LEFT JOIN records_routingentry entry
    ON entry.revision > %(after)s
    AND (entry.{role}_sha256 <> '' OR (entry.is_deleted AND NOT %(full)s))
"""


def feed_read(*, role: Role, after: int) -> Feed:
    """Everything that changed after revision `after`, as `role` sees it.

    A revision that we do not know (another database, or older than the tombstones kept)
    gets the whole table. One statement reads it all, so revision, digest and entries
    belong together.
    """
    full = after == 0 or not RoutingRevision.objects.filter(number=after).exists()
    with connection.cursor() as cursor:
        cursor.execute(_FEED.format(role=role), {"after": 0 if full else after, "full": full})
        rows = cursor.fetchall()
    if not rows:
        return Feed(SCHEMA, 0, True, EMPTY_DIGEST, [])
    entries = [
        Entry(key, revision, sha256, msgspec.Raw(bytes(body) if sha256 else b"null"))
        for _, _, key, revision, sha256, body in rows
        if key is not None
    ]
    return Feed(SCHEMA, rows[0][0], full, rows[0][1], entries)


def reader_seen(*, role: Role, node: str, acked_revision: int, now: datetime) -> None:
    """Note that a process follows the table and how far it has come."""
    TableReader.objects.bulk_create(
        [TableReader(role=role, node=node, acked_revision=acked_revision, seen_at=now)],
        update_conflicts=True,
        unique_fields=["role", "node"],
        update_fields=["acked_revision", "seen_at"],
    )


def readers_live(*, role: Role, now: datetime) -> dict[str, int]:
    """Live processes of a role by name, with the revision that each has."""
    rows = TableReader.objects.filter(role=role, seen_at__gt=now - READER_ALIVE)
    return dict(rows.values_list("node", "acked_revision"))


def published(*, key: str) -> tuple[int, bytes] | None:
    """Revision and gateway body of an entry, b"" when it is gone; None: never published."""
    row = RoutingEntry.objects.filter(key=key).values_list("revision", "gateway_body").first()
    return (row[0], bytes(row[1])) if row else None


def revisions_acked(*, role: Role) -> dict[str, int]:
    """Node -> the newest revision that it said it has; more current than its own reports."""
    readers = TableReader.objects.filter(role=role)
    return dict(readers.values_list("node", "acked_revision"))


def wait_acked(*, seconds: float = 1.0) -> bool:
    """Wait until every live gateway and runner has what is published now.

    Returns:
        False when one was slower than `seconds`; the change is kept and reaches it later.
    """
    revision, deadline = current_revision(), clock.monotonic() + seconds
    while _is_behind(revision):
        if clock.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_behind(revision: int) -> bool:
    return TableReader.objects.filter(
        seen_at__gt=clock.utc_now() - READER_ALIVE, acked_revision__lt=revision
    ).exists()


@transaction.atomic
def table_purge(*, before: datetime) -> int:
    """Forget old revisions and the tombstones up to them. Returns how many revisions.

    A process that comes back with a forgotten revision gets the whole table.
    """
    newest = current_revision()
    old = RoutingRevision.objects.filter(published_at__lt=before, number__lt=newest)
    last = old.order_by("-number").values_list("number", flat=True).first()
    if last is None:
        return 0
    RoutingEntry.objects.filter(is_deleted=True, revision__lte=last).delete()
    TableReader.objects.filter(seen_at__lt=before).delete()
    count, _ = RoutingRevision.objects.filter(number__lte=last).delete()
    return count
