"""How fast a rollout goes back: by itself, and when it is asked to."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from tests.bench.figures import Figure, NotMeasured, at_most, percentile
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks
from tests.e2e.deployments.rollouts import Rollout, function, start
from tests.e2e.ledger import Ledger
from tests.e2e.stack import Stack

FAILS = "raise OSError('broken')"
GATEWAYS = 4
CALLS_PER_SECOND = 40.0
BREACHES, ROLLBACKS = 20, 20
BREACH_GOAL, ACK_GOAL, ROLLBACK_GOAL = 5.0, 2.0, 1.0


@benchmarks.register("rollouts")
def rollouts(lab: Lab) -> Iterator[Figure]:
    """Breach to restored route, verdict to last gateway, rollback call to the old version."""
    with closing(Stack("sandbox", HOTSWAP_GATEWAY_PROCESSES=str(GATEWAYS))) as stack:
        lab.say(f"starting a platform with {GATEWAYS} gateways")
        stack.start()
        with Ledger(stack.gateway_url, stack.token) as ledger:
            yield from _breaches(stack, ledger, len(lab.rounds(BREACHES)))
            yield from _rollbacks(stack, ledger, len(lab.rounds(ROLLBACKS)))


def _breaches(stack: Stack, ledger: Ledger, rounds: int) -> Iterator[Figure]:
    """A canary that fails every call, at 20 %: how long until no call meets it."""
    name = "breach"
    function(stack, name, {1: "", 2: FAILS})
    ledger.begin(name, CALLS_PER_SECOND)
    restored: list[float] = []
    acked: list[float] = []
    for _ in range(rounds):
        began = time.monotonic()
        rollout = start(
            stack, name, "v2", "Canary", increments=[20, 100], canaryPercentage=20,
            canaryDuration="PT1H",
        )  # fmt: skip
        rollout.until("rolled-back")
        bad = [entry for entry in ledger.of(name, since=began) if entry.status != 200]
        if not bad:
            raise NotMeasured("no call met the failing version")
        first, last = min(entry.answered for entry in bad), max(entry.answered for entry in bad)
        restored.append(last - first)
        acked.append(_seconds(rollout, "rolling-back", "rolled-back"))
    ledger.end(name)
    note = f"at {CALLS_PER_SECOND:g} calls/s, {rounds} rollouts"
    yield Figure(
        "breach_to_restored_s", max(restored), "s", at_most(BREACH_GOAL), tuple(restored), note
    )
    yield Figure(
        "verdict_to_last_ack_p99_s", percentile(acked, 0.99), "s", at_most(ACK_GOAL), tuple(acked),
        f"{GATEWAYS} gateways, calls on the version ended, too",
    )  # fmt: skip


def _seconds(rollout: Rollout, first: str, second: str) -> float:
    """Between two phases, by the events."""
    at = {event["toPhase"]: datetime.fromisoformat(event["at"]) for event in rollout.events()}
    return (at[second] - at[first]).total_seconds()


def _rollbacks(stack: Stack, ledger: Ledger, rounds: int) -> Iterator[Figure]:
    """A promoted version is taken back by one call."""
    name = "taken-back"
    function(stack, name, 2)
    ledger.begin(name, CALLS_PER_SECOND)
    seconds: list[float] = []
    for _ in range(rounds):
        rollout = start(stack, name, "v2", "AllAtOnce", keepBlue="PT1H")
        rollout.until("settling")
        time.sleep(1)
        asked = time.monotonic()
        rollout.give("rollback")
        rollout.until("rolled-back")
        time.sleep(0.5)
        newer = [e.sent for e in ledger.of(name, since=asked) if e.version == "v2"]
        seconds.append(max(newer, default=asked) - asked)
    ledger.end(name)
    yield Figure(
        "rollback_call_p99_s", percentile(seconds, 0.99), "s", at_most(ROLLBACK_GOAL),
        tuple(seconds), f"until the last call that began on the new version; {rounds} rollbacks",
    )  # fmt: skip
