"""The runner: joins table, pools, backend and reports on one event loop."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from hotswap import __version__
from hotswap.config import Config, RunnerPlace
from hotswap.core import clock
from hotswap.core.ids import boot_id
from hotswap.core.limits import MIB
from hotswap.wire.reports import Heartbeat
from hotswap.wire.reports import InstanceState as InstanceReport
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.agent.code_cache import CodeCache
from runners.agent.cpu_meter import CpuMeter
from runners.agent.job import Job, error_object
from runners.agent.lifecycle import Lifecycle
from runners.agent.log_book import LogBook
from runners.agent.pools import Function, Pool
from runners.agent.server import GatewayLink
from runners.agent.specs import Specs
from runners.agent.stem_cells import StemCells
from runners.agent.warm import WarmKeeper
from runners.backends.base import Backend
from runners.link.client import control_plane
from runners.link.feed import TableFeed
from runners.link.reports import ReportSender

log = logging.getLogger("hotswap.runner")

TICK_SECONDS = 0.005
REAP_SECONDS = 1.0
HEARTBEAT_SECONDS = 2.0
LOG_FLUSH_SECONDS = 0.2
SPEC_WAIT_SECONDS = 2.0


class Runner:
    """Everything one runner process holds. `admit`, `cancel` and `credit` are the hot path."""

    def __init__(self, config: Config, backend: Backend, place: RunnerPlace) -> None:
        self._config = config
        self._backend = backend
        self._place = place
        self.node = place.name
        self.is_draining = False
        self._news = asyncio.Event()
        self._cpu_meter = CpuMeter()
        self._links: set[GatewayLink] = set()
        self._functions: dict[int, Function] = {}
        self._pools: dict[int, Pool] = {}
        self._warm = WarmKeeper(pool_of=self._known_pool, on_news=self._news.set)
        self._specs = Specs(on_change=self._on_function, on_warm=self._warm.want)
        self._client = control_plane(config.web.url, config.core.internal_token)
        self._log_book = LogBook(node=self.node, boot=boot_id())
        self._stem_cells = StemCells(backend, config.runner.stem_cells)
        self._lifecycle = Lifecycle(
            stem_cells=self._stem_cells,
            code_cache=CodeCache(
                root=place.directory / "code",
                client=self._client,
                max_bytes=config.runner.code_cache_mib * MIB // config.runner.processes,
            ),
            log_book=self._log_book,
            pools=self._pools.values,
            memory_mib=_memory_mib(config),
            max_instances=config.runner.max_instances,
            init_timeout_seconds=config.runner.init_timeout_seconds,
        )
        self._feed = TableFeed(
            role="runner",
            node=self.node,
            client=self._client,
            copy=place.directory / "table.json",
            on_change=self._specs.apply,
        )
        self._logs = ReportSender(
            client=self._client, path="/internal/v1/logs", collect=self._log_book.collect
        )
        self._runtimes: list[str] = []
        self._parked: set[asyncio.Task[None]] = set()

    # Calls

    def admit(self, job: Job) -> None:
        """Run, queue or refuse one call."""
        pool = self._pools.get(job.version_id)
        if pool is None:
            found = self._specs.get(job.version_id)
            if found is None:
                self._park(job)
                return
            pool = self._pool(*found)
        pool.admit(job)

    def cancel(self, job: Job) -> None:
        pool = self._pools.get(job.version_id)
        if pool is None:
            job.done = True
        else:
            pool.cancel(job)

    def credit(self, job: Job, size: int) -> None:
        if (pool := self._pools.get(job.version_id)) is not None:
            pool.credit(job, size)

    def _park(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._admit_when_known(job))
        self._parked.add(task)
        task.add_done_callback(self._parked.discard)

    async def _admit_when_known(self, job: Job) -> None:
        found = await self._specs.wait_for(job.version_id, SPEC_WAIT_SECONDS)
        if job.done:
            return
        if found is None:
            message = f"runner {self.node} does not know version {job.version_id} yet"
            job.fail("unavailable", error_object("UnknownVersion", message), retry_after_ms=1_000)
        else:
            self._pool(*found).admit(job)

    def _pool(self, route: FunctionRoute, version: VersionRoute) -> Pool:
        pool = self._pools.get(version.id)
        if pool is None:
            function = self._functions.setdefault(route.id, Function(route))
            pool = Pool(function, version, self._lifecycle, self._log_book)
            self._pools[version.id] = pool
        return pool

    def _known_pool(self, version_id: int) -> Pool | None:
        found = self._specs.get(version_id)
        return self._pool(*found) if found is not None else None

    def _prepare(self, runtime: str) -> None:
        if runtime in self._runtimes:
            self._stem_cells.prepare(runtime)

    def _on_function(self, function_id: int, route: FunctionRoute | None) -> None:
        """New limits take hold at once; pools of versions that are gone drain.

        A runtime that somebody deployed for gets its stem cells now, before the first call.
        """
        if route is not None and route.versions:
            self._prepare(route.versions[-1].runtime)
        function = self._functions.get(function_id)
        if function is None:
            return
        kept = {version.id for version in route.versions} if route is not None else set()
        if route is not None:
            function.route = route
        for pool in function.pools:
            pool.is_dropped = pool.version.id not in kept
            if pool.is_dropped and not pool.waiting:
                for instance in [i for i in pool.idle if not i.jobs]:
                    pool.drop(instance, "its version is gone")

    # Time

    async def _tick(self) -> None:
        """Scale and time out; everything here is cheap and synchronous."""
        reap_at = clock.monotonic() + REAP_SECONDS
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = clock.monotonic()
            for pool in self._pools.values():
                if pool.waiting or pool.busy:
                    pool.tick(now)
            if not self.is_draining:
                self._warm.tend(now)
            if now >= reap_at:
                reap_at = now + REAP_SECONDS
                self._reap(now)

    def _reap(self, now: float) -> None:
        for pool in self._pools.values():
            pool.reap(now)
        self._lifecycle.freeze_idle(now, self._config.runner.freeze_after_seconds)
        for version_id in [v for v, p in self._pools.items() if p.is_dropped and p.is_empty]:
            pool = self._pools.pop(version_id)
            pool.function.pools.remove(pool)
            if not pool.function.pools:
                self._functions.pop(pool.function.route.id, None)

    # Life

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set, then drain and clean up."""
        await self._backend.open()
        self._runtimes = await self._backend.runtimes()
        self._feed.load_copy()
        server = await self._listen(self._place.socket)
        work = [
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self._feed.follow(), name="feed"),
            asyncio.create_task(self._logs.run(LOG_FLUSH_SECONDS), name="logs"),
            asyncio.create_task(self._beat(), name="heartbeat"),
        ]
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="stop")
        ready()
        done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.close()
        self._place.socket.unlink(missing_ok=True)
        await self._drain()
        for task in work:
            task.cancel()
        self._stem_cells.close()
        await self._backend.close()
        await self._logs.flush(2.0)
        await self._client.aclose()
        for task in done - {stopping}:
            task.result()  # a background task that ended has failed: say why

    async def _listen(self, path: Path) -> asyncio.AbstractServer:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.unlink(missing_ok=True)  # noqa: ASYNC240  # once, at the start
        before = os.umask(0o177)  # only this user's gateways may connect
        try:
            loop = asyncio.get_running_loop()
            return await loop.create_unix_server(
                lambda: GatewayLink(self, self._links), str(path), backlog=128
            )
        finally:
            os.umask(before)

    async def _drain(self) -> None:
        """Ask the gateways to leave, and serve until the last has: no call is lost on its way."""
        self.is_draining = True
        self._news.set()
        for link in self._links:
            if link.is_used:
                link.ask_to_leave()
        deadline = clock.monotonic() + self._config.runner.drain_seconds
        while clock.monotonic() < deadline and any(  # noqa: ASYNC110  # at the end
            link.is_used for link in self._links
        ):
            await asyncio.sleep(0.02)

    async def _beat(self) -> None:
        """Tell the control plane that this runner lives; a lost beat is harmless."""
        while True:
            self._news.clear()
            watched = (
                instance
                for pool in self._pools.values()
                if pool.keep
                for instance in {*pool.idle, *pool.busy}
            )
            cpu = await self._cpu_meter.measure(watched, clock.monotonic())
            try:
                await self._client.post(
                    "/internal/v1/heartbeat",
                    content=self._heartbeat(cpu),
                    headers={"Content-Type": "application/json"},
                )
            except httpx2.HTTPError as exc:
                log.debug("heartbeat: %s", exc)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()

    def _heartbeat(self, cpu: Mapping[str, float]) -> bytes:
        isolation = self._backend.isolation()
        total, free = machine_memory_mib()
        return msgspec.json.encode(
            Heartbeat(
                node=self.node,
                boot=boot_id(),
                version=__version__,
                backend=isolation.name,
                enforced=list(isolation.enforced),
                missing=list(isolation.missing),
                runtimes=self._runtimes,
                instances=[
                    InstanceReport(
                        id=instance.id,
                        version_id=pool.version.id,
                        state=instance.state.value,
                        started_ms=instance.started_ms,
                        invocations=instance.invocations,
                        memory_kib=instance.memory_kib,
                        cpu_percent=cpu.get(instance.id),
                    )
                    for pool in self._pools.values()
                    for instance in {*pool.idle, *pool.busy}
                ],
                stem_cells=self._stem_cells.counts(),
                queued=sum(len(pool.waiting) for pool in self._pools.values()),
                memory_total_mib=total,
                memory_free_mib=free,
                load=os.getloadavg()[0],
                table_revision=self._feed.revision,
                region=self._place.region,
                failed_starts=self._warm.failed_starts(),
                is_draining=self.is_draining,
            )
        )


def _memory_mib(config: Config) -> int:
    """What instances of one of this machine's runner processes may use together."""
    whole = config.runner.memory_mib or machine_memory_mib()[0] * 8 // 10
    return whole // config.runner.processes


def machine_memory_mib() -> tuple[int, int]:
    """Total and available memory of this machine, in MiB."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: development machines only
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
        return total, total
    sizes = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return sizes["MemTotal"] // 1024, sizes["MemAvailable"] // 1024
