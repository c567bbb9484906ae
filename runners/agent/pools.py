"""Instances and waiting calls of each version: admit, dispatch, scale, reap.

All decisions are synchronous and constant-time; only starting, thawing and stopping await.
One event loop, no locks. Scaling follows the queue: the first call without an instance
starts one at once; once a call has waited for `SCALE_WAIT_SECONDS`, as many are started as keep
the expected wait under `TARGET_WAIT_SECONDS`. So a fast function stays on few instances, which
is where it is fastest, and a slow one gets as many as it has callers.
"""

import asyncio
import logging
import math
import os
from collections import deque
from typing import Any, Protocol

from hotswap.core import clock
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.agent.instance import InitError, Instance
from runners.agent.job import Job, error_object
from runners.agent.log_book import LogBook

log = logging.getLogger("hotswap.pools")

SCALE_WAIT_SECONDS = 0.005
TARGET_WAIT_SECONDS = 0.002
MEDIAN_STEP = 1.05
FREE_INSTANCES = 2 * (os.cpu_count() or 1)  # a queue may always have so many
SLOW_CALL_SECONDS = 0.05  # younger calls may only be waiting for a busy core
DEADLINE_GRACE_SECONDS = 1.5  # a cold start may use so much beyond the function's own time
CANCEL_GRACE_SECONDS = 0.25
RETRY_AFTER_MS = 1_000
START_ERROR_MAX = 500


class Starter(Protocol):
    """Makes instances and ends them; shared by all pools."""

    def has_room(self, memory_mib: int) -> bool:
        """Whether one more instance fits, after evicting idle ones if need be."""

    async def start(self, pool: "Pool") -> Instance:
        """A ready instance of the pool's version.

        Raises:
            InitError: the function's own code could not be loaded.
            HotSwapError: the platform failed.
        """

    def retire(self, pool: "Pool", instance: Instance, orphans: list[Job], reason: str) -> None:
        """Stop an instance in the background and answer its calls with how it ended."""

    def thaw(self, pool: "Pool", instance: Instance, job: Job) -> None:
        """Wake a frozen instance in the background, then send it the job."""


class Function:
    """Live limits of one function over all its versions on this runner."""

    __slots__ = ("instances", "pools", "route", "running")

    def __init__(self, route: FunctionRoute) -> None:
        self.route = route
        self.instances = 0
        self.running = 0
        self.pools: list[Pool] = []

    @property
    def is_full(self) -> bool:
        cap = self.route.reserved_concurrency
        return cap is not None and self.running >= cap

    def has_place(self, asking: "Pool") -> bool:
        """Whether one more instance is allowed; the longest idle of other versions makes way.

        Without that a function that is deployed often would fill up with its own past.
        """
        if self.instances < self.route.max_instances:
            return True
        idle = [
            (instance.idle_since, instance.id, pool, instance)
            for pool in self.pools
            if pool is not asking and pool.has_spare
            for instance in pool.idle
            if not instance.jobs
        ]
        if not idle:
            return False
        *_, pool, instance = min(idle)
        pool.drop(instance, "another version of its function needs its place")
        return True


class Pool:
    """One version's instances and queue."""

    __slots__ = (
        "_log_book", "_starter", "busy", "function", "idle", "is_dropped", "keep",
        "service_seconds", "start_error", "starting", "total", "version", "waiting",
    )  # fmt: skip

    def __init__(
        self, function: Function, version: VersionRoute, starter: Starter, log_book: LogBook
    ) -> None:
        self.function = function
        self.version = version
        self.idle: list[Instance] = []
        self.busy: set[Instance] = set()
        self.waiting: deque[Job] = deque()
        self.starting = 0
        self.total = 0  # starting ones included
        self.is_dropped = False
        self.keep = 0  # instances that stay ready, whether calls come or not
        self.start_error = ""  # why the last start failed; empty after one that did not
        self.service_seconds = 0.0  # median of what one call takes
        self._starter = starter
        self._log_book = log_book
        function.pools.append(self)

    # Calls

    def admit(self, job: Job) -> None:
        """Run the call now, or queue it, or refuse it at once."""
        timeout = self.version.timeout_ms / 1000
        job.deadline = job.arrived + timeout
        if self.idle and not self.function.is_full and not self.waiting:
            self._dispatch(self.idle[-1], job)
        elif len(self.waiting) >= self.function.route.max_queue:
            job.fail(
                "throttled",
                error_object(
                    "Throttled",
                    f"{self.function.running} calls run and {len(self.waiting)} wait; that is "
                    "the limit of this function",
                ),
                retry_after_ms=RETRY_AFTER_MS,
            )
        else:
            self.waiting.append(job)
            if self.total == 0:
                self.start_one()

    def cancel(self, job: Job) -> None:
        """The caller hung up: forget a waiting call, interrupt a running one."""
        if job.dispatched == 0.0:
            job.done = True  # skipped when its turn comes
            job.caller.forget(job.stream)
            return
        for instance in self.busy:
            if job in instance.jobs.values():
                job.cancel_at = clock.monotonic() + CANCEL_GRACE_SECONDS
                instance.cancel(job)
                return

    def credit(self, job: Job, size: int) -> None:
        for instance in self.busy:
            if job in instance.jobs.values():
                instance.credit(job, size)
                return

    def _dispatch(self, instance: Instance, job: Job) -> None:
        now = clock.monotonic()
        timeout = self.version.timeout_ms / 1000
        latest = job.arrived + timeout + DEADLINE_GRACE_SECONDS
        job.deadline = min(now + timeout, latest)
        job.dispatched = now
        waited_us = int((now - job.arrived) * 1e6)
        if instance.invocations == 0 and job.arrived < instance.idle_since:
            job.cold = True
            job.init_us = min(instance.init_us, waited_us)
        job.queue_us = waited_us - job.init_us
        job.instance_id = instance.id
        job.log_stream = instance.log_stream
        self.function.running += 1
        self.busy.add(instance)
        if len(instance.jobs) + 1 >= self.version.concurrency:
            self.idle.remove(instance) if self.idle[-1] is not instance else self.idle.pop()
        if instance.frozen:
            self._starter.thaw(self, instance, job)
        else:
            instance.invoke(job)

    def take_back(self, job: Job) -> None:
        """The instance died before it was given the call: nothing was sent, so it waits again."""
        self.function.running -= 1
        job.dispatched = 0.0
        self.waiting.appendleft(job)
        if self.total == 0:
            self.start_one()

    def _next(self) -> None:
        """Give waiting calls to idle instances."""
        while self.waiting and self.idle and not self.function.is_full:
            job = self.waiting.popleft()
            if not job.done:
                self._dispatch(self.idle[-1], job)

    def on_free(self, instance: Instance, job: Job, duration_us: int, memory_kib: int) -> None:
        self.function.running -= 1
        instance.memory_kib = memory_kib
        self._learn(duration_us / 1e6)
        self._log_book.ended(self.function.route, self.version, job, memory_kib)
        if instance.stopping:
            return
        if not instance.jobs:
            self.busy.discard(instance)
            instance.idle_since = clock.monotonic()
            if self.is_dropped and not self.waiting:
                self.drop(instance, "the version is gone")
                return
        if len(instance.jobs) + 1 == self.version.concurrency:
            self.idle.append(instance)
        if self.waiting:
            self._next()
        if self.function.route.reserved_concurrency is not None:
            for pool in self.function.pools:
                if pool is not self and pool.waiting:
                    pool._next()

    def on_logs(self, instance: Instance, job: Job | None, dropped: int, lines: list[Any]) -> None:
        self._log_book.lines(self.function.route, self.version, instance.id, job, dropped, lines)

    def on_error(self, instance: Instance, job: Job, error: dict[str, Any]) -> None:
        text = [f"{error.get('errorType')}: {error.get('errorMessage')}"]
        text += [str(entry) for entry in error.get("stackTrace") or []]
        now_ms = clock.epoch_ms()
        lines = "\n".join(text).splitlines()
        self.on_logs(instance, job, 0, [(now_ms, "ERROR", line) for line in lines])

    # Instances

    def start_one(self, *, may_surge: bool = False) -> str:
        """Start an instance in the background; else the sentence that says why not.

        Args:
            may_surge: also beyond the function's limit. A version that is about to be rolled
                out needs an instance where the old one keeps all of them busy, most of all if
                it is the remedy for that.
        """
        if not self.function.has_place(self) and not may_surge:
            limit = self.function.route.max_instances
            return f"the function has {limit} instances on this runner, which is its limit"
        if not self._starter.has_room(self.version.memory_mib):
            return f"this runner has no room for an instance of {self.version.memory_mib} MiB"
        self.starting += 1
        self.total += 1
        self.function.instances += 1
        asyncio.get_running_loop().create_task(self._start())
        return ""

    async def _start(self) -> None:
        try:
            instance = await self._starter.start(self)
        except InitError as exc:
            self._forget_start(f"{exc.error.get('errorType')}: {exc.error.get('errorMessage')}")
            self._fail_waiting("init-failed", exc.error, exc.init_us)
        except Exception as exc:  # a process edge: callers must get an answer
            self._forget_start(str(exc) or type(exc).__name__)
            slug = getattr(exc, "slug", "internal")
            log.exception("instance of version %d did not start", self.version.id)
            self._fail_waiting(slug, error_object(type(exc).__name__, str(exc)), 0)
        else:
            self.starting -= 1
            self.start_error = ""
            instance.idle_since = clock.monotonic()
            self.idle.append(instance)
            self._next()

    def _forget_start(self, error: str) -> None:
        self.start_error = error.replace("\0", "")[:START_ERROR_MAX]  # the store takes no zeros
        self.starting -= 1
        self.total -= 1
        self.function.instances -= 1

    def _fail_waiting(self, slug: str, error: dict[str, object], init_us: int) -> None:
        """One failed start answers everybody who waited for it, unless others are on their way."""
        if self.total:
            return
        jobs, self.waiting = self.waiting, deque()
        for job in jobs:
            if not job.done:
                job.cold, job.init_us = True, init_us
                job.fail(slug, error)
                self._log_book.refused(self.function.route, self.version, job, slug, error)

    def on_gone(self, instance: Instance, orphans: list[Job]) -> None:
        """The instance's socket closed, whoever closed it."""
        if instance.ready:
            self.drop(instance, "its process ended", orphans)

    def drop(self, instance: Instance, reason: str, orphans: list[Job] | None = None) -> None:
        """Take an instance out of service and stop it."""
        if instance.stopping:
            return
        instance.stopping = True
        if instance in self.idle:
            self.idle.remove(instance)
        self.busy.discard(instance)
        jobs = orphans if orphans is not None else list(instance.jobs.values())
        instance.jobs.clear()
        self.function.running -= len(jobs)
        self.total -= 1
        self.function.instances -= 1
        self._starter.retire(self, instance, jobs, reason)

    # Time

    def tick(self, now: float) -> None:
        """Every few milliseconds: scale up, end late calls."""
        if self.waiting:
            self._scale(now)
        if self.busy:
            for instance in [i for i in self.busy if self._is_late(i, now)]:
                self._end_late(instance, now)

    def _scale(self, now: float) -> None:
        while self.waiting and (self.waiting[0].done or self.waiting[0].deadline <= now):
            job = self.waiting.popleft()
            if not job.done:
                job.queue_us = int((now - job.arrived) * 1e6)
                self._waited_in_vain(job)
        if self.waiting and now - self.waiting[0].arrived >= SCALE_WAIT_SECONDS:
            for _ in range(self._wanted(now)):
                self.start_one()
        elif self.waiting and self.total == 0:
            self.start_one()
        self._next()

    def _waited_in_vain(self, job: Job) -> None:
        """Its time is over before it ran: too many callers, or a machine too slow to start."""
        if self.total == self.starting:
            slug, message = "unavailable", "no instance could be started in the function's time"
        else:
            slug, message = "throttled", "the call waited for its whole time in the queue"
        job.fail(slug, error_object(slug.title(), message), retry_after_ms=RETRY_AFTER_MS)

    def _wanted(self, now: float) -> int:
        """Instances to start now: as many as keep the queue's expected wait short.

        The expected wait is calls / instances x service time (Little's law). A call that
        has run for a while counts with its age, so that a slow function shows itself early.
        Twice as many instances as cores are worth having for any queue: they keep the
        cores busy while others wait for the runner (measured: 10,200 calls a second with
        one instance, 16,500 with four, on two cores).
        """
        calls = len(self.waiting) + sum(len(instance.jobs) for instance in self.busy)
        oldest = min((j.dispatched for i in self.busy for j in i.jobs.values()), default=now)
        age = now - oldest
        service = max(self.service_seconds, age if age >= SLOW_CALL_SECONDS else 0.0)
        needed = math.ceil(calls * service / TARGET_WAIT_SECONDS)
        is_ready = self.total > self.starting  # before that one start serves everybody
        useful = min(calls, max(needed, FREE_INSTANCES if is_ready else 1))
        useful = math.ceil(useful / self.version.concurrency)
        cap = self.function.route.reserved_concurrency
        if cap is not None:
            useful = min(useful, cap)
        missing = max(useful, 1) - self.total
        if service < SLOW_CALL_SECONDS:
            # More of a fast function than cores only helps if it waits for something; on a
            # crowded machine starved calls look slow. So find out one instance at a time.
            missing = min(missing, max(FREE_INSTANCES - self.total, 1 - self.starting))
        return missing

    def _learn(self, seconds: float) -> None:
        """Track the median: a mean would take a crowded machine for a slow function, start
        more instances, and crowd it further."""
        if self.service_seconds == 0.0:
            self.service_seconds = max(seconds, 1e-6)
        elif seconds > self.service_seconds:
            self.service_seconds *= MEDIAN_STEP
        else:
            self.service_seconds /= MEDIAN_STEP

    def _is_late(self, instance: Instance, now: float) -> bool:
        return any(
            (job.deadline <= now and not job.done) or 0 < job.cancel_at <= now
            for job in instance.jobs.values()
        )

    def _end_late(self, instance: Instance, now: float) -> None:
        """Answer late calls, then kill: nothing else stops code that does not yield.

        An instance that shares its process among several calls gets a moment to give up
        only the late one.
        """
        must_die = False
        for job in list(instance.jobs.values()):
            if 0 < job.cancel_at <= now:
                must_die = True
                job.fail("cancelled", error_object("Cancelled", "the caller hung up"))
            elif job.deadline <= now and not job.done:
                self._time_out(job, now)
                if self.version.concurrency == 1:
                    must_die = True
                else:
                    job.cancel_at = now + CANCEL_GRACE_SECONDS
                    instance.cancel(job)
        if must_die:
            self.drop(instance, "a call was stopped")

    def _time_out(self, job: Job, now: float) -> None:
        seconds = self.version.timeout_ms / 1000
        message = f"the call ran longer than its {seconds:g} s and was stopped"
        duration_us = int((now - job.dispatched) * 1e6)
        job.fail("function-timeout", error_object("Timeout", message), duration_us=duration_us)

    def reap(self, now: float) -> None:
        """Every second: stop instances that were idle for the function's idle time."""
        limit = self.function.route.idle_timeout_ms / 1000
        for instance in [i for i in self.idle if not i.jobs and now - i.idle_since >= limit]:
            if self.has_spare:
                self.drop(instance, "it was idle")

    @property
    def ready(self) -> int:
        """Instances that serve."""
        return self.total - self.starting

    @property
    def has_spare(self) -> bool:
        """Whether an instance may go and enough are left."""
        return self.ready > self.keep

    @property
    def is_empty(self) -> bool:
        return not self.total and not self.waiting
