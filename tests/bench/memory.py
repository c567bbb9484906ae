"""Memory: of one idle instance, of the data plane, of deployed functions that do not run."""

import time
from collections.abc import Iterator

from tests.bench import samples
from tests.bench.figures import Figure, Goal, at_most, median_of
from tests.bench.lab import Lab
from tests.bench.load import generate_served, require_wrk
from tests.bench.platform import Platform, place, warm_up
from tests.bench.processes import cpu_us, pss_mib, rss_mib
from tests.bench.registry import benchmarks
from tests.bench.samples import Sample

CONNECTIONS = 8
WORKED_US = 5_000
IDLE_SECONDS = 7.0  # long enough to be frozen
DEPLOYED = 1_000


@benchmarks.register("memory")
def memory(lab: Lab) -> Iterator[Figure]:
    """MiB of an idle instance, of gateway and runner, and of 1,000 deployed functions."""
    require_wrk()
    yield _idle("idle_instance_mib", lab.platform, samples.python(), at_most(8))
    yield _idle("idle_instance_node_mib", lab.platform, samples.node(), at_most(12))

    crowded = lab.crowded
    before = _data_plane(crowded)
    yield Figure("gateway_mib", before["gateway"], "MiB")
    yield Figure("runner_mib", before["runner"], "MiB")
    crowded.seed(DEPLOYED)
    time.sleep(2.0)
    growth = sum(_data_plane(crowded).values()) - sum(before.values())
    yield Figure("deployed_1000_mib", growth, "MiB")


def _idle(name: str, platform: Platform, sample: Sample, goal: Goal) -> Figure:
    """Proportional memory of instances that have worked and then rested."""
    function = f"memory-{sample.language}"
    platform.deploy(function, sample)
    warm_up(platform, function, samples.payload())
    known = {pid: cpu_us([pid]) for pid in platform.pids("instances")}
    generate_served(
        place(platform, function), samples.payload(), connections=CONNECTIONS, seconds=2
    )
    worked = [
        pid for pid in platform.pids("instances") if cpu_us([pid]) - known.get(pid, 0.0) > WORKED_US
    ]
    time.sleep(IDLE_SECONDS)
    still = set(platform.pids("instances"))
    sizes = [pss_mib(pid) for pid in worked if pid in still]
    return median_of(name, "MiB", sizes, goal)


def _data_plane(platform: Platform) -> dict[str, float]:
    return {role: rss_mib(platform.pids(role)) for role in ("gateway", "runner")}
