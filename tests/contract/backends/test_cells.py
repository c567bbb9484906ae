"""What every backend promises about a cell, tried on each that this machine has."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import pytest

from hotswap.core.errors import BackendFailed, UnknownPlugin
from runners.backends.base import Backend, CellLimits
from tests.contract.backends.conftest import RUNTIME, Boot, Machine, ignore
from tests.contract.backends.conversation import LIMITS, Conversation, Ended, talk_to


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


class TestBooting:
    async def test_says_hello_on_the_only_connection(self, boot: Boot) -> None:
        cell = await boot()
        hello = await Conversation(cell.control).hello()
        assert hello[:2] == [1, "python"]

    async def test_lists_what_it_can_run(self, backend: Backend) -> None:
        assert RUNTIME in await backend.runtimes()

    async def test_refuses_a_runtime_it_does_not_have(self, backend: Backend) -> None:
        with pytest.raises((BackendFailed, UnknownPlugin)):
            await backend.create_cell("cobol85", ignore)

    async def test_says_what_it_enforces(self, backend: Backend, machine: Machine) -> None:
        isolation = backend.isolation()
        assert ("no capabilities" in isolation.enforced) == machine.isolates
        full = machine.isolates and machine.kind != "rootless"
        assert ("memory limit" in isolation.enforced) == full
        assert bool(isolation.missing) or full

    async def test_boots_twenty_at_once(self, boot: Boot) -> None:
        makes = (boot() for _ in range(20))
        cells = await asyncio.gather(*makes)
        hellos = await asyncio.gather(*(Conversation(cell.control).hello() for cell in cells))
        assert len(hellos) == len({cell.id for cell in cells}) == 20

    async def test_leaves_nothing_when_the_caller_gives_up(
        self, backend: Backend, machine: Machine
    ) -> None:
        making = asyncio.ensure_future(backend.create_cell(RUNTIME, ignore))
        await asyncio.sleep(0.03)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        await eventually(lambda: machine.traces() == [])


class TestAdoption:
    async def test_shows_the_code(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        talk = await talk_to(cell, machine.code)
        assert (await talk.call("where"))["file"].endswith("/probe.py")

    async def test_shows_it_read_only(self, boot: Boot, machine: Machine) -> None:
        if not machine.isolates:
            pytest.skip("a plain process is not isolated")
        talk = await talk_to(await boot(), machine.code)
        assert await talk.call("write_beside_code") == "Read-only file system"

    async def test_gives_two_cells_two_users_or_namespaces(
        self, boot: Boot, machine: Machine
    ) -> None:
        if not machine.isolates:
            pytest.skip("a plain process is not isolated")
        cells = [await boot() for _ in range(2)]
        places = [await (await talk_to(cell, machine.code)).call("where") for cell in cells]
        assert all(place["uid"] >= 65_534 and place["pid"] < 3 for place in places)

    async def test_leaves_no_second_way_in(self, boot: Boot, machine: Machine) -> None:
        talk = await talk_to(await boot(), machine.code)
        assert await talk.call("connect_again", path="/run/hs/ctl.sock") is not None


class TestLimits:
    @pytest.fixture(autouse=True)
    def _enforced(self, machine: Machine) -> None:
        if not machine.isolates:
            pytest.skip("a plain process is not limited")

    async def test_kill_a_memory_hog_and_say_so(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        talk = await talk_to(cell, machine.code)
        if machine.kind == "rootless":
            pytest.skip("limits processes, not cells: the function gets a MemoryError")
        with pytest.raises(Ended):
            await talk.call("hog", mib=400)
        ended = await asyncio.wait_for(cell.wait(), 5)
        assert (ended.code, ended.out_of_memory) == (-9, True)

    async def test_allow_more_than_a_stem_cell_has(self, boot: Boot, machine: Machine) -> None:
        limits = CellLimits(memory_mib=1_024, cpu_weight=592, cpu_cores=1.0)
        talk = await talk_to(await boot(), machine.code, limits)
        assert await talk.call("hog", mib=700) == 700

    async def test_stop_a_fork_bomb(self, boot: Boot, machine: Machine) -> None:
        talk = await talk_to(await boot(), machine.code)
        assert await talk.call("fork_until_refused", most=500) < LIMITS.pids

    async def test_cap_tmp(self, boot: Boot, machine: Machine) -> None:
        talk = await talk_to(await boot(), machine.code)
        assert 60 <= await talk.call("fill_tmp", mib=100) <= LIMITS.tmp_mib

    async def test_can_change_processes_and_tmp(self, boot: Boot, machine: Machine) -> None:
        if machine.kind in ("docker-alone", "rootless"):
            pytest.skip("cannot")
        limits = CellLimits(memory_mib=256, cpu_weight=148, cpu_cores=1.0, pids=20, tmp_mib=10)
        talk = await talk_to(await boot(), machine.code, limits)
        assert await talk.call("fork_until_refused", most=100) < 20
        assert await talk.call("fill_tmp", mib=30) <= 10


class TestFreezing:
    async def test_stops_and_resumes_the_function(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        talk = await talk_to(cell, machine.code)
        await cell.freeze()
        await cell.freeze()
        asking = asyncio.ensure_future(talk.call("where"))
        await asyncio.sleep(0.1)
        assert not asking.done()
        await cell.thaw()
        await cell.thaw()
        assert await asyncio.wait_for(asking, 5)

    async def test_a_frozen_cell_can_be_stopped(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        await talk_to(cell, machine.code)
        await cell.freeze()
        await asyncio.wait_for(cell.stop(), 5)
        assert (await cell.wait()).code in (-9, None)


class TestWatching:
    async def test_reports_use(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        await talk_to(cell, machine.code)
        used = await cell.stats()
        assert 1 << 20 < (used.memory_bytes or 0) < 128 << 20
        assert (used.pids, bool(used.cpu_seconds)) == (1, True)

    async def test_reports_nothing_of_a_cell_that_is_gone(self, boot: Boot) -> None:
        cell = await boot()
        await cell.stop()
        assert (await cell.stats()).memory_bytes is None

    async def test_hands_over_raw_output(self, boot: Boot, machine: Machine) -> None:
        received: list[bytes] = []
        cell = await boot(received.append)
        talk = await talk_to(cell, machine.code)
        with contextlib.suppress(Ended):
            await talk.call("crash_loudly")
        await asyncio.wait_for(cell.wait(), 5)
        await eventually(lambda: b"Fatal Python error" in b"".join(received))

    @pytest.mark.parametrize("status", [0, 3])
    async def test_tells_every_waiter_how_it_ended(
        self, boot: Boot, machine: Machine, status: int
    ) -> None:
        cell = await boot()
        talk = await talk_to(cell, machine.code)
        waiters = asyncio.gather(cell.wait(), cell.wait())
        with pytest.raises(Ended):
            await talk.call("end", status=status)
        first, second = await asyncio.wait_for(waiters, 5)
        assert first == second
        assert (first.code, first.out_of_memory) == (status, False)


class TestStopping:
    async def test_removes_every_trace(self, boot: Boot, machine: Machine) -> None:
        cell = await boot()
        talk = await talk_to(cell, machine.code)
        if machine.isolates:
            await talk.call("daemon")
        await cell.stop()
        await cell.stop()
        assert machine.traces() == []
        with pytest.raises(Ended):
            await talk.call("where")

    async def test_can_be_asked_for_by_many(self, boot: Boot) -> None:
        cell = await boot()
        began = time.monotonic()
        await asyncio.gather(*(cell.stop() for _ in range(5)))
        assert time.monotonic() - began < 5

    async def test_closing_the_backend_stops_all(
        self, boot: Boot, backend: Backend, machine: Machine
    ) -> None:
        cells = [await boot() for _ in range(3)]
        await backend.close()
        assert machine.traces() == []
        endings = await asyncio.gather(*(cell.wait() for cell in cells))
        assert {ended.code for ended in endings} <= {-9, None}
