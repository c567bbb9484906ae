"""Every interpreter that this machine has runs the one suite."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimes import interpreters
from runtimes.catalog import Runtime
from tests.contract.runtimes.harness import FOUND, Instance


@pytest.fixture(params=FOUND)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    found: Runtime = request.param
    return found


@pytest.fixture
def boot(runtime: Runtime) -> Iterator[Callable[[], Instance]]:
    """Starts bootstraps of `runtime`; they end with the test."""
    started: list[Instance] = []
    interpreter = interpreters.find(runtime)
    assert interpreter is not None

    def start() -> Instance:
        # Not tmp_path: a unix socket's path may have 107 bytes.
        with tempfile.TemporaryDirectory(prefix="hs-") as folder:
            started.append(Instance.start(runtime, interpreter, Path(folder)))
        return started[-1]

    yield start
    for instance in started:
        instance.close()


@pytest.fixture
def instance(boot: Callable[[], Instance]) -> Instance:
    return boot()
