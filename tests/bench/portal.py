"""The functions list page of the portal with ten thousand functions."""

from collections.abc import Iterator

from tests.bench.figures import Figure, at_most, unmeasured
from tests.bench.lab import Lab
from tests.bench.registry import benchmarks

GOAL = at_most(500)


@benchmarks.register("portal")
def portal(lab: Lab) -> Iterator[Figure]:
    """The functions list page with 10,000 functions, p95."""
    yield unmeasured("portal_list_ms", "ms", GOAL, "the page is not there yet")
