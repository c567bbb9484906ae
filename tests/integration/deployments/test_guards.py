"""What the machine does when something is wrong, over Postgres and a data plane of words."""

import pytest

from deployments.models import GatewayState
from deployments.reconcilers import attempt as reconciler
from deployments.states import Command, Held, Phase
from hotswap.core import clock
from runners.services.nodes import nodes_forget
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    return World()


class TestBadCandidate:
    def test_is_rolled_back_by_itself(self, world: World) -> None:
        """C03, C51: the judge's sentence is the reason."""
        canary = world.observing()
        world.serve(canary, v1=(900, 0), v2=(100, 60))

        last = world.until(canary, Phase.ROLLED_BACK)

        assert last.verdict["verdict"] == "fail"
        assert last.reason == last.verdict["sentence"]
        assert world.alias_number() == 1
        assert world.split() is None
        assert last.receipt["versions"]["v2"] == {
            "sent": 100, "answered": 100, "bad": 60, "dropped": 0,
        }  # fmt: skip
        assert last.receipt["route"] == {"version": "v1", "weight": 10_000}

    def test_is_rolled_back_also_while_it_is_paused(self, world: World) -> None:
        """Rule 7, P10."""
        canary = world.observing()
        world.give(canary, Command.PAUSE)
        world.serve(canary, v1=(900, 0), v2=(100, 60))

        world.until(canary, Phase.ROLLED_BACK)

    def test_is_rolled_back_while_approval_is_awaited(self, world: World) -> None:
        """C82."""
        canary = world.observing()
        world.gated(canary)
        world.serve(canary, v1=(900, 0), v2=(100, 0))
        world.pass_step()
        assert world.until(canary, Phase.HELD).held_reason == Held.GATE

        world.serve(canary, v1=(900, 0), v2=(200, 120))

        world.until(canary, Phase.ROLLED_BACK)

    def test_is_taken_back_after_its_promotion(self, world: World) -> None:
        """Rule 7, C30, P25: settling is guarded, and the alias goes back."""
        world.served()
        second = world.deploy(2)
        world.until(second, Phase.SETTLING)
        assert world.alias_number() == 2
        world.serve(second, v2=(100, 60))

        world.until(second, Phase.ROLLED_BACK)

        assert world.alias_number() == 1

    def test_is_found_late_although_it_was_good_for_long(self, world: World) -> None:
        """What a step shows is judged by itself, too."""
        canary = world.observing(config={"rollbackOnErrorRate": 0.05})
        world.serve(canary, v1=(90_000, 10), v2=(100_000, 10))
        world.pass_step()
        for _ in range(6):
            world.tick()
        assert world.at(canary).step_index == 1
        world.serve(canary, v2=(200, 60))

        world.until(canary, Phase.ROLLED_BACK, times=6)

    def test_of_a_release_that_cannot_be_taken_back_waits_for_a_person(self, world: World) -> None:
        """P24."""
        canary = world.observing(reversible=False)
        world.serve(canary, v1=(900, 0), v2=(100, 60))

        held = world.until(canary, Phase.HELD)
        assert held.held_reason == Held.IRREVERSIBLE
        assert "not reversible" in held.reason

        world.give(canary, Command.PROMOTE_FULL, reason="fix is in v3")
        world.until(canary, Phase.SETTLING)
        world.tick(2)
        assert world.phase(canary) is Phase.SETTLING

    def test_that_does_not_start_fails_without_traffic(self, world: World) -> None:
        """C26, C66."""
        world.served()
        world.failed = {world.version_id(2): "ModuleNotFoundError: nope"}
        world.heartbeats(1)
        second = world.deploy(2)

        last = world.until(second, Phase.FAILED)

        assert "ModuleNotFoundError: nope" in last.reason
        assert last.epoch == 1
        assert world.alias_number() == 1
        assert world.split() is None


class TestSilence:
    def test_extends_twice_and_then_holds(self, world: World) -> None:
        """P1, C50: no traffic is no reason to go on or back."""
        canary = world.observing()
        for _ in range(3):
            world.pass_step()
            world.tick(3)

        held = world.until(canary, Phase.HELD)
        assert (held.held_reason, held.extensions) == (Held.NO_TRAFFIC, 2)

        world.serve(canary, v1=(900, 0), v2=(100, 0))
        world.tick(4)
        assert world.at(canary).step_index == 1

    def test_of_a_gateway_holds_until_it_speaks(self, world: World) -> None:
        """C50, P5."""
        canary = world.observing()
        for gateway in world.gateways:
            gateway.live()
        GatewayState.objects.filter(node="g2").update(seen_at="2026-01-01T00:00:00Z")
        reconciler.reconcile(attempt_id=world.at(canary).id)
        held = world.at(canary)
        assert held.held_reason == Held.METRICS_STALE

        world.until(canary, Phase.OBSERVING)

    def test_of_a_live_gateway_that_never_took_the_way_back_is_stuck_not_over(
        self, world: World
    ) -> None:
        """Rule 4: nothing is rolled back that a gateway still sends."""
        canary = world.observing()
        world.give(canary, Command.ABORT)
        for seconds in (1, 11):
            world.pass_time(seconds)
            for gateway in world.gateways:
                gateway.live()
            reconciler.reconcile(attempt_id=world.at(canary).id)
        assert world.phase(canary) is Phase.ROLLBACK_STUCK

        world.until(canary, Phase.ROLLED_BACK)

    def test_of_all_runners_keeps_a_deployment_from_starting(self, world: World) -> None:
        """C09: the deadline of getting ready ends it; a retry has its own."""
        world.served()
        world.runners = {}
        nodes_forget(seen_before=clock.utc_now())
        second = world.deploy(2)
        world.tick(2)
        assert "No runner" in world.at(second).reason
        world.pass_time(601)

        last = world.until(second, Phase.FAILED)
        assert "not ready" in last.reason

        world.runners = {"r1": ""}
        retried = world.give(second, Command.RETRY)
        assert retried.number == 2
        world.until(second, Phase.SETTLING)


class TestSharedCause:
    def test_holds_while_both_versions_fail_alike(self, world: World) -> None:
        """P33, S7."""
        canary = world.observing()
        world.serve(canary, v1=(900, 270), v2=(100, 30))

        held = world.until(canary, Phase.HELD)

        assert held.held_reason == Held.SHARED_CAUSE


class TestDrain:
    def test_waits_for_calls_in_flight(self, world: World) -> None:
        """Rule 4: route, acknowledgement, drain."""
        canary = world.observing()
        world.gateways[0].in_flight = {world.version_id(2): 3}
        world.give(canary, Command.ROLLBACK)
        world.tick(4)
        assert world.phase(canary) is Phase.ROLLING_BACK

        world.gateways[0].in_flight = {}
        last = world.until(canary, Phase.ROLLED_BACK)
        assert last.receipt["versions"]["v2"]["dropped"] == 0

    def test_counts_what_still_runs_at_the_deadline_as_dropped(self, world: World) -> None:
        """The receipt tells it."""
        canary = world.observing()
        world.gateways[0].in_flight = {world.version_id(2): 3}
        world.gateways[1].dropped = {world.version_id(1): 1}
        world.give(canary, Command.ROLLBACK)
        world.tick(2)
        world.gateways[1].dropped = {}
        world.pass_time(31)

        last = world.until(canary, Phase.ROLLED_BACK)

        assert last.receipt["versions"]["v2"]["dropped"] == 3
        assert last.receipt["versions"]["v1"]["dropped"] >= 1
