"""Swaps in a row under load, each with the times between which either version may answer."""

import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.e2e.deployments.rollouts import Rollout, start
from tests.e2e.ledger import Served, Window
from tests.e2e.stack import Stack

VERSIONS = 4
QUICK: Mapping[str, object] = {"minimumCalls": 1, "onInconclusive": "promote"}
WAYS: Mapping[str, Mapping[str, object]] = {
    "AllAtOnce": {"keepBlue": "PT0S"},
    "BlueGreen": {"testDuration": "PT0S"},
    "Rolling": {"batchSize": 50, "batchDuration": "PT1S", "keepBlue": "PT0S"},
    "Canary": {
        "increments": [30, 100],
        "canaryPercentage": 30,
        "canaryDuration": "PT1S",
        "keepBlue": "PT0S",
    },
}
ORDER = ("AllAtOnce", "rollback", "AllAtOnce", "Canary", "abort", "BlueGreen", "Rolling")
"""`rollback` goes forward and back after promotion, `abort` before it."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of version, from its request until no call may get the other one."""

    function: str
    way: str
    began: float
    ended: float

    def covers(self, moment: float) -> bool:
        return self.began <= moment <= self.ended


@dataclass
class Swapper:
    """Leads a function that serves v1 from version to version by every strategy, and back.

    Attributes:
        served: what its alias may have served, and when.
        swaps: what every gateway has taken.
    """

    stack: Stack
    function: str
    served: Served = field(default_factory=lambda: Served([Window("v1", 0.0)]))
    swaps: list[Swap] = field(default_factory=list)
    current: int = 1

    def run(self, is_over: Callable[[], bool]) -> None:
        """Swap until it is over, and finish what was begun."""
        for way in itertools.cycle(ORDER):
            if is_over():
                return
            self.swap(way)

    def swap(self, way: str) -> None:
        """Change versions in one way."""
        if way == "rollback":
            self._back("AllAtOnce", "settling", "rollback")
        elif way == "abort":
            self._back("Canary", "observing", "abort")
        else:
            self._forward(way)

    def _begin(self, way: str, **changes: object) -> tuple[Rollout, str, str]:
        old, new = f"v{self.current}", f"v{self.current % VERSIONS + 1}"
        self.served.begin(new)
        settings = {**QUICK, **WAYS[way], **changes}
        return start(self.stack, self.function, new, way, **settings), old, new

    def _forward(self, way: str) -> None:
        began = time.monotonic()
        rollout, old, new = self._begin(way)
        rollout.until("settling", "succeeded")
        self._taken(way, began, old)
        self.current = int(new[1:])
        if way == "BlueGreen":
            rollout.give("promote-full", "no need to wait")
        rollout.until("succeeded")

    def _back(self, way: str, phase: str, command: str) -> None:
        began = time.monotonic()
        rollout, old, new = self._begin(way, keepBlue="PT1H")
        rollout.until(phase)
        if phase == "settling":
            self._taken(way, began, old)
            self.served.begin(old)
        asked = time.monotonic()
        rollout.give(command)
        rollout.until("rolled-back")
        self._taken(command, asked, new)

    def _taken(self, way: str, began: float, other: str) -> None:
        """Every gateway has said so: no new call gets the other version from here on."""
        self.served.end(other)
        self.swaps.append(Swap(self.function, way, began, time.monotonic()))


def swap_all(swappers: list[Swapper], is_over: Callable[[], bool]) -> None:
    """Swap several functions at the same time, each in a row of its own."""
    with ThreadPoolExecutor(len(swappers)) as pool:
        list(pool.map(lambda swapper: swapper.run(is_over), swappers))
