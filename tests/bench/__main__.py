"""`bin/bench`: run benchmarks, print their figures, say by exit status whether all goals hold."""

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from tests.bench import (
    burst,
    cold,
    faults,
    judging,
    latency,
    memory,
    overload,
    portal,
    rollouts,
    routes,
    swaps,
    warm,
)
from tests.bench.figures import Figure, NotMeasured
from tests.bench.lab import Lab
from tests.bench.platform import Platform, WholeStack
from tests.bench.registry import benchmarks
from tests.bench.report import Report

# In the order in which they run: those that want a quiet machine first.
ORDER = (
    warm, latency, overload, burst, cold, memory, routes, portal, rollouts, swaps, faults, judging,
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Exit status: 0 when every figure that was measured holds, else 1."""
    options = _parser().parse_args(arguments)
    logging.disable(logging.INFO)
    report = Report(as_json=options.json, options=options)
    with Lab(_maker(options), quick=options.quick) as lab:
        for name in options.names or _names():
            for figure in _run(name, lab):
                report.add(name, figure)
    return 0 if report.finish() else 1


def _names() -> list[str]:
    return [module.__name__.rpartition(".")[2] for module in ORDER]


def _run(name: str, lab: Lab) -> Iterator[Figure]:
    """The benchmark's figures; one that breaks is a figure that does not hold."""
    try:
        yield from benchmarks.get(name)(lab)
    except NotMeasured as failure:
        yield Figure(name, None, "", failed=True, note=str(failure))
    except Exception as failure:  # noqa: BLE001  # the figures of the others must not be lost
        traceback.print_exc()
        note = f"{type(failure).__name__}: {failure}"
        yield Figure(name, None, "", failed=True, note=note)


def _maker(options: argparse.Namespace) -> Callable[[], Platform]:
    if options.data_plane:
        from tests.bench.dataplane import BareDataPlane

        return partial(BareDataPlane, options.backend)
    return partial(WholeStack, options.backend)


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<10} {benchmarks.get(name).__doc__}" for name in _names()]
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measure HotSwap on this machine.",
        epilog="benchmarks:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all unless given")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--backend", choices=("sandbox", "docker", "process"), default="sandbox")
    parser.add_argument("--quick", action="store_true", help="short runs, not to be quoted")
    parser.add_argument(
        "--data-plane", action="store_true", help="gateway and runner without web and stores"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
