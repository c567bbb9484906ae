"""The functions list page of the portal with ten thousand functions."""

import time
from collections.abc import Iterator
from contextlib import closing

from tests.bench.figures import Figure, NotMeasured, at_most, percentile
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks

FUNCTIONS = 10_000
PAGES = 100


@benchmarks.register("portal")
def portal(lab: Lab) -> Iterator[Figure]:
    """The functions list page with 10,000 functions, p95."""
    platform = lab.crowded
    platform.seed(FUNCTIONS)
    times = []
    with closing(platform.portal()) as client:
        client.get("/functions")
        for _ in lab.rounds(PAGES):
            started = time.perf_counter()
            page = client.get("/functions")
            times.append((time.perf_counter() - started) * 1000)
    if page.status_code != 200 or page.url.path != "/functions":
        raise NotMeasured(f"the list answered {page.status_code} from {page.url.path}")
    yield Figure("portal_list_ms", percentile(times, 0.95), "ms", at_most(500), tuple(times))
    yield Figure("portal_list_p50_ms", percentile(times, 0.5), "ms")
