"""Rolling: runner by runner; an updated one serves the new version only."""

import math
from typing import Final

from deployments.strategies.base import SHORTEST_SECONDS, Target, strategies
from deployments.strategies.settings import Settings
from deployments.types import ALL, Bps, Plan, Step, Strategy

BATCH: Final[Bps] = 2_500
HOLD_SECONDS: Final = 300.0


@strategies.register(Strategy.ROLLING)
def plan(settings: Settings, target: Target) -> Plan:
    """`batchSize` 25 % of the runners at a time, `batchDuration` PT5M for each batch.

    Never all runners at once, unless there is only one.
    """
    size = settings.percent("batchSize", BATCH, least=100, most=ALL)
    seconds = settings.seconds("batchDuration", HOLD_SECONDS, least=SHORTEST_SECONDS)
    # Runners that are not there yet cannot be counted: then batches are shares of any number.
    runners = len(target.fleet.regions) or ALL
    batch = max(1, min(math.ceil(runners * size / ALL), runners - 1))
    ends = [*range(batch, runners, batch), runners]
    steps = [
        Step(
            name=f"batch {number} of {len(ends)}",
            weight=ALL,
            hold_seconds=seconds,
            runner_share=end * ALL // runners,
        )
        for number, end in enumerate(ends, 1)
    ]
    return Plan(steps=tuple(steps))
