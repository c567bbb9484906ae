"""Starting, waking and ending instances: the slow part of a pool's life."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from hotswap.core import clock
from hotswap.core.errors import BackendFailed
from hotswap.core.units import cpu_quota_cores, cpu_weight
from runners.agent.code_cache import CodeCache
from runners.agent.instance import InitError, Instance
from runners.agent.job import Job, error_object
from runners.agent.log_book import LogBook
from runners.agent.pools import Pool
from runners.agent.stem_cells import RawOutput, StemCells
from runners.backends.base import Cell, CellExit, CellLimits

log = logging.getLogger("hotswap.lifecycle")

EXIT_WAIT_SECONDS = 1.0
RAW_LINE_MAX_BYTES = 16 * 1024


class Lifecycle:
    """The `Starter` of all pools of a runner.

    Memory is reserved by limit: instances may together promise `memory_mib`. When one more
    does not fit, the instance that has been idle for longest, of whatever function, goes.
    """

    def __init__(
        self,
        *,
        stem_cells: StemCells,
        code_cache: CodeCache,
        log_book: LogBook,
        pools: Callable[[], Iterable[Pool]],
        memory_mib: int,
        max_instances: int,
        init_timeout_seconds: float,
    ) -> None:
        self._stem_cells = stem_cells
        self._code_cache = code_cache
        self._log_book = log_book
        self._pools = pools
        self._memory_mib = memory_mib
        self._max_instances = max_instances
        self._init_timeout_seconds = init_timeout_seconds
        self._reserved_mib = 0
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # Room

    def has_room(self, memory_mib: int) -> bool:
        """Whether one more instance fits; evicts idle instances to make it fit."""
        while self._lacks_room(memory_mib):
            oldest = min(
                (
                    (pool, instance)
                    for pool in self._pools()
                    if pool.has_spare
                    for instance in pool.idle
                    if not instance.jobs
                ),
                key=lambda found: found[1].idle_since,
                default=None,
            )
            if oldest is None:
                return False
            pool, instance = oldest
            pool.drop(instance, "its memory is needed")
        return True

    def _lacks_room(self, memory_mib: int) -> bool:
        return (
            self._reserved_mib + memory_mib > self._memory_mib or self._count >= self._max_instances
        )

    # Start

    async def start(self, pool: Pool) -> Instance:
        """A ready instance; a sandbox that fails is tried once more, as nothing was sent yet."""
        try:
            return await self._start(pool)
        except BackendFailed as exc:
            log.warning("starting version %d again: %s", pool.version.id, exc)
            return await self._start(pool)

    async def _start(self, pool: Pool) -> Instance:
        """Take a stem cell, give it code and limits, load the handler."""
        version = pool.version
        self._reserved_mib += version.memory_mib
        self._count += 1
        try:
            code, (cell, output) = await self._gather(version.code_sha256, version.runtime)
            try:
                return await self._adopt(pool, cell, output, code)
            except BaseException:
                self._code_cache.release(version.code_sha256)
                await cell.stop()
                raise
        except BaseException:
            self._release(pool)
            raise

    async def _gather(self, sha256: str, runtime: str) -> tuple[Any, tuple[Cell, RawOutput]]:
        """Code and cell at once; neither is kept when the other cannot be had."""
        fetching = asyncio.ensure_future(self._code_cache.acquire(sha256))
        try:
            taken = await self._stem_cells.take(runtime)
        except BaseException:
            with contextlib.suppress(Exception):
                await fetching
                self._code_cache.release(sha256)
            raise
        try:
            return await fetching, taken
        except BaseException:
            await taken[0].stop()
            raise

    async def _adopt(self, pool: Pool, cell: Cell, output: RawOutput, code: Any) -> Instance:
        version, function = pool.version, pool.function.route
        began = clock.monotonic()
        instance = Instance(cell, version, pool)
        output.sink = _RawLines(self._log_book, pool, instance)
        limits = CellLimits(
            memory_mib=version.memory_mib,
            cpu_weight=cpu_weight(version.memory_mib),
            cpu_cores=cpu_quota_cores(version.memory_mib),
        )
        _, path = await asyncio.gather(instance.connect(), cell.adopt(code, limits))
        document: dict[str, object] = {
            "function": function.name,
            "version": version.number,
            "handler": version.handler,
            "code": path,
            "environment": version.environment,
            "memoryMib": version.memory_mib,
            "timeoutMs": version.timeout_ms,
            "instance": cell.id,
            "logStream": instance.log_stream,
            "concurrency": version.concurrency,
        }
        try:
            await instance.init(document, self._init_timeout_seconds)
        except InitError as exc:
            if exc.error.get("errorType") == "ProcessExited":
                ended = await _exit_of(cell)
                exc.error.update(error_object("ProcessExited", _exit_sentence(ended, "loading")))
            raise
        # What a caller waited for: adoption, limits and import together.
        instance.init_us = int((clock.monotonic() - began) * 1e6)
        return instance

    def _release(self, pool: Pool) -> None:
        self._reserved_mib -= pool.version.memory_mib
        self._count -= 1

    # Sleep

    def freeze_idle(self, now: float, after_seconds: float) -> None:
        """Freeze instances that have been idle for a while."""
        for pool in self._pools():
            for instance in pool.idle:
                is_idle = not (instance.frozen or instance.jobs)
                if is_idle and now - instance.idle_since >= after_seconds:
                    instance.frozen = True
                    instance.freezing = self._spawn(self._freeze(instance))

    async def _freeze(self, instance: Instance) -> None:
        try:
            await instance.cell.freeze()
        except Exception:
            log.exception("instance %s could not be frozen", instance.id)
            instance.frozen = False

    def thaw(self, pool: Pool, instance: Instance, job: Job) -> None:
        """Wake it, then send the call."""
        instance.frozen = False
        self._spawn(self._thaw(pool, instance, job))

    async def _thaw(self, pool: Pool, instance: Instance, job: Job) -> None:
        try:
            if instance.freezing is not None:
                await instance.freezing  # never overtake a freeze that is on its way
            await instance.cell.thaw()
        except Exception:
            log.exception("instance %s could not be woken", instance.id)
            pool.drop(instance, "it could not be woken")
        if instance.stopping:
            pool.take_back(job)
        else:
            instance.invoke(job)

    # End

    def retire(self, pool: Pool, instance: Instance, orphans: list[Job], reason: str) -> None:
        """Stop it in the background; calls that were in flight learn how it ended."""
        log.info("stopping instance %s: %s", instance.id, reason)
        self._spawn(self._retire(pool, instance, orphans))

    async def _retire(self, pool: Pool, instance: Instance, orphans: list[Job]) -> None:
        try:
            unanswered = [job for job in orphans if not job.done]
            ended = await _exit_of(instance.cell) if unanswered else None
            for job in unanswered:
                _fail_by_exit(job, ended, pool.version.memory_mib)
            for job in orphans:
                self._log_book.ended(pool.function.route, pool.version, job, instance.memory_kib)
            await instance.stop()
        except Exception:
            log.exception("instance %s could not be removed cleanly", instance.id)
        finally:
            self._code_cache.release(pool.version.code_sha256)
            self._release(pool)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self) -> None:
        """Wait for background work; used at the end of the process."""
        while self._tasks:
            await asyncio.wait(self._tasks)


async def _exit_of(cell: Cell) -> CellExit | None:
    """How the cell ended, if it tells within a second."""
    try:
        async with asyncio.timeout(EXIT_WAIT_SECONDS):
            return await cell.wait()
    except TimeoutError:
        return None


def _exit_sentence(ended: CellExit | None, doing: str) -> str:
    if ended is None or ended.code is None:
        return f"the function's process closed its connection while {doing}"
    how = f"by signal {-ended.code}" if ended.code < 0 else f"with exit status {ended.code}"
    return f"the function's process ended {how} while {doing}"


def _fail_by_exit(job: Job, ended: CellExit | None, memory_mib: int) -> None:
    duration_us = int((clock.monotonic() - job.dispatched) * 1e6)
    if ended is not None and ended.out_of_memory:
        message = f"the function used more than its {memory_mib} MiB and was stopped"
        error = error_object("OutOfMemory", message)
        job.fail("out-of-memory", error, duration_us=duration_us, memory_kib=memory_mib * 1024)
    else:
        error = error_object("ProcessExited", _exit_sentence(ended, "running"))
        job.fail("function-crashed", error, duration_us=duration_us)


class _RawLines:
    """Cuts raw output into lines and gives them to the log book with the call in flight."""

    __slots__ = ("_instance", "_log_book", "_pool", "_rest")

    def __init__(self, log_book: LogBook, pool: Pool, instance: Instance) -> None:
        self._log_book = log_book
        self._pool = pool
        self._instance = instance
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > RAW_LINE_MAX_BYTES:
            lines.append(self._rest)
            self._rest = b""
        job = next(iter(self._instance.jobs.values()), None)
        for line in lines:
            text = line.decode(errors="replace").rstrip("\r")
            self._log_book.raw(
                self._pool.function.route, self._pool.version, self._instance.id, job, text
            )
