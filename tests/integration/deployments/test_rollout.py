"""Deployments from request to end, over Postgres and a data plane of words."""

import pytest

from deployments.services.events import is_chain_whole
from deployments.states import Command, Phase
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def served(world: World, number: int = 1) -> None:
    """The alias serves a version already."""
    first = world.deploy(number)
    world.until(first, Phase.SUCCEEDED)


class TestFirstDeployment:
    def test_goes_straight_to_everything_once_it_is_warm(self) -> None:
        """C01."""
        world = World()

        first = world.deploy(1, "Canary", config={"canaryDuration": "PT1H"})
        world.heartbeats(2, 3)
        last = world.until(first, Phase.SUCCEEDED)

        phases = [event.to_phase for event in last.events.order_by("seq")]
        assert phases == [
            Phase.QUEUED, Phase.PREPARING, Phase.PROMOTING, Phase.SETTLING, Phase.SUCCEEDED,
        ]  # fmt: skip
        assert world.alias_number() == 1
        assert world.split() is None


class TestAllAtOnce:
    def test_prepares_shifts_promotes_settles_and_succeeds(self) -> None:
        """C02: the alias itself moves once."""
        world = World()
        served(world)

        second = world.deploy(2, config={"keepBlue": "PT0S"})
        last = world.until(second, Phase.SUCCEEDED)

        phases = [event.to_phase for event in last.events.order_by("seq")]
        assert phases == [
            Phase.QUEUED, Phase.PREPARING, Phase.SHIFTING, Phase.OBSERVING, Phase.PROMOTING,
            Phase.SETTLING, Phase.SUCCEEDED,
        ]  # fmt: skip
        assert world.alias_number() == 2
        assert last.receipt["route"] == {"version": "v2", "weight": 10_000}
        assert is_chain_whole(last.events.order_by("seq"))

    def test_a_rollback_brings_everything_back(self) -> None:
        world = World()
        served(world)
        second = world.deploy(2)
        world.until(second, Phase.SETTLING)
        assert world.alias_number() == 2

        world.give(second, Command.ROLLBACK, reason="it smells")

        split = world.split()
        assert split is not None
        assert (split.weight, split.stable, world.alias_number()) == (0, 1, 1)
        last = world.until(second, Phase.ROLLED_BACK)
        assert last.reason == "eva: it smells"
        assert world.split() is None
