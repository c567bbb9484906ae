"""What callers notice of processes that are killed in the middle of swaps. Counts all calls."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from tests.bench.figures import Figure, at_least, at_most
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks
from tests.e2e.deployments.rollouts import function, start
from tests.e2e.ledger import Entry, Ledger, Served, Window, reconcile
from tests.e2e.stack import Stack
from tests.e2e.test_outages import kill

NAME = "swapped-under-faults"
KILLED = ("gateway-1", "worker", "beat", "runner-1")
CALLS_PER_SECOND = 160.0
ROUNDS, APART_SECONDS = 5, 20.0
RECOVERY_GOAL, SUCCESS_GOAL = 5.0, 0.999


@benchmarks.register("faults")
def faults(lab: Lab) -> Iterator[Figure]:
    """Calls answered and seconds to recover while processes are killed during swaps."""
    settings = {"HOTSWAP_GATEWAY_PROCESSES": "2", "HOTSWAP_RUNNER_PROCESSES": "2"}
    with closing(Stack("sandbox", **settings)) as stack:
        lab.say("starting a platform with two gateways and two runners")
        stack.start()
        yield from _faults(lab, stack)


def _faults(lab: Lab, stack: Stack) -> Iterator[Figure]:
    function(stack, NAME, 2)
    served, is_over = Served([Window("v1", 0.0)]), threading.Event()
    killed: list[tuple[str, float]] = []
    with Ledger(stack.gateway_url, stack.token) as ledger:
        ledger.begin(NAME, CALLS_PER_SECOND)
        swapper = threading.Thread(target=_swap, args=(stack, served, is_over.is_set))
        swapper.start()
        for _ in lab.rounds(ROUNDS):
            for name in KILLED:
                time.sleep(lab.seconds(APART_SECONDS))
                killed.append((name, kill(stack, name)))
        time.sleep(lab.seconds(APART_SECONDS))
        is_over.set()
        swapper.join()
    account = reconcile(ledger.entries, {NAME: served})
    yield Figure(
        "fault_success_share", account.answered / account.sent, "", at_least(SUCCESS_GOAL),
        note=str(account),
    )  # fmt: skip
    yield Figure("fault_wrong_version", account.wrong, "calls", at_most(0))
    for name in KILLED:
        seconds = [_recovery(ledger.entries, at) for who, at in killed if who == name]
        figure = f"fault_{name.partition('-')[0]}_recovery_s"
        yield Figure(figure, max(seconds), "s", at_most(RECOVERY_GOAL), tuple(seconds))


def _recovery(entries: list[Entry], at: float) -> float:
    """Seconds from a fault to the last call that began in the next ones and was not answered."""
    near = [e for e in entries if at - 1 < e.sent < at + 3 * RECOVERY_GOAL]
    return max((e.sent - at for e in near if e.status != 200), default=0.0)


def _swap(stack: Stack, served: Served, is_over: Callable[[], bool]) -> None:
    """Forward and back, whatever becomes of each."""
    old, new = "v1", "v2"
    while not is_over():
        served.begin(new)
        last = start(stack, NAME, new, "AllAtOnce", keepBlue="PT0S").until()
        if last["phase"] == "succeeded":
            old, new = new, old
        served.end(new)
