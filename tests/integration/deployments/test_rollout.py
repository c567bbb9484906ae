"""Deployments from request to end, over Postgres and a data plane of words."""

import pytest

from deployments.services.events import is_chain_whole
from deployments.states import Command, Phase
from runners.models import RunnerNode
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


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
        world.served()

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
        world.served()
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


class TestCanary:
    def test_goes_from_step_to_step_on_positive_evidence(self) -> None:
        """C02, rules 5 and 6."""
        world = World()
        canary = world.observing(config={"keepBlue": "PT0S"})
        for weight in (1_000, 5_000, 10_000):
            assert world.until(canary, Phase.OBSERVING).weight == weight
            world.tick(2)
            assert world.at(canary).weight == weight
            world.serve(canary, v1=(900, 0), v2=(100, 0))
            world.pass_step()
            world.tick()
        world.until(canary, Phase.SUCCEEDED)

        last = world.at(canary)
        assert world.alias_number() == 2
        assert last.receipt["versions"]["v2"]["answered"] == 300
        assert last.receipt["seconds"]["total"] > 0


class TestRolling:
    def test_moves_runner_by_runner(self) -> None:
        """The runners of a batch serve the new version, the others the old one."""
        world = World(runners=4)
        world.served()
        config = {"batchSize": 25, "batchDuration": "PT1M", "minimumCalls": 10}
        rolling = world.deploy(2, "Rolling", config=config)
        world.until(rolling, Phase.OBSERVING)

        split = world.split()
        assert split is not None
        assert (split.weight, split.runner_weights, split.is_leased) == (0, {"r1": 10_000}, True)

        del world.runners["r1"]
        world.heartbeats()
        RunnerNode.objects.filter(name="r1").delete()
        world.until(rolling, Phase.SHIFTING)
        assert world.at(rolling).runner_weights == {"r2": 10_000}


class TestRegional:
    def test_passes_a_wave_only_when_each_of_its_regions_has_evidence(self) -> None:
        """P26, P27: a barrier between waves."""
        world = World(runners=3)
        world.runners = {"r1": "eu", "r2": "us", "r3": "us"}
        world.served()
        config = {
            "waves": [["eu", "us"]], "increments": [10, 100], "canaryDuration": "PT1M",
            "minimumCalls": 50,
        }  # fmt: skip
        regional = world.deploy(2, "Regional", config=config)
        world.until(regional, Phase.OBSERVING)
        world.serve(regional, v1=(900, 0), v2=(100, 0))  # all of it on r1 in eu
        world.pass_step()
        world.tick(2)
        assert world.at(regional).step_index == 0

        arms = [world.arm(regional, n, calls=c, runner="r2") for n, c in ((1, 900), (2, 100))]
        world.gateways[0].report(world.key, arms=arms)
        world.tick()

        assert world.at(regional).step_index == 1
