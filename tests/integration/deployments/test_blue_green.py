"""Green stands at full size before it is switched to."""

import pytest

from deployments.states import Phase
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def test_green_gets_as_many_instances_as_blue_had_and_waits_for_no_more() -> None:
    world = World()
    world.until(world.deploy(1), Phase.SUCCEEDED)
    world.ready = {name: {1: 3, 2: 0} for name in world.runners}
    world.heartbeats()
    green = world.deploy(2, "BlueGreen", config={"testDuration": "PT0S"})
    attempt = world.until(green, Phase.PREPARING)
    assert attempt.warm == {"1": 3, "2": 3}

    world.ready = {name: {1: 5, 2: 2} for name in world.runners}
    world.tick(3)
    assert world.phase(green) == Phase.PREPARING
    world.ready = {name: {1: 5, 2: 3} for name in world.runners}
    assert world.until(green, Phase.SETTLING, times=6).weight == 10_000
