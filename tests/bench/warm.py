"""Warm calls: the whole path beside the bare handler, in interleaved rounds."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.bench import samples
from tests.bench.direct import Direct, serving
from tests.bench.figures import Figure, Goal, at_least, median_of
from tests.bench.lab import Lab
from tests.bench.load import Load, Place, generate_served, require_wrk
from tests.bench.platform import Platform, place, warm_up
from tests.bench.processes import cpu_us_each, spent_us
from tests.bench.registry import benchmarks
from tests.bench.samples import Sample

CONNECTIONS = 32
ROUNDS, SECONDS, WARM_UP_SECONDS = 7, 5.0, 3.0
ROLES = ("gateway", "runner", "instances")


@benchmarks.register("warm")
def warm(lab: Lab) -> Iterator[Figure]:
    """Calls a second at 32 connections, 1 KB in and out, against the bare handler."""
    require_wrk()
    yield from _compare(lab, samples.python(), at_least(0.55))
    yield from _compare(lab, samples.node(), at_least(0.7))


def _compare(lab: Lab, sample: Sample, goal: Goal) -> Iterator[Figure]:
    platform = lab.platform
    function = f"warm-{sample.language}"
    platform.deploy(function, sample)
    warm_up(platform, function, samples.payload())
    lab.say(f"warm: {sample.language} ({sample.runtime}, {sample.interpreter})")
    taken: dict[str, list[float]] = defaultdict(list)
    with serving(sample) as direct:
        for target in (place(platform, function), direct.place):
            _load(target, WARM_UP_SECONDS)
        for _ in lab.rounds(ROUNDS):
            _round(lab, platform, place(platform, function), direct, taken)
    yield from _figures(f"warm_{sample.language}", taken, goal)


def _round(
    lab: Lab, platform: Platform, target: Place, direct: Direct, taken: dict[str, list[float]]
) -> None:
    """One measurement of the platform, one of the bare handler."""
    seconds = lab.seconds(SECONDS)
    groups: dict[str, Callable[[], list[int]]] = {
        role: lambda role=role: platform.pids(role)  # type: ignore[misc]
        for role in ROLES
    }
    through, spent = _measured(target, seconds, groups)
    bare, bare_spent = _measured(direct.place, seconds, {"direct": lambda: [direct.pid]})
    taken["calls"].append(through.good_per_second)
    taken["direct_calls"].append(bare.good_per_second)
    taken["ratio"].append(through.good_per_second / bare.good_per_second)
    for name, microseconds in (spent | bare_spent).items():
        taken[name].append(microseconds)


def _measured(
    target: Place, seconds: float, groups: dict[str, Callable[[], list[int]]]
) -> tuple[Load, dict[str, float]]:
    """What wrk saw, and the CPU time per call of each group of processes."""
    before = {name: cpu_us_each(find()) for name, find in groups.items()}
    load = _load(target, seconds)
    after = {name: cpu_us_each(find()) for name, find in groups.items()}
    return load, {name: spent_us(before[name], after[name]) / load.calls for name in groups}


def _load(target: Place, seconds: float) -> Load:
    return generate_served(target, samples.payload(), connections=CONNECTIONS, seconds=seconds)


def _figures(name: str, taken: dict[str, list[float]], goal: Goal) -> Iterator[Figure]:
    yield median_of(f"{name}_ratio", "", taken["ratio"], goal)
    yield median_of(f"{name}_calls", "calls/s", taken["calls"])
    yield median_of(f"{name}_direct_calls", "calls/s", taken["direct_calls"])
    for group in (*ROLES, "direct"):
        yield median_of(f"{name}_{group}_cpu_us", "us/call", taken[group])
