"""What the platform adds to one call at a time."""

from collections.abc import Iterator

from tests.bench import samples
from tests.bench.direct import serving
from tests.bench.figures import Figure, at_most, median_of
from tests.bench.lab import Lab
from tests.bench.load import Load, Place, generate_served, require_wrk
from tests.bench.platform import place, warm_up
from tests.bench.registry import benchmarks

ROUNDS, SECONDS = 7, 4.0
FUNCTION = "latency"


@benchmarks.register("latency")
def latency(lab: Lab) -> Iterator[Figure]:
    """Milliseconds added to the bare handler's at 1 connection, p50 and p99."""
    require_wrk()
    sample = samples.python()
    lab.platform.deploy(FUNCTION, sample)
    warm_up(lab.platform, FUNCTION, samples.payload())
    through: list[Load] = []
    bare: list[Load] = []
    with serving(sample) as direct:
        for target in (place(lab.platform, FUNCTION), direct.place):
            _one_at_a_time(target, 1)
        for _ in lab.rounds(ROUNDS):
            through.append(_one_at_a_time(place(lab.platform, FUNCTION), lab.seconds(SECONDS)))
            bare.append(_one_at_a_time(direct.place, lab.seconds(SECONDS)))
    pairs = list(zip(through, bare, strict=True))
    yield median_of("latency_p50_ms", "ms", [t.p50_ms - b.p50_ms for t, b in pairs], at_most(1))
    yield median_of("latency_p99_ms", "ms", [t.p99_ms - b.p99_ms for t, b in pairs], at_most(10))
    yield median_of("latency_direct_p50_ms", "ms", [b.p50_ms for b in bare])
    yield median_of("latency_direct_p99_ms", "ms", [b.p99_ms for b in bare])


def _one_at_a_time(target: Place, seconds: float) -> Load:
    return generate_served(target, samples.payload(), connections=1, seconds=seconds)
