"""Log lines of the functions on this runner: tagged, bounded, sent in numbered reports."""

import logging
from collections import deque
from typing import Any

import msgspec

from hotswap.core import clock
from hotswap.core.limits import (
    LOG_BYTES_PER_INVOCATION,
    LOG_CALLS_BURST,
    LOG_CALLS_PER_SECOND,
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


class _Bucket:
    """A token bucket, and how much it had to leave out."""

    __slots__ = ("_burst", "_per_second", "_refilled_at", "_tokens", "left_out")

    def __init__(self, per_second: int, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._refilled_at = now
        self.left_out = 0

    def take(self, now: float) -> bool:
        """Room for one more."""
        refill = (now - self._refilled_at) * self._per_second
        self._tokens = min(self._burst, self._tokens + refill)
        self._refilled_at = now
        if self._tokens < 1:
            self.left_out += 1
            return False
        self._tokens -= 1
        return True


class _Budget:
    """What one function may write: lines that it prints, and calls that the platform tells of."""

    __slots__ = ("calls", "lines")

    def __init__(self, now: float) -> None:
        self.lines = _Bucket(LOG_LINES_PER_SECOND, LOG_LINES_BURST, now)
        self.calls = _Bucket(LOG_CALLS_PER_SECOND, LOG_CALLS_BURST, now)

    def notes(self) -> list[str]:
        """What was left out since the last question, in words."""
        found = []
        if count := self.lines.left_out:
            found.append(f"dropped {count} lines: over {LOG_LINES_PER_SECOND} lines a second")
        if count := self.calls.left_out:
            found.append(
                f"left out START, END and REPORT of {count} calls: over {LOG_CALLS_PER_SECOND} "
                "calls a second; every call is counted"
            )
        self.lines.left_out = self.calls.left_out = 0
        return found


class LogBook:
    """Collects lines; `collect` hands them to a report sender.

    The platform's own START, END and REPORT lines of an invocation are written together
    when it ends, or START when it first prints. They have a budget of their own, so that a
    function of many calls does not lose what it prints. What had no room is counted, and
    said in a line when there is room again.
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
            self._first(function, version, job, now)
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
        now = clock.monotonic()
        if job is not None:
            self._first(function, version, job, now)
        request_id = job.request_id if job is not None else ""
        record = LogRecord(version.id, request_id, instance, clock.epoch_ms(), "INFO", text)
        self._printed(function, record, job, now)

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
        if self._budget(function.id, now).lines.take(now):
            self._append(function.id, record)

    def _first(self, function: FunctionRoute, version: VersionRoute, job: Job, now: float) -> None:
        """Before the first line of a call: its START, where calls are not too many."""
        if job.log_bytes:
            return
        job.log_bytes = 1
        job.is_told = self._budget(function.id, now).calls.take(now)
        if job.is_told:
            self._start(function, version, job)

    def _start(self, function: FunctionRoute, version: VersionRoute, job: Job) -> None:
        text = f"START RequestId: {job.request_id} Version: {version.number}"
        self._platform(function.id, version.id, job, job.started_ms, text)

    def ended(
        self, function: FunctionRoute, version: VersionRoute, job: Job, memory_kib: int
    ) -> None:
        """The invocation is over: write END and REPORT, and START if it printed nothing."""
        now = clock.monotonic()
        budget = self._budgets.get(function.id) or self._budget(function.id, now)
        if not job.log_bytes:
            if not budget.calls.take(now):
                return
            self._start(function, version, job)
        elif not job.is_told:
            return
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
        now = clock.monotonic()
        if self._budget(function.id, now).calls.take(now):
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
        if budget.lines.left_out or budget.calls.left_out:
            for text in budget.notes():
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
