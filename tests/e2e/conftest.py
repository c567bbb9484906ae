"""Running platforms for journeys. One per backend is shared by all tests of a session."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from hotswap.supervisor.isolation import docker_answers
from tests.e2e.stack import Stack

StackOn = Callable[[str], Stack]


@pytest.fixture(scope="session")
def stack_on() -> Iterator[StackOn]:
    """Starts the platform on a backend; the second request for it gets the same one."""
    running: dict[str, Stack] = {}

    def on(backend: str) -> Stack:
        require_backend(backend)
        if backend not in running:
            running[backend] = Stack(backend)
            running[backend].start()
        return running[backend]

    yield on
    for stack in running.values():
        stack.close()


@pytest.fixture(scope="session")
def stack(stack_on: StackOn) -> Stack:
    """The platform with the sandbox backend. Tests use functions of their own names."""
    return stack_on("sandbox")


@pytest.fixture(scope="session")
def docker_stack(stack_on: StackOn) -> Stack:
    """The platform with the docker backend."""
    return stack_on("docker")


@pytest.fixture(params=["sandbox", pytest.param("docker", marks=pytest.mark.docker)])
def each_stack(request: pytest.FixtureRequest, stack_on: StackOn) -> Stack:
    """The platform with every backend in turn."""
    return stack_on(request.param)


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """A platform, not started, for a test that stops or breaks it."""
    require_backend("sandbox")
    stack = Stack("sandbox")
    yield stack
    stack.close()


@pytest.fixture
def runners_stack() -> Iterator[Stack]:
    """A platform with two runner processes, not started."""
    require_backend("sandbox")
    settings = {"HOTSWAP_RUNNER_NAME": "box", "HOTSWAP_RUNNER_REGIONS": "north,south"}
    stack = Stack("sandbox", runners=2, **settings)
    yield stack
    stack.close()


def require_backend(backend: str) -> None:
    """Skip the test where this machine cannot run the backend."""
    if backend == "sandbox" and os.geteuid() != 0 and not shutil.which("bwrap"):
        pytest.skip("the sandbox backend needs root or bubblewrap")
    if backend == "docker" and not docker_answers():
        pytest.skip("no Docker engine answers")
