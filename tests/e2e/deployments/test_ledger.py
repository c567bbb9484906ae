"""Every call of an open-loop load is accounted for while versions are swapped under it."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import require_backend
from tests.e2e.deployments.rollouts import function
from tests.e2e.deployments.swaps import VERSIONS, Swapper, swap_all
from tests.e2e.ledger import Ledger, reconcile
from tests.e2e.stack import Stack

CALLS, SWAPS = 5_000, 15
FUNCTIONS = ["ledger-a", "ledger-b", "ledger-c"]
CALLS_PER_SECOND = 90.0
LONG_SECONDS = 20.0

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A platform with two gateways and two runners."""
    require_backend("sandbox")
    settings = {"HOTSWAP_GATEWAY_PROCESSES": "2", "HOTSWAP_RUNNER_PROCESSES": "2"}
    stack = Stack("sandbox", **settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.close()


class TestSwapsUnderLoad:
    def test_drop_and_repeat_nothing_and_serve_only_current_versions(self, stack: Stack) -> None:
        """C29, C70, C71, C72: calls of every kind, one of them longer than several swaps."""
        for name in FUNCTIONS:
            function(stack, name, VERSIONS, timeout=60)

        with Ledger(stack.gateway_url, stack.token) as ledger:
            for name in FUNCTIONS:
                ledger.begin(name, CALLS_PER_SECOND / len(FUNCTIONS))
            long_call = ledger.once(FUNCTIONS[0], seconds=LONG_SECONDS)
            swappers = [Swapper(stack, name) for name in FUNCTIONS]

            def is_over() -> bool:
                swaps = sum(len(swapper.swaps) for swapper in swappers)
                return len(ledger.entries) >= CALLS and swaps >= SWAPS

            swap_all(swappers, is_over)
        account = reconcile(ledger.entries, {s.function: s.served for s in swappers})

        ways = Counter(swap.way for swapper in swappers for swap in swapper.swaps)
        assert (account.dropped, account.duplicated, account.wrong) == (0, 0, 0), account
        assert account.sent == account.answered == account.executed >= CALLS
        assert ways.total() >= SWAPS, ways
        assert {"AllAtOnce", "rollback", "Canary"} <= set(ways), ways
        assert long_call.status == 200
        assert long_call.seconds >= LONG_SECONDS
