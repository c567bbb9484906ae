"""Log lines of the functions on this runner: tagged, bounded, sent in numbered reports."""

import logging
from collections import deque
from typing import Any

import msgspec

from hotswap.core import clock
from hotswap.core.limits import (
    LOG_BYTES_PER_INVOCATION,
    LOG_LINE_MAX_BYTES,
    LOG_LINES_BURST,
    LOG_LINES_PER_SECOND,
)
from hotswap.wire.reports import LogRecord, LogReport
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.agent.job import Job

log = logging.getLogger("hotswap.logs")

LINES_PER_REPORT = 2_000
LINES_KEPT = 50_000  # while the control plane is away
LEVELS = frozenset({"DEBUG", "INFO", "WARN", "ERROR"})

_encode = msgspec.json.Encoder().encode


class _Budget:
    """Token bucket of one function's log lines, and what it had to drop."""

    __slots__ = ("dropped", "refilled_at", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = float(LOG_LINES_BURST)
        self.refilled_at = now
        self.dropped = 0

    def take(self, count: int, now: float) -> bool:
        """Room for all of `count` lines, or for none."""
        refill = (now - self.refilled_at) * LOG_LINES_PER_SECOND
        self.tokens = min(LOG_LINES_BURST, self.tokens + refill)
        self.refilled_at = now
        if self.tokens < count:
            self.dropped += count
            return False
        self.tokens -= count
        return True


class LogBook:
    """Collects lines; `collect` hands them to a report sender.

    The platform's own START, END and REPORT lines of an invocation are written together
    when it ends or first prints; like printed lines they need room in the function's
    budget. What had no room is counted and shown as one line when there is room again.
    """

    def __init__(self, *, node: str, boot: str) -> None:
        self._node = node
        self._boot = boot
        self._lines: deque[LogRecord] = deque()
        self._budgets: dict[int, _Budget] = {}
        self.lines_lost = 0

    def lines(
        self,
        function: FunctionRoute,
        version: VersionRoute,
        instance: str,
        job: Job | None,
        dropped: int,
        lines: list[Any],
    ) -> None:
        """Lines that a function printed; `dropped` more it kept to itself.

        Raises:
            ValueError: the bootstrap sent something that is not lines.
        """
        now = clock.monotonic()
        request_id = ""
        if job is not None:
            request_id = job.request_id
            if job.log_bytes == 0:
                self._start(function, version, job, now)
            job.log_dropped += dropped
        for line in lines:
            time_ms, level, text = line
            if not (isinstance(time_ms, int) and level in LEVELS and isinstance(text, str)):
                raise ValueError("a log line must be [time_ms, level, text]")
            self._printed(
                function,
                LogRecord(version.id, request_id, instance, time_ms, level, text),
                job,
                now,
            )

    def raw(
        self,
        function: FunctionRoute,
        version: VersionRoute,
        instance: str,
        job: Job | None,
        text: str,
    ) -> None:
        """A line that went past the bootstrap: native code, a child process, a crash report."""
        request_id = job.request_id if job is not None else ""
        record = LogRecord(version.id, request_id, instance, clock.epoch_ms(), "INFO", text)
        self._printed(function, record, job, clock.monotonic())

    def _printed(
        self, function: FunctionRoute, record: LogRecord, job: Job | None, now: float
    ) -> None:
        if len(record.text) > LOG_LINE_MAX_BYTES:
            record.text = record.text[:LOG_LINE_MAX_BYTES] + " ... cut"
        if job is not None:
            job.log_bytes += len(record.text) + 1
            if job.log_bytes > LOG_BYTES_PER_INVOCATION:
                job.log_dropped += 1
                return
        if self._budget(function.id, now).take(1, now):
            self._append(function.id, record)

    def _start(self, function: FunctionRoute, version: VersionRoute, job: Job, now: float) -> None:
        job.log_bytes = 1
        if self._budget(function.id, now).take(1, now):
            text = f"START RequestId: {job.request_id} Version: {version.number}"
            self._platform(function.id, version.id, job, job.started_ms, text)

    def ended(
        self, function: FunctionRoute, version: VersionRoute, job: Job, memory_kib: int
    ) -> None:
        """The invocation is over: write END and REPORT, and START if it printed nothing."""
        now = clock.monotonic()
        budget = self._budgets.get(function.id) or self._budget(function.id, now)
        if not budget.take(2 if job.log_bytes else 3, now):
            return
        if not job.log_bytes:
            text = f"START RequestId: {job.request_id} Version: {version.number}"
            self._platform(function.id, version.id, job, job.started_ms, text)
        ended_ms = clock.epoch_ms()
        if job.log_dropped:
            text = f"dropped {job.log_dropped} lines: over 1 MiB in one invocation"
            self._platform(function.id, version.id, job, ended_ms, text)
        self._platform(function.id, version.id, job, ended_ms, f"END RequestId: {job.request_id}")
        milliseconds = (now - job.dispatched) * 1000 if job.dispatched else 0.0
        init = f" Init Duration: {job.init_us / 1000:.2f} ms" if job.cold else ""
        text = (
            f"REPORT RequestId: {job.request_id} Duration: {milliseconds:.2f} ms "
            f"Memory Size: {version.memory_mib} MB Max Memory Used: {memory_kib // 1024} MB{init}"
        )
        self._platform(function.id, version.id, job, ended_ms, text)

    def refused(
        self,
        function: FunctionRoute,
        version: VersionRoute,
        job: Job,
        slug: str,
        error: dict[str, object],
    ) -> None:
        """The invocation never ran: leave a line that says why."""
        if self._budget(function.id, clock.monotonic()).take(1, clock.monotonic()):
            text = f"{slug} RequestId: {job.request_id} {error.get('errorMessage', '')}"
            self._platform(function.id, version.id, job, clock.epoch_ms(), text)

    def _platform(
        self, function_id: int, version_id: int, job: Job, time_ms: int, text: str
    ) -> None:
        self._append(
            function_id,
            LogRecord(version_id, job.request_id, job.instance_id, time_ms, "PLATFORM", text),
        )

    def _budget(self, function_id: int, now: float) -> _Budget:
        budget = self._budgets.get(function_id)
        if budget is None:
            budget = self._budgets[function_id] = _Budget(now)
        return budget

    def _append(self, function_id: int, record: LogRecord) -> None:
        budget = self._budgets[function_id]
        if budget.dropped:
            text = f"dropped {budget.dropped} lines: over {LOG_LINES_PER_SECOND} lines a second"
            budget.dropped = 0
            note = LogRecord(record.version_id, "", "", record.time_ms, "PLATFORM", text)
            self._lines.append(note)
        self._lines.append(record)
        if len(self._lines) > LINES_KEPT:
            self._lines.popleft()
            self.lines_lost += 1

    def collect(self, seq: int) -> bytes | None:
        """The next report, or None when nothing was printed."""
        if not self._lines:
            return None
        if self.lines_lost:
            log.warning("%d log lines lost: the control plane was away too long", self.lines_lost)
            self.lines_lost = 0
        count = min(len(self._lines), LINES_PER_REPORT)
        lines = [self._lines.popleft() for _ in range(count)]
        return _encode(LogReport(self._node, self._boot, seq, lines))
