"""bin/up as its operator meets it: start, stop, crashes, kills, a second start."""

import os
import signal
import subprocess
import sys

import pytest

from hotswap.supervisor.install import ROOT
from hotswap.supervisor.state import State
from tests.e2e.stack import Stack

SOURCE = "def handler(event, context):\n    return {'got': event}\n"

pytestmark = pytest.mark.slow


class TestRunningPlatform:
    def test_answers_a_call_to_a_function_just_deployed(self, stack: Stack) -> None:
        stack.deploy("just-deployed", {"app.py": SOURCE})

        reply = stack.invoke("just-deployed", {"n": 1})

        assert (reply.status_code, reply.json()["body"]) == (200, '{"got":{"n":1}}')

    def test_restarts_a_crashed_process_and_says_so(self, stack: Stack) -> None:
        before = stack.pids()["beat"]

        os.kill(before, signal.SIGKILL)

        stack.wait(lambda: stack.pids().get("beat", before) != before)
        assert "beat was killed by signal 9; restarting in 0.5 s" in stack.output()

    def test_refuses_a_second_start_on_the_same_state(self, stack: Stack) -> None:
        second = _up("--state", str(stack.directory))

        assert second.returncode == 1
        assert f"is in use by another bin/up (pid {stack.pid})" in second.stderr

    def test_shows_its_status(self, stack: Stack) -> None:
        status = _up("--state", str(stack.directory), "--status")

        assert status.returncode == 0
        assert f"pid {stack.pids()['web']}" in status.stdout


class TestSeveralRunners:
    def test_serve_together_and_are_tended_one_by_one(self, runners_stack: Stack) -> None:
        stack = runners_stack
        stack.start()
        stack.deploy("two", {"app.py": SOURCE})
        stack.wait(lambda: runners_of(stack).keys() == {"box-0", "box-1"})
        before = stack.pids()

        os.kill(before["runner-0"], signal.SIGKILL)
        alone = {stack.invoke("two", n).status_code for n in range(10)}
        stack.wait(lambda: stack.pids().get("runner-0", 0) not in (0, before["runner-0"]), 15)
        stack.wait(lambda: stack.log("gateway-0").count("connected to runner box-0") == 2, 20)

        assert alone <= {200, 502}
        assert {stack.invoke("two", n).status_code for n in range(10)} == {200}
        assert stack.pids()["runner-1"] == before["runner-1"]
        regions = {name: runner["region"] for name, runner in runners_of(stack).items()}
        assert regions == {"box-0": "north", "box-1": "south"}
        assert stack.stop() == 0
        assert not [pid for pid in before.values() if _runs(pid)]


def runners_of(stack: Stack) -> dict[str, dict[str, object]]:
    """Name -> what the API says of each runner."""
    items = stack.api.get("/api/v1/runners").json()["items"]
    return {runner["name"]: runner for runner in items}


class TestStop:
    def test_ends_every_process_and_keeps_the_data(self, own_stack: Stack) -> None:
        own_stack.start()
        own_stack.deploy("kept", {"app.py": SOURCE})
        pids = own_stack.pids()

        status = own_stack.stop()
        left = [pid for pid in pids.values() if _runs(pid)]
        own_stack.start()
        own_stack.wait(lambda: own_stack.knows("kept"))

        assert (status, left) == (0, [])
        assert own_stack.invoke("kept", 7).json()["body"] == '{"got":7}'

    def test_survives_a_killed_supervisor(self, own_stack: Stack) -> None:
        own_stack.start()
        pids = own_stack.pids()

        own_stack.kill()
        own_stack.start()

        assert not [pid for pid in pids.values() if _runs(pid)]


class TestStart:
    def test_names_the_port_that_is_taken(self, stack: Stack, own_stack: Stack) -> None:
        port = stack.url.rpartition(":")[2]

        refused = _up("--state", str(own_stack.directory), "--port", port, "--backend", "sandbox")

        assert refused.returncode == 1
        assert f"Port {port} on 127.0.0.1 is in use by another program" in refused.stderr
        assert State(own_stack.directory).children() == {}

    def test_runs_the_sample_in_a_check(self, own_stack: Stack) -> None:
        checked = _up("--check", "--state", str(own_stack.directory), "--backend", "sandbox")

        assert checked.returncode == 0, checked.stderr
        assert "Calling hello through the gateway" in checked.stdout


def _up(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOTSWAP_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "hotswap.supervisor.up", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=110,
        check=False,
    )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
