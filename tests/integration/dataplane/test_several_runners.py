"""Several runner processes behind one gateway: how they share, die, leave and come back."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from hotswap.wire.reports import Heartbeat, InstanceState
from tests.integration.dataplane.conftest import DataPlane
from tests.integration.dataplane.test_faults import CLEAN_ERRORS, bootstraps_of, load

WORK = "import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return event\n"
WHO = "import uuid\nME = str(uuid.uuid4())\ndef handler(event, context):\n    return ME\n"
NAMES = ("runner-under-test-0", "runner-under-test-1")


@pytest.fixture(scope="module")
def pair(backend: str) -> Iterator[DataPlane]:
    """A gateway with two runners, for tests that break nothing."""
    yield from _running(backend)


@pytest.fixture
def own_pair(backend: str) -> Iterator[DataPlane]:
    """A gateway with two runners, for a test that breaks them."""
    yield from _running(backend)


def _running(backend: str) -> Iterator[DataPlane]:
    plane = DataPlane(backend, runners=2)
    plane.environment["HOTSWAP_RUNNER_REGIONS"] = "north,south"
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


def newest(plane: DataPlane) -> dict[str, Heartbeat]:
    """Runner -> its newest heartbeat."""
    return {beat.node: beat for beat in plane.control.heartbeats}


def instances(plane: DataPlane, function: str, number: int = 1) -> dict[str, list[InstanceState]]:
    """Runner -> instances of a version in its newest heartbeat."""
    version = plane.control.function(function).versions[number - 1].id
    return {
        node: [instance for instance in beat.instances if instance.version_id == version]
        for node, beat in newest(plane).items()
    }


def counted(plane: DataPlane, function: str, number: int = 1) -> dict[str, int]:
    return {node: len(found) for node, found in instances(plane, function, number).items()}


def ids(plane: DataPlane, function: str) -> dict[str, set[str]]:
    return {
        node: {instance.id for instance in found}
        for node, found in instances(plane, function).items()
    }


class TestSeveralRunners:
    def test_say_their_names_and_regions(self, pair: DataPlane) -> None:
        pair.wait(lambda: set(newest(pair)) == set(NAMES))

        regions = {node: beat.region for node, beat in newest(pair).items()}

        assert regions == dict(zip(NAMES, ("north", "south"), strict=True))
        assert all(f"connected to runner {name}" in pair.log("gateway") for name in NAMES)

    def test_share_the_load(self, pair: DataPlane) -> None:
        pair.upload("shared-load", WORK)

        with load(pair, "shared-load", clients=6) as book:
            time.sleep(3)

        assert set(book.since(0)) == {200}
        pair.wait(lambda: sum(calls(pair, "shared-load").values()) == len(book.statuses))
        shares = calls(pair, "shared-load")
        assert min(shares.values()) >= len(book.statuses) * 0.3, shares

    def test_take_turns_with_one_caller(self, pair: DataPlane) -> None:
        pair.upload("in-turns", WHO)

        answers = Counter(pair.raw("in-turns").text for _ in range(20))

        assert sorted(answers.values()) == [10, 10]

    def test_share_memory_and_keep_files_apart(self, pair: DataPlane) -> None:
        pair.upload("apart", WHO)
        sha256 = pair.control.function("apart").versions[0].code_sha256
        for _ in range(2):
            pair.raw("apart")

        for number in range(2):
            assert (pair.state / f"runner-{number}" / "code" / sha256).is_dir()
            assert (pair.state / f"runner-{number}" / "table.json").is_file()


def calls(plane: DataPlane, function: str) -> dict[str, int]:
    """Runner -> calls that its instances have served."""
    return {
        node: sum(instance.invocations for instance in found)
        for node, found in instances(plane, function).items()
    }


class TestKilledRunner:
    def test_leaves_the_other_serving_and_comes_back(self, own_pair: DataPlane) -> None:
        own_pair.upload("half", WORK)
        for _ in range(4):
            own_pair.invoke("half", {})
        own_pair.wait(lambda: set(counted(own_pair, "half").values()) == {1}, 15)
        before = ids(own_pair, "half")
        boot, pids = newest(own_pair)[NAMES[0]].boot, set(bootstraps_of(own_pair))

        with load(own_pair, "half", clients=6) as book:
            time.sleep(0.5)
            killed_at = kill(own_pair, "runner-0")
            time.sleep(1.5)
            alone = time.monotonic()
            own_pair.spawn_runner("runner-0")
            time.sleep(2.5)

        seen = book.since(killed_at)
        assert set(seen) <= {200, *CLEAN_ERRORS}, seen
        assert seen[502] <= 6, seen  # what was in flight on it, at most one of each caller
        assert set(book.since(killed_at + 0.3)) == {200}  # while it is gone and when it is back
        assert book.since(alone)[200] > 0
        own_pair.wait(
            lambda: own_pair.log("gateway").count(f"connected to runner {NAMES[0]}") == 2, 15
        )
        own_pair.wait(lambda: own_pair.invoke("half", {}) and serves_anew(own_pair, boot), 20)
        kept = ids(own_pair, "half")
        assert before[NAMES[1]] <= kept[NAMES[1]]  # its successor did not touch the other's
        assert not before[NAMES[0]] & kept[NAMES[0]]
        assert pids  # the survivors of this list belong to the runner that lives
        own_pair.wait(lambda: len(pids & set(bootstraps_of(own_pair))) < len(pids))

    def test_leaves_no_orphans(self, own_pair: DataPlane) -> None:
        own_pair.upload("orphaned", WORK)
        for name in own_pair.runners:
            kill(own_pair, name)
            own_pair.spawn_runner(name)
        own_pair.wait(lambda: own_pair.log("gateway").count("connected to runner") == 4, 10)
        own_pair.wait(lambda: {own_pair.invoke("orphaned", {}).status_code} == {200}, 10)

        for name in ("gateway", *own_pair.runners):
            process = own_pair.processes.pop(name)
            process.terminate()
            assert process.wait(15) == 0

        own_pair.wait(lambda: not bootstraps_of(own_pair))


def serves_anew(plane: DataPlane, old_boot: str) -> bool:
    """Whether runner 0 has reported an instance since it was started again."""
    beat = newest(plane)[NAMES[0]]
    return beat.boot != old_boot and bool(beat.instances)


def kill(plane: DataPlane, name: str) -> float:
    process = plane.processes.pop(name)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.monotonic()


class TestLeavingRunner:
    def test_fails_no_call(self, own_pair: DataPlane) -> None:
        own_pair.upload("steady", WORK)
        own_pair.invoke("steady", {})

        with load(own_pair, "steady", clients=6) as book:
            for name in own_pair.runners:
                time.sleep(0.7)
                process = own_pair.processes.pop(name)
                process.terminate()
                assert process.wait(10) == 0
                time.sleep(0.7)
                links = own_pair.log("gateway").count("connected to runner")
                own_pair.spawn_runner(name)
                own_pair.wait(
                    lambda before=links: own_pair.log("gateway").count("connected to") > before, 10
                )
            time.sleep(0.7)

        assert set(book.since(0)) == {200}
        assert len(book.statuses) > 20  # on a crowded machine, too

    def test_finishes_long_calls_and_says_that_it_leaves(self, own_pair: DataPlane) -> None:
        source = "import time\ndef handler(e, c):\n    time.sleep(2)\n    return 'done'\n"
        own_pair.upload("long", source)

        with load(own_pair, "long", clients=4) as book:
            own_pair.wait(lambda: set(counted(own_pair, "long").values()) == {2}, 10)
            process = own_pair.processes.pop("runner-0")
            process.terminate()
            own_pair.wait(lambda: newest(own_pair)[NAMES[0]].is_draining)
            assert process.wait(10) == 0

        # Answers are compared with what was sent: "done" is none of it, but it was answered.
        assert set(book.since(0)) == {"swapped"}
        assert not newest(own_pair)[NAMES[1]].is_draining


class TestWarmVersion:
    def test_is_ready_on_every_runner_before_a_call_comes(self, pair: DataPlane) -> None:
        pair.upload("warmed", WHO)

        pair.control.warm("warmed", "production", {1: 2})

        pair.wait(lambda: set(counted(pair, "warmed").values()) == {2}, 15)
        answers = [pair.raw("warmed") for _ in range(4)]
        assert {answer.headers["x-hotswap-start"] for answer in answers} == {"warm"}
        pair.control.warm("warmed", "production", {})

    def test_outlives_its_idle_time_until_its_entry_goes(self, pair: DataPlane) -> None:
        pair.upload("lasting", WHO, idle_timeout_ms=500)
        pair.control.warm("lasting", "production", {1: 1})
        pair.wait(lambda: set(counted(pair, "lasting").values()) == {1}, 15)
        before = ids(pair, "lasting")

        time.sleep(3)

        assert ids(pair, "lasting") == before
        pair.control.warm("lasting", "production", {})
        pair.wait(lambda: set(counted(pair, "lasting").values()) == {0}, 10)

    def test_is_kept_as_often_as_the_largest_entry_asks(self, pair: DataPlane) -> None:
        pair.upload("many", WHO, idle_timeout_ms=500)
        pair.control.warm("many", "production", {1: 1})
        pair.control.warm("many", "staging", {1: 3})
        pair.wait(lambda: set(counted(pair, "many").values()) == {3}, 20)

        pair.control.warm("many", "staging", {})

        pair.wait(lambda: set(counted(pair, "many").values()) == {1}, 10)
        pair.control.warm("many", "production", {})

    def test_gets_a_killed_instance_replaced(self, pair: DataPlane) -> None:
        pair.upload("replaced", WHO)
        others = set(bootstraps_of(pair))
        pair.control.warm("replaced", "production", {1: 1})
        pair.wait(lambda: set(counted(pair, "replaced").values()) == {1}, 15)
        before = ids(pair, "replaced")

        for pid in set(bootstraps_of(pair)) - others:  # stem cells too: they are replaced as well
            os.kill(pid, signal.SIGKILL)

        pair.wait(lambda: replaced(before, ids(pair, "replaced")), 20)
        pair.control.warm("replaced", "production", {})

    def test_that_cannot_start_says_why_until_it_can(self, pair: DataPlane) -> None:
        late = (
            f"import time\nif time.time() < {time.time() + 4}:\n    raise ValueError('too soon')\n"
        )
        pair.upload("failing", late + WHO)
        version = pair.control.function("failing").versions[0].id

        pair.control.warm("failing", "production", {1: 1})

        pair.wait(
            lambda: (
                [beat.failed_starts.get(version) for beat in newest(pair).values()]
                == ["ValueError: too soon"] * 2
            )
        )
        pair.wait(lambda: set(counted(pair, "failing").values()) == {1}, 20)
        assert not any(beat.failed_starts for beat in newest(pair).values())
        pair.control.warm("failing", "production", {})

    def test_is_not_evicted_for_others(self, own_pair: DataPlane) -> None:
        own_pair.environment["HOTSWAP_RUNNER_MEMORY_MIB"] = "768"  # room for three on each
        for name in own_pair.runners:
            kill(own_pair, name)
            own_pair.spawn_runner(name)
        own_pair.wait(lambda: own_pair.log("gateway").count("connected to runner") == 4, 15)
        own_pair.upload("protected", WHO)
        own_pair.control.warm("protected", "production", {1: 2})
        own_pair.wait(lambda: set(counted(own_pair, "protected").values()) == {2}, 15)
        before = ids(own_pair, "protected")

        for number in range(4):
            own_pair.upload(f"visitor-{number}", WHO)
            assert [own_pair.raw(f"visitor-{number}").status_code for _ in range(2)] == [200] * 2

        own_pair.wait(lambda: sum(len(b.instances) for b in newest(own_pair).values()) == 6)
        assert ids(own_pair, "protected") == before


def replaced(before: dict[str, set[str]], now: dict[str, set[str]]) -> bool:
    """Whether every runner has as many instances as before, and none of those."""
    return all(len(now[node]) == len(old) and not now[node] & old for node, old in before.items())
