"""The only two ways to ask for the time."""

import time
from datetime import UTC, datetime

monotonic = time.monotonic


def utc_now() -> datetime:
    """Wall time, aware UTC. Taken once at an interface and passed down as `now`."""
    return datetime.now(UTC)


def epoch_ms() -> int:
    """Wall time in milliseconds since the epoch, the form that travels in frames."""
    return time.time_ns() // 1_000_000
