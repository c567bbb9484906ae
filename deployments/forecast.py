"""How soon a plan would find harm at the traffic that the function has today."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from deployments.analysis import power
from deployments.types import ALL, Bps, Plan, Step
from runners.selectors import usage

DAY: Final = timedelta(days=1)
TIMES_WORSE: Final = 3.0
PROBABILITY: Final = 0.95


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a judge with these limits needs, and how long today's traffic takes to bring it.

    Attributes:
        calls_per_second: of the function, over the last day.
        calls_to_detect: of the candidate, until a rate of three times the limit is found with
            95 %.
        seconds_to_detect: the same by step; None where no call comes, or where none is judged.
    """

    calls_per_second: float
    calls_to_detect: int
    seconds_to_detect: tuple[float | None, ...]


def forecast(*, plan: Plan, function_id: int, created_at: datetime, now: datetime) -> Forecast:
    """Look at the calls of the last day.

    Args:
        created_at: of the function; a younger one has had less time to be called.
    """
    since = max(created_at, now - DAY)
    found = usage.usage_by_function(function_ids=[function_id], since=since).get(function_id)
    seconds = max(60.0, (now - since).total_seconds())
    rate = found.calls / seconds if found else 0.0
    return Forecast(
        calls_per_second=rate,
        calls_to_detect=power.calls_to_detect(plan.limits, TIMES_WORSE, PROBABILITY),
        seconds_to_detect=tuple(_seconds(plan, step, rate) for step in plan.steps),
    )


def share_of(plan: Plan, step: Step) -> Bps:
    """The candidate's share of all calls, where runners, and regions, take them alike."""
    if step.runner_share is not None:
        return step.weight * step.runner_share // ALL
    if step.regions:
        regions = {region for other in plan.steps for region in other.regions}
        taken = len(step.regions) * step.weight + len(step.finished_regions) * ALL
        return taken // len(regions)
    return step.weight


def _seconds(plan: Plan, step: Step, rate: float) -> float | None:
    if not step.is_judged:
        return None
    return power.seconds_to_detect(
        plan.limits, TIMES_WORSE, PROBABILITY, calls_per_second=rate, weight=share_of(plan, step)
    )
