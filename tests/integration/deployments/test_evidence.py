"""What gateways report of rollouts: counted once, whatever is repeated or late."""

from datetime import timedelta

import msgspec
import pytest

from deployments import tasks
from deployments.models import Attempt, Deployment, Evidence, FailureSeen, GatewayState
from deployments.reconcilers import attempt as reconciler
from deployments.states import Command, Phase
from hotswap.core import clock
from hotswap.wire.rollouts import EvidenceAnswer, EvidenceReport, Failure
from tests.integration.deployments.world import World
from tests.integration.runners.reporting import Intake

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = {"canaryDuration": "PT1M", "canaryPercentage": 10, "minimumCalls": 50}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def canary(world: World) -> Deployment:
    """v2 at 10 % beside v1."""
    world.until(world.deploy(1), Phase.SUCCEEDED)
    deployment = world.deploy(2, "Canary", config=CANARY)
    world.until(deployment, Phase.OBSERVING)
    return deployment


def calls(of: Deployment) -> dict[int, tuple[int, int]]:
    """Calls and bad ones by version number."""
    names = {of.from_version_id: of.from_number, of.to_version_id: of.to_number}
    found: dict[int, tuple[int, int]] = {}
    for row in Evidence.objects.filter(attempt__deployment=of):
        number = names[row.version_id]
        assert number is not None
        old = found.get(number, (0, 0))
        found[number] = (old[0] + row.calls, old[1] + row.bad)
    return found


class TestReports:
    def test_add_up_over_gateways_and_windows(self, world: World, canary: Deployment) -> None:
        world.serve(canary, gateway=0, v1=(90, 1), v2=(10, 0))
        world.serve(canary, gateway=1, v1=(80, 0), v2=(9, 2))

        assert calls(canary) == {1: (170, 1), 2: (19, 2)}

    def test_count_once_when_repeated(self, world: World, canary: Deployment) -> None:
        """C36: the same report again, and an older one that arrives late, change nothing."""
        gateway = world.gateways[0]
        arm = world.arm(canary, 2, calls=10, bad=1)
        gateway.report(world.key, arms=[arm], boot="other", seq=5)
        before = calls(canary)

        answer = gateway.report(world.key, arms=[arm], boot="other", seq=5)
        gateway.report(world.key, arms=[arm], boot="other", seq=4)

        assert calls(canary) == before == {2: (10, 1)}
        attempt = world.at(canary)
        assert answer.leases[attempt.id.hex] > 0

    def test_of_another_process_count_beside(self, world: World, canary: Deployment) -> None:
        gateway = world.gateways[0]
        arm = world.arm(canary, 2, calls=10)

        gateway.report(world.key, arms=[arm], boot="one", seq=1)
        gateway.report(world.key, arms=[arm], boot="two", seq=1)

        assert calls(canary) == {2: (20, 0)}

    def test_name_a_failure_once_over_all_gateways(self, world: World, canary: Deployment) -> None:
        """P31: one per client, kind and minute."""
        failure = [Failure("c" * 16, "http-5xx", 7)]
        for gateway in world.gateways:
            arm = world.arm(canary, 2, calls=5, bad=5, failures=failure)
            gateway.report(world.key, arms=[arm])

        assert calls(canary) == {2: (10, 10)}
        assert FailureSeen.objects.filter(attempt__deployment=canary).count() == 1

    def test_remember_who_called_up_to_eight(self, world: World, canary: Deployment) -> None:
        for first in (0, 4, 20):
            clients = [f"{n:016x}" for n in range(first, first + 6)]
            world.gateways[0].report(world.key, clients=clients)

        seen = world.at(canary).clients
        assert len(seen) == len(set(seen)) == 8

    def test_of_unknown_attempts_are_left_out(self, world: World, canary: Deployment) -> None:
        arm = world.arm(canary, 2, calls=5, attempt="0" * 32)

        world.gateways[0].report(world.key, arms=[arm])

        assert calls(canary) == {}

    def test_count_calls_of_an_older_epoch_where_they_belong(
        self, world: World, canary: Deployment
    ) -> None:
        late = world.arm(canary, 2, calls=3, epoch=world.at(canary).epoch - 1)

        world.gateways[0].report(world.key, arms=[late])

        rows = Evidence.objects.filter(attempt__deployment=canary)
        assert [row.epoch for row in rows] == [world.at(canary).epoch - 1]


class TestLeases:
    def test_are_answered_for_splits_only(self, world: World, canary: Deployment) -> None:
        attempt = world.at(canary)

        answer = world.gateways[0].report(world.key)

        assert 0 < answer.leases[attempt.id.hex] <= 30_000
        state = GatewayState.objects.get(attempt=attempt, node="g1")
        assert (state.epoch, state.has_lease) == (attempt.epoch, True)

    def test_are_not_renewed_by_reports_alone(self, world: World, canary: Deployment) -> None:
        """Rule 10: without a judge the lease runs out, however often a gateway asks."""
        world.pass_time(31)

        answer = world.gateways[0].report(world.key)

        assert answer.leases == {world.at(canary).id.hex: 0}

    def test_that_ran_out_end_the_rollout(self, world: World, canary: Deployment) -> None:
        world.pass_time(31)

        world.tick()

        attempt = world.at(canary)
        assert attempt.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
        assert attempt.reason.startswith("Lease lost")
        assert world.alias_number() == 1

    def test_are_not_renewed_while_a_live_gateway_is_silent(
        self, world: World, canary: Deployment
    ) -> None:
        GatewayState.objects.filter(node="g2").update(seen_at="2026-01-01T00:00:00Z")
        before = world.at(canary).lease_until
        world.gateways[1].live()
        reconciler.reconcile(attempt_id=world.at(canary).id)

        assert world.at(canary).lease_until == before


class TestEndpoint:
    def test_takes_a_report_and_answers_the_leases(self, world: World, canary: Deployment) -> None:
        attempt = world.at(canary)
        report = EvidenceReport(
            "g9", "b", 1, [], [world.arm(canary, 2, calls=4)]
        )  # fmt: skip

        response = Intake().post("evidence", report)

        assert response.status_code == 200
        answer = msgspec.json.decode(response.content, type=EvidenceAnswer)
        assert answer.leases[attempt.id.hex] > 0
        assert calls(canary) == {2: (4, 0)}

    @pytest.mark.parametrize(
        ("body", "token", "status"),
        [(b"{}", None, 400), (b"not JSON", None, 400), (b"{}", "wrong", 401)],
    )
    def test_refuses_what_is_no_report(self, body: bytes, token: str | None, status: int) -> None:
        assert Intake().post("evidence", body, token).status_code == status

    def test_refuses_a_value_that_no_row_can_hold(self, world: World, canary: Deployment) -> None:
        arm = world.arm(canary, 2, calls=2**70)

        response = Intake().post("evidence", EvidenceReport("g9", "b", 1, [], [arm]))

        assert response.status_code in (400, 422)

    def test_looks_at_late_attempts_itself_when_no_worker_does(
        self, world: World, canary: Deployment
    ) -> None:
        """The broker, beat and the worker are dead: rollouts go on all the same."""
        late = clock.utc_now() - timedelta(seconds=3)
        Attempt.objects.filter(deployment=canary).update(due_at=late)

        Intake().post("evidence", EvidenceReport("g9", "b", 1, [], []))

        due = world.at(canary).due_at
        assert due is not None
        assert due > late


class TestRetention:
    def test_forgets_counts_a_month_after_the_end_and_keeps_the_receipt(
        self, world: World, canary: Deployment
    ) -> None:
        world.serve(canary, v1=(900, 0), v2=(100, 0))
        tasks.evidence_purge()
        assert Evidence.objects.count() > 0
        world.give(canary, Command.ABORT)
        world.until(canary, Phase.ROLLED_BACK)
        Attempt.objects.filter(deployment=canary).update(
            finished_at=clock.utc_now() - tasks.EVIDENCE_KEPT - timedelta(seconds=1)
        )

        tasks.evidence_purge()

        assert not Evidence.objects.filter(attempt__deployment=canary).exists()
        assert world.at(canary).receipt["versions"]["v2"]["answered"] == 100
