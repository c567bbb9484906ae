"""Which runner a call is sent to, as runners come, leave and die."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hotswap.core.errors import Unavailable
from runners.gateway.upstream import Upstream
from runners.link.frames import FrameProtocol, encode_json
from runtimes.protocol.framing import PROTOCOL_VERSION, FrameType


class FakeRunner(FrameProtocol):
    """A runner's side of a link: greets, takes calls, answers when the test says so."""

    def __init__(self, name: str, links: list["FakeRunner"]) -> None:
        super().__init__()
        self.name = name
        self.taken: list[int] = []
        links.append(self)

    def on_frame(self, kind: int, flags: int, stream: int, header: bytes, body: bytes) -> None:
        if kind == FrameType.HELLO:
            self.send(FrameType.HELLO, 0, encode_json([PROTOCOL_VERSION, self.name]))
        elif kind == FrameType.INVOKE:
            self.taken.append(stream)

    def answer_all(self) -> None:
        while self.taken:
            self.send(FrameType.REPLY, self.taken.pop())


class FakeCall:
    """Remembers how it ended."""

    deadline = float("inf")

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_frame(self, kind: int, header: bytes, body: bytes) -> bool:
        self.ended.append("answered")
        return True

    def on_link_lost(self) -> None:
        self.ended.append("lost")

    def on_deadline(self) -> None:
        self.ended.append("late")


class World:
    """Two runners' sockets, an upstream that follows them, and calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.links: dict[str, list[FakeRunner]] = {"a": [], "b": []}
        self.servers: dict[str, asyncio.AbstractServer] = {}
        sockets = [directory / f"{name}.sock" for name in self.links]
        self.upstream = Upstream(sockets=sockets, node="gateway-0")

    async def start(self, name: str) -> None:
        path = self.directory / f"{name}.sock"
        path.unlink(missing_ok=True)
        self.servers[name] = await asyncio.get_running_loop().create_unix_server(
            lambda: FakeRunner(name, self.links[name]), str(path)
        )
        await until(lambda: any(link.name == name for link in self.upstream._links))

    def stop_listening(self, name: str) -> None:
        self.servers[name].close()
        (self.directory / f"{name}.sock").unlink()

    def call(self) -> tuple[str, FakeCall]:
        """Send a call; the runner's name, and the call."""
        link, call = self.upstream.link(), FakeCall()
        link.invoke(call, b"[]", b"", wants_stream=False)
        return link.name, call


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as path:  # sockets: short
        yield Path(path)


@asynccontextmanager
async def world_of(directory: Path, *names: str) -> AsyncIterator[World]:
    world = World(directory)
    following = asyncio.create_task(world.upstream.keep_connected())
    try:
        for name in names:
            await world.start(name)
        yield world
    finally:
        following.cancel()
        world.upstream.close()
        for server in world.servers.values():
            server.close()


def lived(directory: Path, *names: str) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Run a story in a world with these runners."""

    def run(story: Callable[[World], Awaitable[None]]) -> None:
        async def live() -> None:
            async with world_of(directory, *names) as world:
                await story(world)

        asyncio.run(live())

    return run


class TestUpstream:
    def test_with_no_runner_is_unavailable(self, directory: Path) -> None:
        @lived(directory)
        async def story(world: World) -> None:
            with pytest.raises(Unavailable):
                world.upstream.link()
            assert not world.upstream.is_connected

    def test_is_connected_with_one_of_two(self, directory: Path) -> None:
        @lived(directory, "b")
        async def story(world: World) -> None:
            assert world.upstream.is_connected
            assert {world.call()[0] for _ in range(4)} == {"b"}

    def test_prefers_the_runner_with_fewer_calls_in_flight(self, directory: Path) -> None:
        @lived(directory, "a", "b")
        async def story(world: World) -> None:
            names = Counter(world.call()[0] for _ in range(10))
            assert names == {"a": 5, "b": 5}
            await until(lambda: len(world.links["a"][0].taken) == 5)
            world.links["a"][0].answer_all()
            await until(lambda: world.upstream.in_flight == 5)

            assert [world.call()[0] for _ in range(5)] == ["a"] * 5

    def test_lets_equals_take_turns(self, directory: Path) -> None:
        @lived(directory, "a", "b")
        async def story(world: World) -> None:
            names = []
            for _ in range(6):
                name, _call = world.call()
                names.append(name)
                await until(lambda name=name: world.links[name][0].taken)
                world.links[name][0].answer_all()
                await until(lambda: world.upstream.in_flight == 0)

            assert sorted(names) == ["a"] * 3 + ["b"] * 3
            assert names[:2] == names[2:4] == names[4:]

    def test_loses_only_what_was_sent_to_a_runner_that_dies(self, directory: Path) -> None:
        @lived(directory, "a", "b")
        async def story(world: World) -> None:
            calls = [world.call() for _ in range(4)]
            await until(lambda: len(world.links["a"][0].taken) == 2)

            world.stop_listening("a")
            world.links["a"][0].close()
            await until(lambda: sum(len(call.ended) for _, call in calls) == 2)

            assert [call.ended for name, call in calls if name == "a"] == [["lost"]] * 2
            assert {world.call()[0] for _ in range(4)} == {"b"}

    def test_gives_no_new_calls_to_a_runner_that_leaves_and_hangs_up_after_the_last(
        self, directory: Path
    ) -> None:
        @lived(directory, "a", "b")
        async def story(world: World) -> None:
            calls = [world.call() for _ in range(4)]
            leaving = world.links["a"][0]
            await until(lambda: len(leaving.taken) == 2)

            world.stop_listening("a")
            leaving.send(FrameType.SHUTDOWN, 0)
            await until(lambda: len(world.upstream._links) == 1)

            assert {world.call()[0] for _ in range(3)} == {"b"}
            await asyncio.sleep(0.05)
            assert leaving.transport is not None  # calls are still in flight
            assert world.upstream.in_flight == 7
            leaving.answer_all()
            await until(lambda: leaving.transport is None)
            assert [call.ended for name, call in calls if name == "a"] == [["answered"]] * 2

    def test_comes_back_to_a_runner_that_comes_back(self, directory: Path) -> None:
        @lived(directory, "a", "b")
        async def story(world: World) -> None:
            world.stop_listening("a")
            world.links["a"][0].close()
            await until(lambda: len(world.upstream._links) == 1)

            await world.start("a")

            assert {world.call()[0] for _ in range(4)} == {"a", "b"}
