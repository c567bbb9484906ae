"""Parts of the platform stop, freeze or are killed while callers keep calling."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.load import load
from tests.e2e.stack import Stack
from tests.e2e.test_observation import totals

ECHO = "def handler(event, context):\n    return event\n"
CONTROL_PLANE = ("web", "worker", "beat", "postgres", "valkey")
CLEAN_ERRORS = {429, 502, 503, 504}
BROKEN_CONNECTIONS = {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}

pytestmark = [pytest.mark.slow, pytest.mark.root]


@pytest.fixture(scope="module")
def fragile() -> Iterator[Stack]:
    """A platform that the tests here break; each of them leaves it working."""
    if os.geteuid() != 0:
        pytest.skip("the sandbox backend needs root")
    stack = Stack("sandbox")
    stack.start()
    yield stack
    stack.close()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


@contextmanager
def frozen(stack: Stack, *names: str) -> Iterator[None]:
    """Stop processes with everything below them, as a machine out of reach would look."""
    pids = [pid for name in names for pid in family(stack.pids()[name])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def api_answers(stack: Stack) -> bool:
    return stack.api.get("/api/v1/functions?limit=1", timeout=5).status_code == 200


def kill(stack: Stack, name: str) -> float:
    """Kill -9; the moment of it. Returns when the supervisor has started another."""
    before = stack.pids()[name]
    at = time.monotonic()
    os.kill(before, signal.SIGKILL)
    stack.wait(lambda: stack.pids().get(name, before) != before)
    return at


class TestFrozenControlPlane:
    def test_leaves_warm_and_cold_calls_alone_and_loses_no_count(self, fragile: Stack) -> None:
        fragile.deploy("warm", {"app.py": ECHO})
        fragile.deploy("cold", {"app.py": ECHO}, idleTimeout=1)
        fragile.invoke("warm", 1)
        fragile.invoke("cold", 1)  # its code is on this machine from now on

        with frozen(fragile, *CONTROL_PLANE):
            noted = fragile.invoke("warm", 2)
            with load(fragile, "warm", clients=2) as book:
                time.sleep(3.5)
                cold = fragile.invoke("cold", 2)
        fragile.wait(lambda: api_answers(fragile), 20)

        assert book.statuses() == {200: len(book.calls)}
        assert (cold.status_code, cold.json()["coldStart"]) == (200, True)
        calls = len(book.calls) + 2
        fragile.wait(lambda: totals(fragile, "warm")["invocations"] >= calls, 30)
        assert totals(fragile, "warm")["invocations"] == calls
        record = f"/api/v1/functions/warm/invocations/{noted.json()['requestId']}"
        fragile.wait(lambda: fragile.api.get(record).status_code == 200)
        fragile.wait(lambda: fragile.api.get(f"{record}/logs").json()["items"])

    def test_takes_changes_again_when_it_is_back(self, fragile: Stack) -> None:
        fragile.deploy("returning", {"app.py": ECHO})
        with frozen(fragile, *CONTROL_PLANE):
            time.sleep(1)
        fragile.wait(lambda: api_answers(fragile), 20)

        fragile.upload("returning", {"app.py": ECHO.replace("event\n", "'new'\n")})

        fragile.wait(lambda: fragile.invoke("returning").json()["body"] == '"new"', 5)


class TestKilled:
    @pytest.mark.parametrize("name", ["web", "worker", "postgres", "valkey"])
    def test_part_of_the_control_plane_fails_no_call_and_comes_back(
        self, fragile: Stack, name: str
    ) -> None:
        function = f"beside-{name}"
        fragile.deploy(function, {"app.py": ECHO})

        with load(fragile, function, clients=2) as book:
            time.sleep(0.3)
            killed_at = kill(fragile, name)
            fragile.wait(lambda: api_answers(fragile), 20)
            back_after = time.monotonic() - killed_at
            fragile.deploy(f"after-{name}", {"app.py": ECHO})
            newcomer = fragile.invoke(f"after-{name}", 1)

        assert book.statuses() == {200: len(book.calls)}
        assert newcomer.status_code == 200
        assert back_after < 15
        calls = len(book.calls)
        fragile.wait(lambda: totals(fragile, function)["invocations"] >= calls, 20)
        assert totals(fragile, function)["invocations"] == calls

    @pytest.mark.parametrize("name", ["runner", "gateway-0"])
    def test_part_of_the_data_plane_recovers_within_five_seconds(
        self, fragile: Stack, name: str
    ) -> None:
        function = f"through-{name}"
        fragile.deploy(function, {"app.py": ECHO})
        before = cells_of(fragile)

        with load(fragile, function, clients=4) as book:
            time.sleep(0.5)
            killed_at = kill(fragile, name)
            time.sleep(6)

        seen = book.statuses(killed_at)
        assert set(seen) <= {200, *CLEAN_ERRORS, *BROKEN_CONNECTIONS}, seen
        assert book.recovery(killed_at) <= 5, seen
        if name == "runner":
            fragile.wait(lambda: not before & cells_of(fragile))

    def test_privileged_process_leaves_no_orphans_and_comes_back(self, fragile: Stack) -> None:
        fragile.deploy("cradled", {"app.py": ECHO})
        fragile.invoke("cradled", 1)
        before = cells_of(fragile)

        kill(fragile, "sandboxd")

        fragile.wait(lambda: fragile.invoke("cradled", 1).status_code == 200, 15)
        assert before
        fragile.wait(lambda: not before & cells_of(fragile))


class TestManyInstances:
    def test_leave_no_dead_processes(self, fragile: Stack) -> None:
        fragile.deploy("rebuilt", {"app.py": ECHO})
        sandboxd = fragile.pids()["sandboxd"]
        for _ in range(15):
            fragile.upload("rebuilt", {"app.py": ECHO})
            assert fragile.invoke("rebuilt", 1).status_code == 200

        fragile.wait(lambda: len([p for p in family(sandboxd) if state_of(p) == "Z"]) <= 2)


class TestStop:
    def test_leaves_nothing_on_the_machine(self, own_stack: Stack) -> None:
        own_stack.start()
        for number in range(5):
            own_stack.deploy(f"busy-{number}", {"app.py": ECHO})
            assert own_stack.invoke(f"busy-{number}", 1).status_code == 200
        processes = {p for pid in own_stack.pids().values() for p in family(pid)}
        groups = {group for pid in processes for group in groups_of(pid)}
        assert cells_of(own_stack) <= processes
        assert groups

        status = own_stack.stop()

        assert status == 0
        assert {pid for pid in processes if runs(pid)} == set()
        assert {group for group in groups if group.exists()} == set()
        assert [path for path in own_stack.directory.rglob("*") if path.is_socket()] == []


def cells_of(stack: Stack) -> set[int]:
    """Processes inside the platform's sandboxes."""
    return {pid for pid in family(stack.pids()["sandboxd"]) if "bootstrap" in command_of(pid)}


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def groups_of(pid: int) -> set[Path]:
    """The control groups of ours that a process is in; none when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    lines = (line.split(":") for line in text.splitlines())
    return {
        Path("/sys/fs/cgroup", *controllers.split(",")[:1], path.lstrip("/"))
        for _, controllers, path in lines
        if path.startswith("/hotswap/")
    }


def state_of(pid: int) -> str:
    """One letter, such as S; Z for one that ended while its parent has not asked how; or ""."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def runs(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")
