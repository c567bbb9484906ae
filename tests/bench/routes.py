"""What a call costs among ten thousand functions, against ten."""

from collections.abc import Iterator

from tests.bench import samples
from tests.bench.figures import Figure, at_most, median_of
from tests.bench.lab import Lab
from tests.bench.load import generate_served, require_wrk
from tests.bench.platform import Platform, place, warm_up
from tests.bench.processes import cpu_us
from tests.bench.registry import benchmarks

FUNCTION = "routes"
FEW, MANY = 10, 10_000
CONNECTIONS = 16
ROUNDS, SECONDS = 9, 3.0


@benchmarks.register("routes")
def routes(lab: Lab) -> Iterator[Figure]:
    """CPU time of gateway and runner per call with 10,000 functions against 10."""
    require_wrk()
    few, many = lab.platform, lab.crowded
    few.seed(FEW)
    many.seed(MANY)
    for platform in (few, many):
        platform.deploy(FUNCTION, samples.python())
        warm_up(platform, FUNCTION, samples.payload())
        _cpu_per_call(platform, 2)
    ours: list[tuple[float, float]] = []
    for _ in lab.rounds(ROUNDS):
        seconds = lab.seconds(SECONDS)
        ours.append((_cpu_per_call(few, seconds), _cpu_per_call(many, seconds)))
    yield median_of("route_growth_ratio", "", [b / a for a, b in ours], at_most(1.1))
    yield median_of("route_few_cpu_us", "us/call", [a for a, _ in ours])
    yield median_of("route_many_cpu_us", "us/call", [b for _, b in ours])


def _cpu_per_call(platform: Platform, seconds: float) -> float:
    pids = [*platform.pids("gateway"), *platform.pids("runner")]
    before = cpu_us(pids)
    load = generate_served(
        place(platform, FUNCTION), samples.payload(), connections=CONNECTIONS, seconds=seconds
    )
    return (cpu_us(pids) - before) / load.calls
