"""A/B testing: both versions side by side, each caller always on the same, a person decides."""

import re
from collections.abc import Mapping
from typing import Final

from deployments.strategies.base import SHORTEST_SECONDS, Target, strategies
from deployments.strategies.settings import Settings, percent_text
from deployments.types import ALL, Bps, Plan, Step, Strategy

HOLD_SECONDS: Final = 3_600.0
HALF: Final[Bps] = ALL // 2
VERSION: Final = re.compile(r"[vV]?([1-9][0-9]{0,8})")

_NOTHING_SERVED: Final = "The alias serves no version yet, so there is nothing to compare with."


@strategies.register(Strategy.AB_TESTING)
def plan(settings: Settings, target: Target) -> Plan:
    """`versionA` and `versionB` with a `trafficSplit`, `testDuration` PT1H, `manualPromotion`.

    The version that the alias serves now is the stable arm, whichever letter it has.
    """
    arms = [_version(settings, "versionA"), _version(settings, "versionB")]
    shares = _split(settings, arms)
    if all(arms) and {target.stable, target.candidate} != set(arms):
        settings.fault("versionA", _arms_text(target))
    weight = shares.get(target.candidate or 0, HALF)
    hold = settings.seconds("testDuration", HOLD_SECONDS, least=SHORTEST_SECONDS)
    is_manual = settings.flag("manualPromotion", default=True)
    test = Step(name=f"test at {percent_text(weight)}", weight=weight, hold_seconds=hold)
    return Plan(
        steps=(test,) if is_manual else (test, Step(name="100 %", weight=ALL, needs_samples=False)),
        is_decided_by_person=is_manual,
        unit="user",
    )


def candidate_of(config: Mapping[str, object], stable: int | None) -> int:
    """Number of the arm that the alias does not serve now.

    Raises:
        InvalidInput: a version is missing, or neither or both are the stable one.
    """
    settings = Settings(config)
    arms = [_version(settings, "versionA"), _version(settings, "versionB")]
    others = [number for number in arms if number and number != stable]
    if stable is None:
        settings.fault("versionA", _NOTHING_SERVED)
    elif all(arms) and len(others) != 1:
        settings.fault("versionA", f"One of both must be v{stable}, which the alias serves now.")
    settings.refuse()
    return others[0]


def _version(settings: Settings, key: str) -> int:
    """A version's number; 0 after a fault."""
    value = settings.raw(key)
    found = VERSION.fullmatch(str(value)) if isinstance(value, str | int) else None
    if found is None:
        settings.fault(key, "It must name a version, such as v3.")
        return 0
    return int(found[1])


def _split(settings: Settings, arms: list[int]) -> dict[int, Bps]:
    """Share by version; halves when nothing is said, and after a fault."""
    split = settings.mapping("trafficSplit")
    if split is None or not all(arms):
        return dict.fromkeys(arms, HALF)
    shares: dict[int, Bps] = {}
    for name, value in split.items():
        found = VERSION.fullmatch(name)
        share = settings.share("trafficSplit", value, least=1, most=ALL - 1)
        if found is not None and share is not None:
            shares[int(found[1])] = share
    if set(shares) != set(arms):
        settings.fault("trafficSplit", f"It must give a share to v{arms[0]} and to v{arms[1]}.")
    elif sum(shares.values()) != ALL:
        settings.fault("trafficSplit", "The shares must sum to 100.")
    return shares


def _arms_text(target: Target) -> str:
    if target.stable is None:
        return _NOTHING_SERVED
    return (
        f"One must be v{target.stable}, which the alias serves now, and the other the version "
        f"that is deployed, v{target.candidate}."
    )
