"""Blue-green: the new version stands beside the old one at full size, then takes all calls."""

from typing import Final

from deployments.strategies.base import Target, strategies
from deployments.strategies.settings import Settings
from deployments.types import ALL, Plan, Step, Strategy

TEST_SECONDS: Final = 300.0
KEEP_BLUE_SECONDS: Final = 3_600.0


@strategies.register(Strategy.BLUE_GREEN)
def plan(settings: Settings, target: Target) -> Plan:
    """`testDuration` PT5M at 0 %, open to the preview key and hooks only; `keepBlue` PT1H."""
    if "switchType" in settings and str(settings.raw("switchType")).lower() != "instant":
        settings.fault(
            "switchType",
            "It must be Instant: shares that grow step by step are the Canary strategy.",
        )
    test = settings.seconds("testDuration", TEST_SECONDS)
    # Calls that began on blue may still run that long after the switch.
    keep = settings.seconds("keepBlue", KEEP_BLUE_SECONDS, least=target.timeout_seconds)
    return Plan(
        steps=(
            Step(name="green", weight=0, hold_seconds=test, needs_samples=False, is_judged=False),
            Step(name="switch", weight=ALL, needs_samples=False),
        ),
        keep_blue_seconds=keep,
        warms_fully=True,
    )
