"""All at once: everything to the new version as soon as it is warm. Guarded all the same."""

from deployments.strategies.base import Target, strategies
from deployments.strategies.settings import Settings
from deployments.types import ALL, Plan, Step, Strategy


@strategies.register(Strategy.ALL_AT_ONCE)
def plan(settings: Settings, target: Target) -> Plan:
    """One step, onto as many instances as the old version has; it stays warm behind them."""
    step = Step(name="100 %", weight=ALL, needs_samples=False)
    return Plan(steps=(step,), warms_fully=True)
