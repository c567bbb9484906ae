"""A server behind one token makes all calls: who called says nothing then."""

import time

import pytest

from deployments.states import Phase
from hotswap.wire.rollouts import Failure
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_failure_of_a_sole_caller_counts() -> None:
    """P31 is about one caller among others; C40."""
    world = World()
    world.until(world.deploy(1), Phase.SUCCEEDED)
    canary = world.deploy(2, "Canary", config={"canaryDuration": "PT1H"})
    world.until(canary, Phase.OBSERVING)
    seen = [Failure("a" * 16, "http-5xx", int(time.time() // 60))]

    arms = [
        world.arm(canary, 2, calls=20, bad=20, failures=seen),
        world.arm(canary, 1, calls=180),
    ]
    world.gateways[0].report(world.key, arms=arms, clients=["a" * 16])
    last = world.until(canary)

    assert (last.phase, last.verdict["verdict"]) == (Phase.ROLLED_BACK, "fail")
    assert "20 of 20 calls failed" in last.reason
