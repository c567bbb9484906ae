"""All at once: everything to the new version as soon as it is warm. Guarded all the same."""

from deployments.strategies.base import Target, strategies
from deployments.strategies.settings import Settings
from deployments.types import ALL, Plan, Step, Strategy


@strategies.register(Strategy.ALL_AT_ONCE)
def plan(settings: Settings, target: Target) -> Plan:
    """One step; the old version stays warm behind it."""
    return Plan(steps=(Step(name="100 %", weight=ALL, needs_samples=False),))
