"""Admission, dispatch and scaling of one function's calls, under any order of events."""

import asyncio
import random
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.core import clock
from hotswap.core.errors import Unavailable
from hotswap.wire.table import FunctionRoute, VersionRoute
from runners.agent.instance import InitError
from runners.agent.job import Job, error_object
from runners.agent.log_book import LogBook
from runners.agent.pools import FREE_INSTANCES, Function, Pool
from runtimes.protocol.framing import FrameType

LAST = {int(FrameType.REPLY), int(FrameType.END), int(FrameType.ERROR)}


class FakeInstance:
    """What a pool sees of an instance; calls end when the test says so."""

    _numbers = iter(range(10**9))

    def __init__(self) -> None:
        self.id = f"i{next(self._numbers)}"
        self.jobs: dict[int, Job] = {}
        self.invocations = 0
        self.init_us = 5
        self.memory_kib = 0
        self.log_stream = self.id
        self.idle_since = clock.monotonic()
        self.frozen = self.stopping = False
        self.ready = True

    def invoke(self, job: Job) -> None:
        self.invocations += 1
        self.jobs[self.invocations] = job

    def cancel(self, job: Job) -> None:
        """Ignores it, as a function that does not look would."""


class FakeStarter:
    """Starts are pending until the test lets them succeed or fail."""

    def __init__(self) -> None:
        self.pending: list[asyncio.Future[Any]] = []
        self.started: list[FakeInstance] = []
        self.retired: list[FakeInstance] = []
        self.room = 10**9

    def has_room(self, memory_mib: int) -> bool:
        return len(self.started) - len(self.retired) + len(self.pending) < self.room

    async def start(self, pool: Pool) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.pending.append(future)
        instance = await future
        self.started.append(instance)
        return instance

    def retire(self, pool: Pool, instance: Any, orphans: list[Job], reason: str) -> None:
        self.retired.append(instance)
        for job in orphans:
            job.fail("function-crashed", error_object("ProcessExited", reason))

    def thaw(self, pool: Pool, instance: Any, job: Job) -> None:
        instance.frozen = False
        instance.invoke(job)


class FakeCaller:
    """Counts the last frames of each stream."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}

    def send(
        self, kind: int, stream: int, header: bytes = b"", body: bytes = b"", flags: int = 0
    ) -> None:
        if kind in LAST:
            self.answers[stream] = self.answers.get(stream, 0) + 1

    def forget(self, stream: int) -> None:
        """Nothing to forget."""


class World:
    """One function with one version, its pool, and everything that can happen to it."""

    def __init__(self, *, reserved: int | None, instances: int, queue: int, width: int = 1) -> None:
        version = VersionRoute(
            id=1, number=1, runtime="python3.11", handler="app.handler", code_sha256="0" * 64,
            memory_mib=128, timeout_ms=60_000, concurrency=width,
        )  # fmt: skip
        route = FunctionRoute(
            id=1, name="f", latest=1, versions=(version,), aliases={}, max_instances=instances,
            reserved_concurrency=reserved, max_queue=queue, idle_timeout_ms=60_000,
        )  # fmt: skip
        self.route = route
        self.starter = FakeStarter()
        self.caller = FakeCaller()
        self.function = Function(route)
        self.pool = Pool(self.function, version, self.starter, LogBook(node="n", boot="b"))
        self.jobs: list[Job] = []

    def call(self) -> Job:
        header = [f"r{len(self.jobs)}", 1, 0, "", "", "a"]
        job = Job(self.caller, len(self.jobs), 0, header, b"")
        self.jobs.append(job)
        self.pool.admit(job)
        return job

    def finish(self, pick: random.Random) -> None:
        busy = sorted(self.pool.busy, key=lambda instance: instance.id)
        if busy:
            instance = pick.choice(busy)
            job = instance.jobs.pop(pick.choice(sorted(instance.jobs)))
            job.reply([1_000, 1, 200, "", None], b"")
            self.pool.on_free(instance, job, 1_000, 1)

    def crash(self, pick: random.Random) -> None:
        alive = sorted({*self.pool.busy, *self.pool.idle}, key=lambda instance: instance.id)
        if alive:
            instance = pick.choice(alive)
            orphans = list(instance.jobs.values())
            instance.jobs.clear()
            self.pool.on_gone(instance, orphans)

    async def start_ends(self, how: str) -> None:
        if self.starter.pending:
            future = self.starter.pending.pop(0)
            if how == "ready":
                future.set_result(FakeInstance())
            elif how == "init error":
                future.set_exception(InitError(error_object("ImportError", "no"), 7))
            else:
                future.set_exception(Unavailable("no code"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def cancel(self, pick: random.Random) -> None:
        if unanswered := [job for job in self.jobs if not job.done]:
            self.pool.cancel(pick.choice(unanswered))

    def freeze(self) -> None:
        for instance in self.pool.idle:
            instance.frozen = not instance.jobs

    async def happen(self, event: str, pick: random.Random, now: float) -> None:
        at_once = {
            "call": self.call,
            "finish": partial(self.finish, pick),
            "crash": partial(self.crash, pick),
            "cancel": partial(self.cancel, pick),
            "freeze": self.freeze,
            "tick": partial(self.pool.tick, now),
        }
        if event in at_once:
            at_once[event]()
        else:
            await self.start_ends(event)

    def check(self) -> None:
        pool, route = self.pool, self.route
        running = sum(len(instance.jobs) for instance in pool.busy)
        assert self.function.running == running
        assert running <= (route.reserved_concurrency or 10**9)
        assert pool.total == self.function.instances <= route.max_instances
        assert len(pool.waiting) <= route.max_queue
        assert all(len(i.jobs) <= pool.version.concurrency for i in pool.busy)
        assert all(count == 1 for count in self.caller.answers.values())
        live = [job for job in pool.waiting if not job.done]
        if live and pool.idle:
            assert self.function.is_full  # nobody waits beside an idle instance


events = st.lists(
    st.sampled_from(
        ["call", "call", "call", "finish", "finish", "crash", "cancel", "tick", "ready", "ready",
         "init error", "unavailable", "freeze"]
    ),
    max_size=80,
)  # fmt: skip


class TestPool:
    @settings(max_examples=150, deadline=None)
    @given(
        events,
        st.one_of(st.none(), st.integers(1, 3)),
        st.integers(1, 4),
        st.integers(0, 5),
        st.integers(1, 3),
        st.randoms(use_true_random=False),
    )
    def test_keeps_its_bounds_and_answers_each_call_once(
        self,
        happening: list[str],
        reserved: int | None,
        instances: int,
        queue: int,
        width: int,
        pick: random.Random,
    ) -> None:
        async def live() -> None:
            world = World(reserved=reserved, instances=instances, queue=queue, width=width)
            now = clock.monotonic()
            for event in happening:
                now += 0.02
                await world.happen(event, pick, now)
                await asyncio.sleep(0)
                world.check()
            await self._settle(world, pick)

        asyncio.run(live())

    async def _settle(self, world: World, pick: random.Random) -> None:
        """When starts succeed and calls end, nobody is left without an answer."""
        now = clock.monotonic() + 10
        for _ in range(400):
            now += 0.01
            world.pool.tick(now)
            await asyncio.sleep(0)
            await world.start_ends("ready")
            world.finish(pick)
            if not world.pool.waiting and not world.pool.busy:
                break
        world.check()
        assert all(job.done for job in world.jobs)

    def test_starts_one_instance_for_many_first_calls(self) -> None:
        async def live() -> None:
            world = World(reserved=None, instances=100, queue=100)
            for _ in range(20):
                world.call()
            await asyncio.sleep(0)
            assert len(world.starter.pending) == 1

        asyncio.run(live())

    @pytest.mark.parametrize(
        ("run_us", "wanted"),
        [(100, FREE_INSTANCES), (2_000, FREE_INSTANCES), (1_000_000, 20)],
    )
    def test_starts_as_many_instances_as_calls_need(self, run_us: int, wanted: int) -> None:
        async def live() -> None:
            world = World(reserved=None, instances=100, queue=100)
            first = world.call()
            await asyncio.sleep(0)
            await world.start_ends("ready")
            [instance] = world.pool.busy
            instance.jobs.clear()
            first.reply([run_us, 1, 200, "", None], b"")
            world.pool.on_free(instance, first, run_us, 1)
            for _ in range(20):
                world.call()

            world.pool.tick(clock.monotonic() + 0.01)
            await asyncio.sleep(0)

            assert 1 + len(world.starter.pending) == wanted

        asyncio.run(live())

    def test_queues_a_call_again_whose_instance_died_before_it_woke(self) -> None:
        async def live() -> None:
            world = World(reserved=1, instances=2, queue=10)
            first = world.call()
            await asyncio.sleep(0)
            await world.start_ends("ready")
            world.finish(random.Random(1))
            sleeper = world.pool.idle[-1]
            world.freeze()
            woken: list[Job] = []
            world.starter.thaw = lambda pool, instance, job: woken.append(job)  # type: ignore[method-assign]
            call = world.call()
            world.pool.on_gone(sleeper, [])

            world.pool.take_back(woken[0])

            assert (first.done, woken, world.function.running) == (True, [call], 0)
            await asyncio.sleep(0)
            await world.start_ends("ready")
            world.finish(random.Random(1))
            assert call.done
            world.check()

        asyncio.run(live())

    def test_idle_instances_of_an_old_version_make_way_for_a_new_one(self) -> None:
        async def live() -> None:
            world = World(reserved=None, instances=1, queue=10)
            world.call()
            await asyncio.sleep(0)
            await world.start_ends("ready")
            [old] = world.pool.busy
            newer = Pool(
                world.function, msgspec.structs.replace(world.pool.version, id=2), world.starter,
                LogBook(node="n", boot="b"),
            )  # fmt: skip
            assert newer.start_one() != ""  # a busy one does not
            world.finish(random.Random(1))

            assert newer.start_one() == ""

            assert world.starter.retired == [old]
            assert (world.pool.total, newer.total, world.function.instances) == (0, 1, 1)

        asyncio.run(live())

    def test_gives_no_instance_to_a_caller_that_left_the_queue(self) -> None:
        async def live() -> None:
            world = World(reserved=None, instances=1, queue=10)
            first, second = world.call(), world.call()
            world.pool.cancel(first)
            await asyncio.sleep(0)
            await world.start_ends("ready")
            assert (first.dispatched, second.dispatched > 0) == (0.0, True)

        asyncio.run(live())
