"""Canary: growing shares of all calls, each observed for a time."""

from itertools import pairwise
from typing import Final

from deployments.strategies.base import SHORTEST_SECONDS, Target, strategies
from deployments.strategies.settings import Settings, percent_text
from deployments.types import ALL, Bps, Plan, Step, Strategy

FIRST: Final[Bps] = 1_000
MIDDLE: Final[Bps] = 5_000
HOLD_SECONDS: Final = 600.0
INCREMENTS_MOST: Final = 20


@strategies.register(Strategy.CANARY)
def plan(settings: Settings, target: Target) -> Plan:
    """`canaryPercentage` 10, `increments` [10, 50, 100], `canaryDuration` PT10M for each."""
    seconds = settings.seconds("canaryDuration", HOLD_SECONDS, least=SHORTEST_SECONDS)
    steps = [
        Step(name=percent_text(weight), weight=weight, hold_seconds=seconds)
        for weight in increments(settings)
    ]
    return Plan(steps=tuple(steps))


def increments(settings: Settings) -> list[Bps]:
    """Rising shares in basis points; the last is everything, those before are not."""
    first = settings.percent("canaryPercentage", FIRST, least=1, most=ALL - 1)
    usual = sorted({first, max(first, MIDDLE), ALL})
    given = settings.items("increments")
    if given is None:
        return usual
    found = [settings.share("increments", item, least=1, most=ALL) for item in given]
    shares = [share for share in found if share is not None]
    if len(shares) < len(given):
        return usual
    if problem := _problem(shares):
        settings.fault("increments", problem)
        return usual
    if "canaryPercentage" in settings and shares[0] != first:
        settings.fault("increments", "The first must be canaryPercentage, when that is given.")
    return shares


def _problem(shares: list[Bps]) -> str:
    if len(shares) > INCREMENTS_MOST:
        return f"There may be at most {INCREMENTS_MOST}."
    if any(later <= share for share, later in pairwise(shares)):
        return "Each must be larger than the one before."
    if shares[-1] != ALL:
        return "The last must be 100."
    if len(shares) == 1:
        return "At least one must be below 100; without one it is AllAtOnce."
    return ""
