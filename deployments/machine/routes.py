"""Routes of steps: which runners serve the candidate, and with which share."""

import math
from collections.abc import Mapping

from deployments.machine.view import Route, Runner
from deployments.types import ALL, Bps, Step


def route_of(step: Step, runners: Mapping[str, Runner], current: Route) -> Route:
    """The route that a step asks for on these runners.

    A rolling step keeps the runners that serve the candidate already and adds from the rest
    in order of their names; a runner that is lost or new is thus planned for anew.
    """
    if step.runner_share is not None:
        return _batch(step, runners, current)
    if step.regions or step.finished_regions:
        return _waves(step, runners)
    return Route(step.weight)


def is_leased(route: Route) -> bool:
    """Whether calls divide: such a route ends by itself when nobody judges it."""
    return 0 < route.weight < ALL or bool(route.runner_weights)


def shares(route: Route, runners: Mapping[str, Runner]) -> dict[str, Bps]:
    """Chance of a call to go to the candidate, by region; "" is every region not named.

    Runners take calls alike, so among the runners of a region it is the mean of their weights.
    """
    if not route.runner_weights:
        return {"": route.weight}
    found: dict[str, list[Bps]] = {}
    for name, runner in runners.items():
        weight = route.runner_weights.get(name, route.weight)
        found.setdefault(runner.region, []).append(weight)
    means = {region: sum(weights) // len(weights) for region, weights in found.items()}
    return {"": route.weight, **means}


def _batch(step: Step, runners: Mapping[str, Runner], current: Route) -> Route:
    share = step.runner_share or 0
    if share >= ALL or not runners:
        return Route(step.weight)
    wanted = math.ceil(len(runners) * share / ALL)
    if len(runners) > 1:
        wanted = min(wanted, len(runners) - 1)
    order = sorted(runners, key=lambda name: (not current.runner_weights.get(name), name))
    return Route(0, dict.fromkeys(sorted(order[:wanted]), step.weight))


def _waves(step: Step, runners: Mapping[str, Runner]) -> Route:
    weights: dict[str, Bps] = {}
    for name, runner in sorted(runners.items()):
        if runner.region in step.finished_regions:
            weights[name] = ALL
        elif runner.region in step.regions:
            weights[name] = step.weight
    if weights and len(weights) == len(runners) and set(weights.values()) == {ALL}:
        return Route(ALL)
    return Route(0, weights)
