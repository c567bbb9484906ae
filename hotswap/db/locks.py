"""Advisory locks of PostgreSQL: one number per purpose, held to the end of the transaction."""

from enum import IntEnum

from django.db import connection, transaction


class Lock(IntEnum):
    """Every purpose; the numbers are part of the running system and never change."""

    PUBLISHER = 7_001


def acquire(lock: Lock) -> None:
    """Wait for the lock; it is released when the transaction ends.

    Raises:
        RuntimeError: outside a transaction, where it would be released at once.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError(f"{lock!r} needs a transaction")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(lock)])
