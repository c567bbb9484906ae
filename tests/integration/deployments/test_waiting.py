"""What holds or ends a rollout from outside: freezes, hooks and external metrics."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from deployments.models import Deployment, Effect, SourceReading
from deployments.services import effects, environments, freezes, sources
from deployments.states import Command, Phase
from hotswap.core import clock
from tests.integration.deployments.receiver import Receiver, Reply
from tests.integration.deployments.test_sources import PROMQL, vector
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db

CANARY = {"canaryPercentage": 10, "increments": [10, 100], "canaryDuration": "PT1S"}


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def world() -> World:
    """v1 is served."""
    made = World()
    made.until(made.deploy(1), Phase.SUCCEEDED)
    return made


def observed(world: World, **config: Any) -> Deployment:
    """A canary with traffic."""
    deployment = world.deploy(2, "Canary", config={**CANARY, **config})
    world.until(deployment, Phase.OBSERVING)
    return deployment


def hook(url: str, kind: str) -> None:
    changes = {"hooks": [{"kind": kind, "url": url}]}
    environments.environment_put(
        name="production", changes=changes, actor="ada", now=clock.utc_now()
    )


def healthy(world: World, deployment: Deployment) -> None:
    """Enough good calls, and time."""
    world.pass_time(10)
    world.serve(deployment, v1=(9_000, 0), v2=(1_000, 0))
    world.tick()


def deliver(world: World, deployment: Deployment, times: int = 4) -> None:
    """The machine asks, the answers come, the machine goes on."""
    for _ in range(times):
        world.tick()
        Effect.objects.update(due_at=clock.utc_now() - timedelta(seconds=1))
        effects.deliver_due()
    world.tick()


def read(world: World, times: int = 1) -> None:
    for _ in range(times):
        SourceReading.objects.update(due_at=clock.utc_now() - timedelta(seconds=1))
        sources.poll_due()
        world.tick()


class TestFreeze:
    def freeze(self) -> int:
        now = clock.utc_now()
        window = freezes.freeze_create(
            environment="production",
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            reason="year-end",
            actor="eva",
            now=now,
        )
        return window.id

    def test_c83_that_begins_on_the_way_holds_until_it_ends(self, world: World) -> None:
        deployment = observed(world)
        window = self.freeze()
        healthy(world, deployment)
        assert world.at(deployment).held_reason == "freeze"
        assert "year-end" in world.at(deployment).reason
        assert world.at(deployment).weight == 1_000

        freezes.freeze_end(freeze_id=window, actor="eva", now=clock.utc_now())
        world.tick()

        assert world.phase(deployment) is not Phase.HELD
        world.serve(deployment, v2=(1_000, 0))
        world.until(deployment, Phase.SETTLING)

    def test_c83_lets_everybody_roll_back(self, world: World) -> None:
        deployment = observed(world)
        self.freeze()
        world.tick()

        world.give(deployment, Command.ROLLBACK, reason="it smells")
        world.until(deployment, Phase.ROLLED_BACK)

        assert world.alias_number() == 1

    def test_c83_lets_the_guards_roll_back(self, world: World) -> None:
        deployment = observed(world)
        self.freeze()
        world.tick()

        world.serve(deployment, v1=(900, 0), v2=(100, 60))

        world.until(deployment, Phase.ROLLED_BACK)

    def test_lets_nothing_start(self, world: World) -> None:
        self.freeze()
        deployment = world.deploy(2)

        world.tick(3)

        assert world.phase(deployment) is Phase.QUEUED
        assert world.alias_number() == 1


class TestHooks:
    def test_c47_pre_rollout_that_refuses_fails_it_without_traffic(
        self, world: World, server: Receiver
    ) -> None:
        hook(server.url, "pre-rollout")
        server.reply = Reply(403)
        deployment = world.deploy(2, "Canary", config=CANARY)

        deliver(world, deployment)

        assert world.phase(deployment) is Phase.FAILED
        assert "pre-rollout" in world.at(deployment).reason
        assert world.at(deployment).weight == 0

    def test_waits_for_the_answer_and_goes_on_with_it(self, world: World, server: Receiver) -> None:
        hook(server.url, "confirm-rollout")
        server.reply = Reply(503)
        deployment = world.deploy(2, "Canary", config=CANARY)
        deliver(world, deployment)
        assert world.phase(deployment) is Phase.PREPARING

        server.reply = Reply(200)
        deliver(world, deployment)

        assert world.phase(deployment) in (Phase.SHIFTING, Phase.OBSERVING)

    @pytest.mark.parametrize("kind", ["confirm-traffic-increase", "rollout"])
    def test_c47_that_refuses_on_the_way_brings_everything_back(
        self, world: World, server: Receiver, kind: str
    ) -> None:
        hook(server.url, kind)
        server.reply = Reply(400)
        deployment = observed(world)
        healthy(world, deployment)

        deliver(world, deployment)
        world.until(deployment, Phase.ROLLED_BACK)

        assert kind in world.at(deployment).reason

    def test_of_rollback_and_events_are_told(self, world: World, server: Receiver) -> None:
        listed = [{"kind": kind, "url": f"{server.url}/{kind}"} for kind in ("rollback", "event")]
        environments.environment_put(
            name="production", changes={"hooks": listed}, actor="ada", now=clock.utc_now()
        )
        deployment = observed(world)
        world.give(deployment, Command.ROLLBACK, reason="it smells")
        world.until(deployment, Phase.ROLLED_BACK)

        deliver(world, deployment, times=1)

        paths = [request.path for request in server.requests]
        assert paths.count("/rollback") == 1
        assert paths.count("/event") >= 5


class TestSources:
    def test_a_guardrail_that_is_breached_brings_everything_back(
        self, world: World, server: Receiver
    ) -> None:
        server.reply = vector("0.9")
        deployment = observed(world, metrics=[{**PROMQL, "url": server.url}])

        read(world, times=3)
        world.until(deployment, Phase.ROLLED_BACK)

        assert world.at(deployment).reason == "errors is 0.9, > 0.05, 3 times in a row."

    def test_p5_a_source_that_is_down_holds_and_the_rollout_resumes_with_it(
        self, world: World, server: Receiver
    ) -> None:
        server.reply = Reply(503, b"down")
        deployment = observed(world, metrics=[{**PROMQL, "url": server.url}])
        for _ in range(5):
            read(world)
            healthy(world, deployment)
        held = world.at(deployment)
        assert (held.phase, held.held_reason) == (Phase.HELD, "metrics-stale")
        assert held.weight == 1_000

        server.reply = vector("0.01")
        read(world, times=2)

        assert world.phase(deployment) is not Phase.HELD

    def test_a_signal_holds_and_never_brings_back(self, world: World, server: Receiver) -> None:
        server.reply = vector("0.9")
        source = {**PROMQL, "url": server.url, "role": "signal"}
        deployment = observed(world, metrics=[source])

        read(world, times=6)

        assert world.phase(deployment) is Phase.HELD
        server.reply = vector("0.01")
        read(world, times=2)
        assert world.phase(deployment) is not Phase.HELD
