"""More callers than a function may serve: its goodput must not fall, nor memory grow."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench import samples
from tests.bench.figures import Figure, at_least, at_most, median_of, percentile
from tests.bench.lab import Lab
from tests.bench.load import Load, generate, require_wrk
from tests.bench.platform import Platform, caller, place, warm_up
from tests.bench.processes import rss_mib
from tests.bench.registry import benchmarks

FUNCTION = "overload"
LIMIT, QUEUE = 8, 64
FITTING, TOO_MANY = (8, 16, 32), 512
SERVICE_SECONDS = 0.01
ROUNDS, SECONDS = 5, 4.0
PROBE_PAUSE_SECONDS = 0.02


@benchmarks.register("overload")
def overload(lab: Lab) -> Iterator[Figure]:
    """Good answers a second at 512 connections and a limit of 8, against the best of fewer."""
    require_wrk()
    platform = lab.platform
    platform.deploy(FUNCTION, samples.python(), entry="pause", max_instances=LIMIT, max_queue=QUEUE)
    warm_up(platform, FUNCTION, b'{"seconds":0}')
    _load(platform, TOO_MANY, 2)
    rss = [_memory(platform)]
    ratios, peaks, goods, refused = [], [], [], []
    refusals: list[float] = []
    for _ in lab.rounds(ROUNDS):
        seconds = lab.seconds(SECONDS)
        peak = max(_load(platform, few, seconds / 2).good_per_second for few in FITTING)
        with _probing(platform, refusals):
            load = _load(platform, TOO_MANY, seconds)
        peaks.append(peak)
        goods.append(load.good_per_second)
        ratios.append(load.good_per_second / peak)
        refused.append(load.refused / load.seconds)
        rss.append(_memory(platform))
    yield median_of("overload_goodput_ratio", "", ratios, at_least(0.8))
    yield median_of("overload_peak", "calls/s", peaks)
    yield median_of("overload_goodput", "calls/s", goods)
    yield median_of("overload_refused", "calls/s", refused)
    if refusals:
        p99 = percentile(refusals, 0.99)
        yield Figure("overload_refusal_p99_ms", p99, "ms", None, tuple(refusals))
    growth = rss[-1] - rss[0]
    yield Figure("overload_memory_growth_mib", growth, "MiB", at_most(16), tuple(rss))


def _load(platform: Platform, connections: int, seconds: float) -> Load:
    body = b'{"seconds":%g}' % SERVICE_SECONDS
    return generate(place(platform, FUNCTION), body, connections=connections, seconds=seconds)


def _memory(platform: Platform) -> float:
    return rss_mib([*platform.pids("gateway"), *platform.pids("runner")])


@contextmanager
def _probing(platform: Platform, refusals: list[float]) -> Iterator[None]:
    """Meanwhile, take the time of single refused calls, in milliseconds."""
    stop = threading.Event()

    def probe() -> None:
        with caller(platform) as calls:
            while not stop.is_set():
                answer = calls.call(FUNCTION, b'{"seconds":0.01}')
                if answer.status == 429:
                    refusals.append(answer.seconds * 1000)
                time.sleep(PROBE_PAUSE_SECONDS)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
