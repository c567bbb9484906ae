"""Whatever comes in between: persons, newer versions, freezes, other hands on the alias."""

from datetime import timedelta

import pytest

from deployments.models import Attempt, Deployment, Environment, Evidence
from deployments.services.approvals import approval_give
from deployments.services.environments import environment_put
from deployments.services.freezes import freeze_create, freeze_end
from deployments.states import Command, Held, Phase
from functions.services import aliases, functions, versions
from hotswap.core import clock
from hotswap.core.errors import Conflict, IllegalTransition, NotFound
from tests.integration.control import client, create, upload
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    return World()


def rules(name: str = "production", **changes: object) -> None:
    environment_put(name=name, changes=changes, actor="root", now=clock.utc_now())


def ends(*deployments: Deployment) -> list[str]:
    return [Attempt.objects.filter(deployment=d).order_by("-number")[0].phase for d in deployments]


class TestSecondVersion:
    def test_waits_in_production(self, world: World) -> None:
        """C20 queue, C31: it starts from what the first one left."""
        canary = world.observing()

        third = world.deploy(3)
        world.tick(3)
        assert world.phase(third) is Phase.QUEUED
        assert str(canary.id) in world.at(third).reason

        world.give(canary, Command.PROMOTE_FULL)
        world.until(canary, Phase.SETTLING)
        world.give(canary, Command.PROMOTE_FULL)
        world.until(third, Phase.SETTLING)

        assert ends(canary) == [Phase.SUCCEEDED]
        third.refresh_from_db()
        assert third.from_number == 2
        assert world.alias_number() == 3

    def test_takes_the_place_elsewhere_after_everything_is_back(self, world: World) -> None:
        """C20 supersede, C24, rule 14: two commits, and no evidence is inherited."""
        world.alias = "staging"
        canary = world.observing()
        world.serve(canary, v1=(900, 1), v2=(100, 0))

        third = world.deploy(3, "Canary", config={"canaryDuration": "PT1M"})
        world.until(canary, Phase.SUPERSEDED)
        world.until(third, Phase.OBSERVING)

        moved = world.at(canary)
        assert moved.superseded_by_id == world.at(third).id
        assert moved.finished_at is not None
        started = world.at(third).started_at
        assert started is not None
        assert started >= moved.finished_at
        assert third.from_number == 1
        assert not Evidence.objects.filter(attempt__deployment=third, calls__gt=0).exists()

    def test_is_refused_where_one_at_a_time_is_allowed(self, world: World) -> None:
        """C20 reject."""
        rules(concurrency="reject")
        canary = world.observing()

        with pytest.raises(Conflict) as refused:
            world.deploy(3)

        assert refused.value.extras == {"deployment": str(canary.id)}

    def test_ends_a_settling_instead_of_taking_it_back(self, world: World) -> None:
        world.alias = "staging"
        world.served()
        second = world.deploy(2)
        world.until(second, Phase.SETTLING)

        third = world.deploy(3)
        world.until(third, Phase.SETTLING)

        assert ends(second) == [Phase.SUCCEEDED]
        assert world.alias_number() == 3

    def test_that_is_the_stable_one_ends_with_everything_on_it(self, world: World) -> None:
        """C21: a redeployment of the old version is a rollback."""
        world.alias = "staging"
        canary = world.observing()

        again = world.deploy(1)
        world.until(again, Phase.CANCELLED)

        assert ends(canary) == [Phase.SUPERSEDED]
        assert world.alias_number() == 1
        assert world.split() is None

    def test_replaces_another_that_still_waits(self, world: World) -> None:
        """C29: of three in a row the last one is served."""
        world.alias = "staging"
        world.served()
        second, third = world.deploy(2), world.deploy(3)
        world.until(third, Phase.SETTLING)

        assert ends(second)[0] in (Phase.SUPERSEDED, Phase.CANCELLED, Phase.SUCCEEDED)
        assert world.alias_number() == 3

    def test_that_is_served_already_triggers_nothing(self, world: World) -> None:
        """C14."""
        world.served()

        with pytest.raises(Conflict, match="serves v1 already"):
            world.deploy(1)

        assert Deployment.objects.count() == 1


class TestPersons:
    def test_abort_then_retry_then_promote(self, world: World) -> None:
        """C04, rule 13: another attempt, another salt, no evidence."""
        canary = world.observing()
        world.serve(canary, v1=(900, 0), v2=(100, 0))
        world.give(canary, Command.ABORT)
        first = world.until(canary, Phase.ROLLED_BACK)

        second = world.give(canary, Command.RETRY)
        world.until(canary, Phase.OBSERVING)
        assert (second.number, second.salt != first.salt) == (2, True)
        assert not Evidence.objects.filter(attempt=second).exists()
        world.give(canary, Command.PROMOTE_FULL)
        world.until(canary, Phase.SETTLING)

        assert world.alias_number() == 2
        first.refresh_from_db()
        assert first.phase == Phase.ROLLED_BACK

    def test_abort_twice_is_one_abort(self, world: World) -> None:
        """C36, P9, rule 2."""
        canary = world.observing()
        first = world.give(canary, Command.ABORT)
        epoch = first.epoch

        again = world.give(canary, Command.ABORT)
        world.give(canary, Command.ROLLBACK)

        assert (again.phase, again.epoch) == (Phase.ROLLING_BACK, epoch)
        assert again.events.filter(to_phase=Phase.ROLLING_BACK).count() == 1

    @pytest.mark.parametrize(
        "wanted", [Command.PROMOTE, Command.PROMOTE_FULL, Command.PAUSE, Command.RESUME]
    )
    def test_nothing_stops_a_rollback(self, world: World, wanted: Command) -> None:
        """Rule 2."""
        canary = world.observing()
        world.give(canary, Command.ABORT)

        with pytest.raises(IllegalTransition):
            world.give(canary, wanted)

    def test_a_pause_stops_the_clock_and_outlives_the_step(self, world: World) -> None:
        """C07, C08, rule 5, P23."""
        canary = world.observing()
        world.serve(canary, v1=(900, 0), v2=(100, 0))
        world.give(canary, Command.PAUSE, reason="lunch")
        before = world.at(canary)
        assert (before.held_reason, before.reason) == (Held.MANUAL, "eva: lunch")
        assert before.observing_since is None

        world.pass_time(20)
        world.tick()
        world.pass_time(3_000)
        Attempt.objects.update(lease_until=clock.utc_now() + timedelta(seconds=30))
        world.tick(2)
        assert world.phase(canary) is Phase.HELD

        world.give(canary, Command.RESUME)
        world.tick(2)
        after = world.at(canary)
        assert (after.phase, after.step_index) == (Phase.OBSERVING, 0)
        assert after.observed_seconds == before.observed_seconds

    def test_promote_goes_on_before_the_time_is_over(self, world: World) -> None:
        """C06."""
        canary = world.observing()

        world.give(canary, Command.PROMOTE)

        attempt = world.at(canary)
        assert (attempt.phase, attempt.step_index, attempt.weight) == (Phase.SHIFTING, 1, 5_000)

    def test_promote_full_from_getting_ready(self, world: World) -> None:
        """C05."""
        world.served()
        world.heartbeats(1)
        canary = world.deploy(2, "Canary", config={"canaryDuration": "PT1M"})
        assert world.phase(canary) is Phase.PREPARING

        world.give(canary, Command.PROMOTE_FULL)
        assert world.phase(canary) is Phase.PREPARING
        world.until(canary, Phase.SETTLING)

        assert Phase.OBSERVING not in {e.to_phase for e in world.at(canary).events.all()}

    def test_cancel_before_there_is_traffic(self, world: World) -> None:
        """C66: the alias is as it was."""
        world.served()
        world.heartbeats(1)
        second = world.deploy(2)
        world.give(second, Command.ABORT)

        assert world.phase(second) is Phase.CANCELLED
        assert world.alias_number() == 1
        assert world.split() is None

    def test_roll_back_what_is_long_done(self, world: World) -> None:
        """C22: outside the window it is a deployment back, past freezes and queues."""
        world.served()
        second = world.deploy(2, config={"keepBlue": "PT0S"})
        world.until(second, Phase.SUCCEEDED)
        freeze(world)

        back = world.give(second, Command.ROLLBACK)
        world.until(back.deployment, Phase.SETTLING)

        assert back.deployment_id != second.id
        assert world.alias_number() == 1

    def test_roll_back_of_what_is_no_longer_served_is_refused(self, world: World) -> None:
        world.served()
        for number in (2, 3):
            world.until(world.deploy(number, config={"keepBlue": "PT0S"}), Phase.SUCCEEDED)
        second = Deployment.objects.get(to_number=2)

        with pytest.raises(Conflict, match="does not serve v2"):
            world.give(second, Command.ROLLBACK)


def freeze(world: World) -> int:
    now = clock.utc_now()
    window = freeze_create(
        environment=world.alias,
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        reason="Black Friday",
        actor="root",
        now=now,
    )
    return int(window.pk)


class TestFreeze:
    def test_holds_a_rollout_and_lets_it_go_back(self, world: World) -> None:
        """C83."""
        canary = world.observing()
        freeze(world)

        held = world.until(canary, Phase.HELD)
        assert held.held_reason == Held.FREEZE
        assert "Black Friday" in held.reason
        with pytest.raises(IllegalTransition):
            world.give(canary, Command.PROMOTE)

        world.give(canary, Command.ROLLBACK)
        world.until(canary, Phase.ROLLED_BACK)

    def test_ends_and_the_rollout_goes_on(self, world: World) -> None:
        canary = world.observing()
        window = freeze(world)
        world.until(canary, Phase.HELD)

        freeze_end(freeze_id=window, actor="root", now=clock.utc_now())

        world.until(canary, Phase.OBSERVING)

    def test_keeps_a_deployment_in_the_queue(self, world: World) -> None:
        world.served()
        freeze(world)
        second = world.deploy(2)

        world.tick(3)

        attempt = world.at(second)
        assert attempt.phase == Phase.QUEUED
        assert "Black Friday" in attempt.reason


class TestApproval:
    def test_is_awaited_before_anything_begins(self, world: World) -> None:
        world.served()
        rules(approvals_needed=1)
        second = world.deploy(2)
        world.until(second, Phase.AWAITING_APPROVAL)

        approval_give(deployment_id=second.id, is_approved=True, actor="eva", now=clock.utc_now())

        world.until(second, Phase.SETTLING)

    def test_that_is_refused_cancels(self, world: World) -> None:
        world.served()
        rules(approvals_needed=1)
        second = world.deploy(2)
        world.until(second, Phase.AWAITING_APPROVAL)

        approval_give(deployment_id=second.id, is_approved=False, actor="eva", now=clock.utc_now())

        world.until(second, Phase.CANCELLED)

    def test_of_a_step_is_asked_anew_by_a_retry(self, world: World) -> None:
        """C33."""
        canary = world.observing()
        world.gated(canary)
        for number in (1, 2):
            world.serve(canary, v1=(900, 0), v2=(100, 0))
            world.pass_step()
            held = world.until(canary, Phase.HELD)
            assert (held.number, held.held_reason) == (number, Held.GATE)
            with pytest.raises(IllegalTransition):
                world.give(canary, Command.PROMOTE_FULL)
            if number == 1:
                approval_give(
                    deployment_id=canary.id, is_approved=True, actor="eva", now=clock.utc_now()
                )
                world.tick(3)
                assert world.at(canary).step_index == 1
                world.give(canary, Command.ROLLBACK)
                world.until(canary, Phase.ROLLED_BACK)
                world.give(canary, Command.RETRY)
                world.until(canary, Phase.OBSERVING)


class TestOtherHands:
    def test_cannot_move_or_remove_the_alias_meanwhile(self, world: World) -> None:
        canary = world.observing()
        given = {"function_name": "thumbs", "name": "production", "actor": "x"}

        with pytest.raises(Conflict, match=str(canary.id)):
            aliases.alias_update(**given, weights={3: 10_000}, now=clock.utc_now())
        with pytest.raises(Conflict, match=str(canary.id)):
            aliases.alias_delete(**given, now=clock.utc_now())

        world.give(canary, Command.ABORT)
        world.until(canary, Phase.ROLLED_BACK)
        aliases.alias_update(**given, weights={3: 10_000}, now=clock.utc_now())

    def test_cannot_make_an_alias_that_is_being_made(self, world: World) -> None:
        world.heartbeats(2)
        first = world.deploy(1)
        assert world.phase(first) is Phase.PREPARING

        with pytest.raises(Conflict, match=str(first.id)):
            aliases.alias_create(
                function_name="thumbs", name="production", weights={2: 10_000}, actor="x",
                now=clock.utc_now(),
            )  # fmt: skip

    def test_cannot_remove_a_version_that_is_needed(self, world: World) -> None:
        """Rule 3: what it goes back to stays."""
        canary = world.observing()

        with pytest.raises(Conflict, match=str(canary.id)):
            versions.version_delete(name="thumbs", version="v2", actor="x", now=clock.utc_now())
        assert versions.versions_prune(keep=1, now=clock.utc_now()) == 0

        world.give(canary, Command.ABORT)
        world.until(canary, Phase.ROLLED_BACK)
        versions.version_delete(name="thumbs", version="v2", actor="x", now=clock.utc_now())

    def test_cannot_remove_a_version_that_is_queued(self) -> None:
        world = World(versions=4)
        canary = world.observing()
        third = world.deploy(3)
        assert world.phase(third) is Phase.QUEUED

        with pytest.raises(Conflict, match=str(third.id)):
            versions.version_delete(name="thumbs", version="v3", actor="x", now=clock.utc_now())

        world.give(third, Command.ABORT)
        versions.version_delete(name="thumbs", version="v3", actor="x", now=clock.utc_now())
        world.give(canary, Command.ABORT)
        world.until(canary, Phase.ROLLED_BACK)
        with pytest.raises(NotFound):
            world.give(third, Command.RETRY)

    def test_that_delete_the_function_end_the_rollout(self, world: World) -> None:
        canary = world.observing()

        functions.function_delete(name="thumbs", actor="x", now=clock.utc_now())
        world.tick(3)
        world.pass_time(31)  # gateways have no route to report any more

        world.until(canary, Phase.ROLLED_BACK)
        assert world.split() is None

    def test_that_only_scale_or_upload_start_nothing(self) -> None:
        """C13."""
        api = client()
        create(api)
        upload(api)
        upload(api)

        assert api.patch("/api/v1/functions/thumbs", {"maxInstances": 3}).status_code == 200
        assert Deployment.objects.count() == 0
        assert not Environment.objects.exists()
