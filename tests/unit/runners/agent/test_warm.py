"""When instances of a warm version are started, and what is told of it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.wire.rollouts import WarmRoute
from hotswap.wire.table import FunctionRoute
from runners.agent.specs import Specs
from runners.agent.warm import LONGEST_PAUSE_SECONDS, REFUSED_SECONDS, WarmKeeper
from tests.unit.runners.agent.test_pools import World


class Warm:
    """A world whose version 1 is kept warm, with a clock of its own."""

    def __init__(self, *, instances: int = 10) -> None:
        self.world = World(reserved=None, instances=instances, queue=10)
        self.pool = self.world.pool
        self.news = 0
        self.now = 1_000.0
        self.keeper = WarmKeeper(pool_of=lambda _id: self.pool, on_news=self._hear)

    def _hear(self) -> None:
        self.news += 1

    @property
    def pending(self) -> int:
        return len(self.world.starter.pending)

    async def pass_time(self, seconds: float, how: str = "") -> list[float]:
        """Tend every 10 ms; starts end as `how` says; when starts began."""
        began = []
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            before = self.pending
            self.keeper.tend(self.now)
            await asyncio.sleep(0)
            began += [self.now] * (self.pending - before)
            while how and self.pending:
                await self.world.start_ends(how)
        return began


def lived(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


class TestWarmKeeper:
    def test_starts_what_is_missing_at_once(self) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            warm.keeper.want({1: 3})
            await warm.pass_time(0.01)
            assert warm.pending == 3
            await warm.pass_time(1.0, "ready")
            assert (warm.pool.ready, warm.pending) == (3, 0)

    def test_tells_each_change_once(self) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            warm.keeper.want({1: 1})
            await warm.pass_time(5, "ready")
            assert warm.news == 1
            warm.pool.drop(warm.pool.idle[0], "test")
            await warm.pass_time(0.01)
            assert warm.news == 2
            await warm.pass_time(5, "ready")
            assert warm.news == 3

    def test_replaces_a_dead_instance_at_once(self) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            warm.keeper.want({1: 2})
            await warm.pass_time(20, "ready")
            warm.pool.drop(warm.pool.idle[0], "test")
            await warm.pass_time(0.01)
            assert warm.pending == 1

    def test_waits_longer_after_each_failure_and_never_gives_up(self) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            warm.keeper.want({1: 1})
            began = await warm.pass_time(200, "init error")
            pauses = [later - earlier for earlier, later in pairwise(began)]
            assert pauses == sorted(pauses)
            assert pauses[0] < 0.05
            assert LONGEST_PAUSE_SECONDS <= pauses[-1] < LONGEST_PAUSE_SECONDS + 1
            assert warm.keeper.failed_starts() == {1: "ImportError: no"}
            assert warm.news == 1

            await warm.pass_time(LONGEST_PAUSE_SECONDS + 1, "ready")
            assert (warm.pool.ready, warm.keeper.failed_starts()) == (1, {})

    def test_does_not_restart_in_a_hurry_what_dies_young(self) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            warm.keeper.want({1: 1})
            starts = 0
            for _ in range(60):
                starts += len(await warm.pass_time(1, "ready"))
                for instance in list(warm.pool.idle):
                    warm.pool.drop(instance, "test")
            assert starts <= 10

    def test_starts_beyond_the_limit_of_the_function(self) -> None:
        """P13: a version that keeps all instances busy does not hold up its own remedy."""

        @lived
        async def story() -> None:
            warm = Warm(instances=1)
            warm.keeper.want({1: 2})
            await warm.pass_time(1, "ready")
            assert (warm.pool.ready, warm.keeper.failed_starts()) == (2, {})

    def test_says_when_the_runner_never_has_room(self) -> None:
        """C26: a full runner is no fault of the version, unless it stays full."""

        @lived
        async def story() -> None:
            warm = Warm()
            warm.world.starter.room = 1
            warm.keeper.want({1: 1})
            await warm.pass_time(1, "ready")
            warm.keeper.want({1: 2})
            await warm.pass_time(REFUSED_SECONDS - 1, "ready")
            assert warm.keeper.failed_starts() == {}
            await warm.pass_time(2, "ready")
            assert "no room" in warm.keeper.failed_starts()[1]
            assert warm.pool.ready == 1

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.one_of(st.integers(0, 4), st.sampled_from(["reap", "call"])), max_size=12))
    def test_idle_time_takes_exactly_what_nobody_asks_for(self, events: list[int | str]) -> None:
        @lived
        async def story() -> None:
            warm = Warm()
            wanted = 0
            for event in events:
                if event == "call":
                    warm.world.call()
                elif isinstance(event, int):
                    wanted = event
                    warm.keeper.want({1: wanted} if wanted else {})
                await warm.pass_time(1, "ready")
                while warm.pool.busy:
                    warm.world.finish(random.Random(1))
                assert warm.pool.ready >= wanted
                warm.pool.reap(float("inf"))
                assert warm.pool.ready == wanted


class TestSpecs:
    def test_count_the_most_that_any_entry_asks(self) -> None:
        asked: list[dict[int, int]] = []

        async def apply() -> None:
            specs = Specs(on_change=lambda _id, _route: None, on_warm=asked.append)
            specs.apply({"split/f/production": warm_route({"1": 2, "2": 1})})
            specs.apply({"function/f": function_route()})
            specs.apply({"split/f/staging": warm_route({"1": 1, "2": 4, "9": 1})})
            specs.apply({"split/f/production": None})
            specs.apply({"function/f": None})

        asyncio.run(apply())

        assert asked == [{1: 2, 2: 1}, {1: 2, 2: 4}, {1: 1, 2: 4}, {}]


def warm_route(versions: dict[str, int]) -> bytes:
    return msgspec.json.encode(WarmRoute("f", versions))


def function_route() -> bytes:
    route: FunctionRoute = World(reserved=None, instances=1, queue=1).route
    second = msgspec.structs.replace(route.versions[0], id=2, number=2)
    both = msgspec.structs.replace(route, versions=(route.versions[0], second))
    return msgspec.json.encode(both)
