"""Values that selectors give and take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class NodeState(StrEnum):
    """What to think of a runner: degraded works, but a person should look."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance; `state` is starting, idle, frozen, busy or draining."""

    id: str
    node: str
    function: str
    version: int
    state: str
    started_at: datetime
    invocations: int
    memory_mib: float
    cpu_percent: float | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One runner for people: its last heartbeat and what follows from it."""

    name: str
    region: str
    state: NodeState
    reasons: tuple[str, ...]
    seen_at: datetime
    seen_seconds_ago: float
    started_at: datetime
    release: str
    backend: str
    enforced: Sequence[str]
    missing: Sequence[str]
    runtimes: Sequence[str]
    stem_cells: Mapping[str, int]
    instances: tuple[InstanceRow, ...]
    queued: int
    memory_total_mib: int
    memory_free_mib: int
    load: float
    table_revision: int


@dataclass(frozen=True, slots=True)
class LiveRunner:
    """One runner for rollouts: it reports, and takes calls.

    Attributes:
        region: empty is none.
        ready: version id -> instances that serve or could at once.
        failed_starts: version id -> why its last start failed, of versions kept warm.
        instances_memory_mib: what its instances were last seen to use together.
        load: of the machine, over the last minute.
    """

    name: str
    region: str
    ready: Mapping[int, int]
    failed_starts: Mapping[int, str]
    instances_memory_mib: float
    memory_total_mib: int
    memory_free_mib: int
    load: float


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log line; `version` is 0 when that version is gone."""

    seq: int
    time: datetime
    level: str
    request_id: str
    version: int
    instance: str
    text: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines: everything given must match.

    Attributes:
        levels: empty is all.
        text: contained, case does not count.
    """

    levels: frozenset[str] = frozenset()
    request_id: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines in rising order.

    Attributes:
        first, last: all numbers from `first` to `last` have been looked at; ask for lines
            before `first` or after `last` to go on.
        oldest, newest: numbers of the oldest line still kept and of the newest one.
    """

    lines: tuple[LogRow, ...]
    first: int
    last: int
    oldest: int
    newest: int

    @property
    def at_start(self) -> bool:
        """Whether nothing older is kept."""
        return self.first <= self.oldest

    @property
    def at_end(self) -> bool:
        """Whether nothing newer was there."""
        return self.last >= self.newest


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted in some span of time. Averages and percentiles are None without calls."""

    invocations: int
    errors: int
    outcomes: Mapping[str, int]
    cold_starts: int
    average_ms: float | None
    average_init_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    billed_ms: int
    memory_peak_mib: float


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of a version, or of all (`version` None): one per step, and over the whole span."""

    version: int | None
    points: tuple[Figures, ...]
    summary: Figures


@dataclass(frozen=True, slots=True)
class Metrics:
    """Time series of one function; all series have one point per time."""

    start: datetime
    end: datetime
    step_seconds: int
    times: tuple[datetime, ...]
    total: Series
    versions: tuple[Series, ...] = field(default=())
