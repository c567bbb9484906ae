"""From no instance to a hundred of one function, under load."""

import json
import threading
import time
from collections.abc import Iterator

from tests.bench import samples
from tests.bench.figures import Figure, NotMeasured, at_most, median_of
from tests.bench.lab import Lab
from tests.bench.platform import Platform, caller
from tests.bench.registry import benchmarks

INSTANCES = 100
ROUNDS = 5
BUSY_SECONDS = 2.0
IDLE_SECONDS = 4
PATIENCE_SECONDS = 120.0


@benchmarks.register("burst")
def burst(lab: Lab) -> Iterator[Figure]:
    """Seconds from no instance of a function to 100 that work, with 100 callers."""
    runs = []
    for number in lab.rounds(ROUNDS):
        function = f"burst-{number}"
        lab.platform.deploy(
            function, samples.python(), entry="pause", max_instances=INSTANCES,
            memory_mib=128, idle_seconds=IDLE_SECONDS,
        )  # fmt: skip
        runs.append(_until_all_work(lab.platform, function))
        time.sleep(2 * IDLE_SECONDS)  # the next round must not wait for memory of this one
    yield median_of("burst_100_s", "s", runs, at_most(10))


def _until_all_work(platform: Platform, function: str) -> float:
    """Each caller calls again until a hundred instances have begun to work."""
    began: dict[str, float] = {}
    failures: list[str] = []
    started = time.time()

    def work() -> None:
        with caller(platform) as calls:
            while len(began) < INSTANCES and not failures:
                answer = calls.call(function, b'{"seconds":%g}' % BUSY_SECONDS)
                if answer.status != 200:
                    failures.append(f"{answer.status} {answer.body[:300]!r}")
                    return
                if time.time() - started > PATIENCE_SECONDS:
                    failures.append(f"not more within {PATIENCE_SECONDS:g} s")
                    return
                told = json.loads(answer.body)
                began.setdefault(told["instance"], told["began"])

    threads = [threading.Thread(target=work) for _ in range(INSTANCES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise NotMeasured(f"{function}: {len(began)} instances, then {failures[0]}")
    return max(began.values()) - started
