"""Regional: a canary in one region after the other; a failure anywhere ends it everywhere."""

from collections import Counter
from typing import Final

from deployments.strategies.base import SHORTEST_SECONDS, Target, strategies
from deployments.strategies.canary import HOLD_SECONDS, increments
from deployments.strategies.settings import Settings, percent_text
from deployments.types import ALL, Plan, Step, Strategy

BAKE_SECONDS: Final = 1_800.0

Wave = tuple[str, ...]


@strategies.register(Strategy.REGIONAL)
def plan(settings: Settings, target: Target) -> Plan:
    """`waves` of regions, each with a canary inside, then `bakeTime` PT30M at 100 %.

    Without `waves` every region is one, those with fewer runners first.
    """
    shares = increments(settings)
    hold = settings.seconds("canaryDuration", HOLD_SECONDS, least=SHORTEST_SECONDS)
    bake = settings.seconds("bakeTime", BAKE_SECONDS, least=SHORTEST_SECONDS)
    steps = []
    finished: Wave = ()
    for wave in _waves(settings, Counter(target.fleet.regions.values())):
        for share in shares:
            step = Step(
                name=f"{' + '.join(wave)} {percent_text(share)}",
                weight=share,
                hold_seconds=bake if share == ALL else hold,
                regions=wave,
                finished_regions=finished,
            )
            steps.append(step)
        finished += wave
    return Plan(steps=tuple(steps), has_barrier=True)


def _waves(settings: Settings, runners: Counter[str]) -> list[Wave]:
    """The waves asked for, or one per region. `runners` counts them by region."""
    usual: list[Wave] = [(region,) for region in sorted(runners, key=lambda r: (runners[r], r))]
    if not runners or "" in runners:
        settings.fault("strategy", "A regional deployment needs runners that all have a region.")
    given = settings.items("waves")
    if given is None:
        return usual
    waves = [_wave(item) for item in given]
    named = [region for wave in waves for region in wave]
    if not all(waves):
        settings.fault("waves", "Each wave is a region's name, or a list of them.")
    elif len(named) != len(set(named)):
        settings.fault("waves", "A region is named twice.")
    elif strangers := sorted(set(named) - set(runners)):
        settings.fault("waves", f"No runner is in region {strangers[0]}.")
    elif missing := sorted(set(runners) - set(named)):
        settings.fault("waves", f"Region {missing[0]} is in no wave.")
    else:
        return waves
    return usual


def _wave(item: object) -> Wave:
    """The regions of one wave; none when it is no wave."""
    regions = item if isinstance(item, list | tuple) else [item]
    names = tuple(region for region in regions if isinstance(region, str) and region)
    return names if len(names) == len(regions) else ()
