"""Parts of the platform die in the middle of a rollout."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import require_backend
from tests.e2e.deployments.rollouts import function, served, start
from tests.e2e.ledger import Entry, Ledger
from tests.e2e.stack import Stack
from tests.e2e.test_outages import api_answers, family, kill

SETTINGS = {"HOTSWAP_GATEWAY_PROCESSES": "2", "HOTSWAP_RUNNER_PROCESSES": "2"}
LONG = {"increments": [50, 100], "canaryPercentage": 50, "canaryDuration": "PT1H"}
CONTROL_PLANE = ("web", "worker", "worker-outside", "beat", "postgres", "valkey")
HOME_SECONDS = 35.0
RECOVERY_SECONDS = 5.0
RATE = 40.0

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A platform with two gateways and two runners; every test leaves it working."""
    require_backend("sandbox")
    stack = Stack("sandbox", **SETTINGS)
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


class TestKilledMidRollout:
    @pytest.mark.parametrize("name", ["worker", "beat", "web", "gateway-1", "runner-1"])
    def test_part_comes_back_and_the_rollout_ends_as_it_should(
        self, stack: Stack, name: str
    ) -> None:
        """C34, C72: what the killed process held in its hands is counted, too."""
        called = f"beside-{name}"
        stack.wait(lambda: api_answers(stack), 60)
        function(stack, called)
        with Ledger(stack.gateway_url, stack.token) as ledger:
            ledger.begin(called, RATE)
            rollout = start(
                stack, called, "v2", "Canary", increments=[50, 100], canaryPercentage=50,
                canaryDuration="PT6S", minimumCalls=10, keepBlue="PT0S", onInconclusive="promote",
            )  # fmt: skip
            rollout.at_weight(5_000)
            killed_at = kill(stack, name)
            last = rollout.until()
            time.sleep(2)
        calls = ledger.of(called)

        failed = [entry for entry in calls if entry.status != 200]
        assert last["phase"] in ("succeeded", "rolled-back"), last["reason"]
        if name in ("worker", "beat", "web"):
            assert failed == []
        assert recovery(calls, killed_at) <= RECOVERY_SECONDS, Counter(e.status for e in calls)
        assert served(stack, called) == {"v2" if last["phase"] == "succeeded" else "v1": 10_000}


class TestNobodyJudges:
    def test_calls_are_stable_within_35_seconds_and_the_rollout_is_over_after_a_restart(
        self, stack: Stack
    ) -> None:
        """Rule 10, C34: the lease runs out at the gateways, and nobody is needed for that. Of the
        rest only the runners are spared: without them no answer would show its version."""
        stack.wait(lambda: api_answers(stack), 60)
        function(stack, "leased")
        with Ledger(stack.gateway_url, stack.token) as ledger:
            ledger.begin("leased", 10.0)
            rollout = start(stack, "leased", "v2", "Canary", **LONG)
            rollout.at_weight(5_000)
            time.sleep(2)
            os.kill(stack.pid, signal.SIGSTOP)  # or it would start what is killed again
            for name in CONTROL_PLANE:
                for pid in family(stack.pids()[name]):
                    os.kill(pid, signal.SIGKILL)
            killed_at = time.monotonic()
            time.sleep(HOME_SECONDS + 3)
            os.kill(stack.pid, signal.SIGCONT)
        calls = ledger.of("leased")

        split = [e for e in calls if killed_at - 2 < e.sent < killed_at]
        home = [e for e in calls if killed_at + HOME_SECONDS < e.sent]
        assert {e.version for e in split} == {"v1", "v2"}
        assert {(e.version, e.status) for e in home} == {("v1", 200)}

        stack.wait(lambda: api_answers(stack), 60)
        last = rollout.ended("rolled-back", serves="v1")
        assert "Lease lost" in last["reason"]


def recovery(calls: list[Entry], fault_at: float) -> float:
    """Seconds from a fault to the first call after which all were good."""
    bad = [e.sent for e in calls if e.sent >= fault_at - 1 and e.status != 200]
    return max(bad, default=fault_at) - fault_at
