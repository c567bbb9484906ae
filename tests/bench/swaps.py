"""Whether swaps drop, repeat or misdirect any call, and what they cost in latency."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from tests.bench.figures import Figure, at_least, at_most
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks
from tests.e2e.deployments.rollouts import function
from tests.e2e.deployments.swaps import VERSIONS, Swapper, swap_all
from tests.e2e.ledger import Ledger, p99, reconcile
from tests.e2e.stack import Stack

FUNCTIONS = ("swapped-a", "swapped-b")
CALLS_PER_SECOND = 160.0
CALLS, SWAPS = 200_000, 200
QUICK_CALLS, QUICK_SWAPS = 10_000, 15
BEFORE_SECONDS = 20.0
LONGEST_SECONDS = 3_600.0


@benchmarks.register("swaps")
def swaps(lab: Lab) -> Iterator[Figure]:
    """Calls dropped, repeated or answered by a wrong version over many swaps."""
    calls, least = (QUICK_CALLS, QUICK_SWAPS) if lab.quick else (CALLS, SWAPS)
    settings = {"HOTSWAP_GATEWAY_PROCESSES": "2", "HOTSWAP_RUNNER_PROCESSES": "2"}
    with closing(Stack("sandbox", **settings)) as stack:
        lab.say("starting a platform with two gateways and two runners")
        stack.start()
        yield from _swaps(lab, stack, calls, least)


def _swaps(lab: Lab, stack: Stack, calls: int, least: int) -> Iterator[Figure]:
    for name in FUNCTIONS:
        function(stack, name, VERSIONS)
    swappers = [Swapper(stack, name) for name in FUNCTIONS]
    with Ledger(stack.gateway_url, stack.token) as ledger:
        for name in FUNCTIONS:
            ledger.begin(name, CALLS_PER_SECOND / len(FUNCTIONS))
        time.sleep(5 + lab.seconds(BEFORE_SECONDS))
        began = time.monotonic()

        def is_over() -> bool:
            done = sum(len(swapper.swaps) for swapper in swappers)
            is_late = time.monotonic() - began > LONGEST_SECONDS
            return is_late or (len(ledger.entries) >= calls and done >= least)

        swap_all(swappers, is_over)
    account = reconcile(ledger.entries, {s.function: s.served for s in swappers})
    ways = Counter(swap.way for swapper in swappers for swap in swapper.swaps)
    said = ", ".join(f"{number} {way}" for way, number in ways.most_common())
    yield Figure("swap_dropped", account.dropped, "calls", at_most(0), note=str(account))
    yield Figure("swap_duplicated", account.duplicated, "calls", at_most(0))
    yield Figure("swap_wrong_version", account.wrong, "calls", at_most(0))
    yield Figure("swap_calls", account.sent, "calls", at_least(calls))
    yield Figure("swap_count", ways.total(), "swaps", at_least(least), note=said)
    # The first seconds start instances; they are no measure of what a quiet time is.
    first = min(swap.began for swapper in swappers for swap in swapper.swaps)
    before = p99(e for e in ledger.entries if began - lab.seconds(BEFORE_SECONDS) < e.sent < first)
    during = p99(
        entry
        for swapper in swappers
        for entry in ledger.of(swapper.function)
        if any(swap.covers(entry.sent) for swap in swapper.swaps)
    )
    yield Figure("swap_p99_before_ms", before * 1000, "ms")
    yield Figure("swap_p99_during_ms", during * 1000, "ms")
    yield Figure("swap_p99_ratio", during / before, "", at_most(1.2))
