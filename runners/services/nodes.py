"""Runners: kept as their last heartbeat described them."""

from datetime import datetime

import msgspec
from django.db.models import Case, F, Value, When

from hotswap.wire.reports import Heartbeat
from runners.models import RunnerNode


def node_heartbeat(*, heartbeat: Heartbeat, now: datetime) -> None:
    """Keep what a runner says of itself. Safe to repeat; the last one to arrive counts."""
    seen = msgspec.to_builtins(heartbeat)
    values = {
        "boot": heartbeat.boot,
        "region": heartbeat.region,
        "version": heartbeat.version,
        "backend": heartbeat.backend,
        "enforced": heartbeat.enforced,
        "missing": heartbeat.missing,
        "runtimes": heartbeat.runtimes,
        "instances": seen["instances"],
        "stem_cells": heartbeat.stem_cells,
        "queued": heartbeat.queued,
        "memory_total_mib": heartbeat.memory_total_mib,
        "memory_free_mib": heartbeat.memory_free_mib,
        "load": heartbeat.load,
        "table_revision": heartbeat.table_revision,
        "failed_starts": heartbeat.failed_starts,
        "is_draining": heartbeat.is_draining,
        "seen_at": now,
    }
    started = Case(When(boot=heartbeat.boot, then=F("started_at")), default=Value(now))
    known = RunnerNode.objects.filter(name=heartbeat.node)
    if not known.update(**values, started_at=started):
        RunnerNode.objects.update_or_create(
            name=heartbeat.node, defaults={**values, "started_at": now}
        )


def nodes_forget(*, seen_before: datetime) -> int:
    """Delete runners that have been silent for so long. Returns how many."""
    return RunnerNode.objects.filter(seen_at__lt=seen_before).delete()[0]
