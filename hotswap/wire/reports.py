"""What the data plane reports to the control plane. One report is counted once.

A process numbers its reports from 1 per boot. The control plane applies a (node, boot,
seq) once; the process repeats a report unchanged until it is acknowledged and adds what
happened meanwhile to the next one. So counters stay exact through any outage.
"""

import msgspec

LATENCY_BUCKETS_MS: tuple[float, ...] = (
    0.5, 1, 2, 3, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
    60_000, 300_000, 900_000,
)  # fmt: skip


class Invoked(msgspec.Struct, array_like=True):
    """One synchronous invocation, as recorded.

    Attributes:
        ended_ms: wall time in epoch milliseconds.
        outcome: "ok" or a problem slug.
        total_us, queue_us, init_us, run_us: the call's time at the gateway and its split.
        error: `{"errorType", "errorMessage", "stackTrace"}` cut to 8 KiB, or None.
    """

    request_id: str
    version_id: int
    alias: str
    user: str
    ended_ms: int
    outcome: str
    status: int
    cold: bool
    total_us: int
    queue_us: int
    init_us: int
    run_us: int
    billed_ms: int
    memory_kib: int
    request_bytes: int
    response_bytes: int
    instance: str
    trace_id: str
    error: dict[str, object] | None = None


class VersionCounts(msgspec.Struct, array_like=True):
    """Exact counts of one version in one minute since the previous report.

    Attributes:
        minute: epoch minutes.
        outcomes: outcome -> calls.
        buckets: calls per latency bucket of `LATENCY_BUCKETS_MS`, one more for above.
    """

    version_id: int
    minute: int
    outcomes: dict[str, int]
    cold: int
    total_us: int
    init_us: int
    billed_ms: int
    memory_peak_kib: int
    buckets: list[int]


class GatewayReport(msgspec.Struct, rename="camel"):
    """A gateway's report. `records_dropped`: calls counted but not recorded one by one."""

    node: str
    boot: str
    seq: int
    counts: list[VersionCounts]
    records: list[Invoked]
    records_dropped: int
    tokens_used: dict[str, int] = {}


class LogRecord(msgspec.Struct, array_like=True):
    """One log line. `level`: DEBUG, INFO, WARN, ERROR, or PLATFORM for ours."""

    version_id: int
    request_id: str
    instance: str
    time_ms: int
    level: str
    text: str


class LogReport(msgspec.Struct, rename="camel"):
    """A runner's log lines, in order."""

    node: str
    boot: str
    seq: int
    lines: list[LogRecord]


class InstanceState(msgspec.Struct, rename="camel"):
    """One instance in a heartbeat.

    Attributes:
        state: starting, idle, frozen, busy, draining.
        cpu_percent: of one core, over the last seconds; None where it was not measured: only
            versions that a rollout keeps warm are.
    """

    id: str
    version_id: int
    state: str
    started_ms: int
    invocations: int
    memory_kib: int
    cpu_percent: float | None = None


class Heartbeat(msgspec.Struct, rename="camel"):
    """A runner's sign of life, every two seconds, and at once when a warm version changes.

    Attributes:
        failed_starts: version id -> why its last start failed, of versions to be kept warm;
            gone once one succeeds.
        is_draining: it takes no new calls and will end.
    """

    node: str
    boot: str
    version: str
    backend: str
    enforced: list[str]
    missing: list[str]
    runtimes: list[str]
    instances: list[InstanceState]
    stem_cells: dict[str, int]
    queued: int
    memory_total_mib: int
    memory_free_mib: int
    load: float
    table_revision: int
    region: str = ""
    failed_starts: dict[int, str] = {}
    is_draining: bool = False
