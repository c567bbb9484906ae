"""What callers see when a part of the data plane dies or goes away."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.integration.dataplane.conftest import TOKEN, DataPlane

WORK = "import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return event\n"
CLEAN_ERRORS = {429, 502, 503, 504}


@dataclass
class Load:
    """What happened to each call of a load, by moment."""

    statuses: list[tuple[float, int | str]] = field(default_factory=list)

    def since(self, moment: float) -> Counter[int | str]:
        return Counter(status for at, status in self.statuses if at >= moment)

    def first_success_after(self, moment: float) -> float:
        """Seconds from `moment` to the first call that began after it and was answered."""
        return min(at for at, status in self.statuses if at >= moment and status == 200) - moment


@contextmanager
def load(plane: DataPlane, function: str, clients: int = 8) -> Iterator[Load]:
    """Call a function from several threads until the block ends."""
    book, over = Load(), threading.Event()

    def call() -> None:
        with httpx2.Client(base_url=plane.url, timeout=30) as client:
            nonce = 0
            while not over.is_set():
                nonce += 1
                began = time.monotonic()
                status = outcome(client, nonce)
                book.statuses.append((began, status))
                if status != 200:
                    time.sleep(0.02)  # callers who hammer a machine keep it from recovering

    def outcome(client: httpx2.Client, nonce: int) -> int | str:
        try:
            answer = client.post(
                f"/api/v1/functions/{function}/invoke",
                json={"nonce": nonce},
                headers={"Authorization": f"Bearer {TOKEN}", "X-HotSwap-Mode": "raw"},
            )
        except httpx2.TransportError as exc:
            return type(exc).__name__
        swapped = answer.status_code == 200 and answer.json() != {"nonce": nonce}
        return "swapped" if swapped else answer.status_code

    threads = [threading.Thread(target=call) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield book
    finally:
        over.set()
        for thread in threads:
            thread.join()


def kill(plane: DataPlane, name: str) -> float:
    process = plane.processes.pop(name)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return time.monotonic()


class TestKilledInstance:
    def test_fails_one_call_cleanly_and_is_replaced(self, own_plane: DataPlane) -> None:
        source = (
            "import os, time\ndef handler(e, c):\n    time.sleep(0.02)\n    return os.getpid()\n"
        )
        own_plane.upload("victim", source.replace("os.getpid()", "e"))
        own_plane.invoke("victim", {})

        with load(own_plane, "victim") as book:
            time.sleep(0.5)
            killed_at = time.monotonic()
            for _ in range(3):
                for pid in bootstraps_of(own_plane):
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.3)
            time.sleep(1)

        seen = book.since(killed_at)
        assert seen[502] >= 1, seen  # the fault landed
        assert set(seen) <= {200, *CLEAN_ERRORS}, seen
        assert set(book.since(time.monotonic() - 0.5)) <= {200}


def bootstraps_of(plane: DataPlane) -> list[int]:
    """Host pids of the functions' processes below this plane's runner or sandboxd."""
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        try:
            command = (path / "cmdline").read_bytes()
            environment = str(plane.state).encode()
            links = (path / "mountinfo").read_bytes() if b"/run/hs/" in command else b""
        except OSError:
            continue
        mine = environment in command or environment in links
        if mine and b"bootstrap" in command:
            found.append(int(path.name))
    return found


class TestKilledRunner:
    def test_gives_clean_errors_and_recovers_within_five_seconds(
        self, own_plane: DataPlane
    ) -> None:
        own_plane.upload("runner-victim", WORK)
        own_plane.invoke("runner-victim", {})

        with load(own_plane, "runner-victim") as book:
            time.sleep(0.5)
            killed_at = kill(own_plane, "runner")
            own_plane.spawn("runner", "runners.agent")
            time.sleep(5)

        seen = book.since(killed_at)
        assert seen[502] + seen[503] >= 1, seen
        assert set(seen) <= {200, *CLEAN_ERRORS}, seen
        assert book.first_success_after(killed_at) <= 5

    def test_leaves_no_orphans_after_its_successor_started(self, own_plane: DataPlane) -> None:
        own_plane.upload("orphan", WORK)
        own_plane.invoke("orphan", {})
        before = set(bootstraps_of(own_plane))

        kill(own_plane, "runner")
        own_plane.spawn("runner", "runners.agent")
        own_plane.wait(lambda: own_plane.invoke("orphan", {}).status_code == 200, 10)

        assert before
        own_plane.wait(lambda: not before & set(bootstraps_of(own_plane)))


class TestKilledGateway:
    def test_breaks_connections_and_recovers_within_five_seconds(
        self, own_plane: DataPlane
    ) -> None:
        own_plane.upload("gateway-victim", WORK)
        own_plane.invoke("gateway-victim", {})

        with load(own_plane, "gateway-victim") as book:
            time.sleep(0.5)
            killed_at = kill(own_plane, "gateway")
            own_plane.spawn("gateway", "runners.gateway")
            time.sleep(4)

        seen = book.since(killed_at)
        broken = {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}
        assert any(status in broken for status in seen), seen
        assert set(seen) <= {200, *CLEAN_ERRORS, *broken}, seen
        assert book.first_success_after(killed_at) <= 5


class TestDeadControlPlane:
    def test_gateway_and_runner_keep_serving(self, own_plane: DataPlane) -> None:
        own_plane.upload("alone", WORK)
        own_plane.invoke("alone", {})
        own_plane.control.__exit__()

        with load(own_plane, "alone", clients=4) as book:
            time.sleep(1.5)

        assert set(book.since(0)) == {200}

    def test_both_start_again_from_their_copies_on_disk(self, own_plane: DataPlane) -> None:
        own_plane.upload("from-disk", WORK)
        own_plane.invoke("from-disk", {})
        own_plane.wait(lambda: b"from-disk" in table_on_disk(own_plane, "gateway"))
        own_plane.wait(lambda: b"from-disk" in table_on_disk(own_plane, "runner"))
        own_plane.control.__exit__()

        for name, module in (("gateway", "runners.gateway"), ("runner", "runners.agent")):
            kill(own_plane, name)
            own_plane.spawn(name, module)

        own_plane.wait(lambda: own_plane.invoke("from-disk", {}).status_code == 200, 10)

    def test_code_that_is_not_cached_is_unavailable_and_says_so(self, own_plane: DataPlane) -> None:
        own_plane.upload("not-cached", WORK)
        own_plane.control.__exit__()

        answer = own_plane.invoke("not-cached", {})

        assert (answer.status_code, answer.json()["fault"]) == (503, "platform")
        assert "cannot be fetched" in answer.json()["detail"]

    def test_counts_and_records_arrive_exactly_once_when_it_is_back(
        self, own_plane: DataPlane
    ) -> None:
        own_plane.upload("counted", "def handler(event, context):\n    return 1\n")
        own_plane.control.__exit__()
        first = own_plane.invoke("counted")
        for _ in range(29):
            own_plane.invoke("counted")
        assert first.status_code == 503  # its code could not be fetched

        own_plane.control.__enter__()
        own_plane.wait(lambda: own_plane.invoke("counted").status_code == 200, 10)
        own_plane.wait(lambda: own_plane.control.calls("ok") >= 1, 10)

        own_plane.wait(
            lambda: own_plane.control.calls("ok") + own_plane.control.calls("unavailable") >= 31, 10
        )
        recorded = [record.request_id for record in own_plane.control.records()]
        assert len(recorded) == len(set(recorded))
        assert len(recorded) == sum(
            sum(counts.outcomes.values())
            for report in own_plane.control.reports
            for counts in report.counts
        )


def table_on_disk(plane: DataPlane, role: str) -> bytes:
    path = plane.state / role / "table.json"
    return path.read_bytes() if path.exists() else b""


class TestWrongBytes:
    def test_never_run(self, own_plane: DataPlane) -> None:
        own_plane.upload("tampered", WORK)
        own_plane.control.damage_artifact("tampered")

        answer = own_plane.invoke("tampered", {})

        assert (answer.status_code, answer.json()["fault"]) == (503, "platform")
        assert "not those that were uploaded" in answer.json()["detail"]

    def test_in_the_cache_of_an_earlier_run_are_fetched_again(self, own_plane: DataPlane) -> None:
        own_plane.upload("rotten", "def handler(event, context):\n    return 'good'\n")
        own_plane.invoke("rotten")
        sha256 = own_plane.control.function("rotten").versions[0].code_sha256
        kill(own_plane, "runner")
        code = own_plane.state / "runner" / "code" / sha256 / "app.py"
        code.chmod(0o644)
        code.write_text("def handler(event, context):\n    return 'evil'\n")
        own_plane.spawn("runner", "runners.agent")

        own_plane.wait(lambda: own_plane.invoke("rotten").status_code == 200, 10)

        assert own_plane.invoke("rotten").json()["body"] == '"good"'


class TestSwaps:
    def test_fifty_moves_of_an_alias_under_load_fail_no_call(self, own_plane: DataPlane) -> None:
        own_plane.upload("moving", WORK)
        own_plane.control.alias("moving", "production", {1: 10_000})
        own_plane.control.wait_applied()

        with load(own_plane, "moving", clients=3) as book:
            for number in range(2, 52):
                own_plane.upload("moving", WORK + f"# {number}\n")
                own_plane.control.alias("moving", "production", {number: 10_000})
                own_plane.control.wait_applied()
                time.sleep(0.08)  # let calls reach every version

        assert set(book.since(0)) == {200}
        assert len(book.statuses) >= 50
        assert own_plane.invoke("moving", {}).json()["executedVersion"] == "v51"


class TestDrain:
    @pytest.mark.parametrize("name", ["gateway", "runner"])
    def test_finishes_the_call_in_flight_on_sigterm(self, own_plane: DataPlane, name: str) -> None:
        own_plane.upload(
            "slow", "import time\ndef handler(e, c):\n    time.sleep(1)\n    return 'done'\n"
        )
        own_plane.invoke("slow")
        answers: list[httpx2.Response] = []
        caller = threading.Thread(target=lambda: answers.append(own_plane.raw("slow")))
        caller.start()
        own_plane.wait(lambda: b"executions 1" in httpx2.get(f"{own_plane.url}/metrics").content)

        process = own_plane.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        caller.join()

        assert (answers[0].status_code, answers[0].text) == (200, '"done"')
        assert process.wait(10) == 0
