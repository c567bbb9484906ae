"""Which benchmarks there are."""

from collections.abc import Callable, Iterator

from hotswap.core.registry import Registry
from tests.bench.figures import Figure
from tests.bench.lab import Lab

Benchmark = Callable[[Lab], Iterator[Figure]]

benchmarks: Registry[Benchmark] = Registry("benchmark")
