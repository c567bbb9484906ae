"""Controllers that run twice, late, or die: one effect each, and the same end."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import DatabaseError, connection, transaction

from deployments import machine
from deployments.models import Attempt, Deployment
from deployments.reconcilers import attempt as reconciler
from deployments.services.clock import database_now
from deployments.services.commands import attempt_lock
from deployments.services.events import is_chain_whole
from deployments.services.observation import observe
from deployments.services.transitions import apply
from deployments.states import Command, Phase
from hotswap import publisher
from hotswap.core import clock
from hotswap.core.errors import Conflict, HotSwapError, IllegalTransition, StaleRow
from hotswap.records import services as records
from hotswap.records.models import OutboxEvent
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    return World()


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Run these in threads that begin together; returns what they raised."""
    barrier = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        except (HotSwapError, DatabaseError) as exc:
            raised.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def story(of: Deployment) -> list[str]:
    """The phases that an attempt went through."""
    rows = Attempt.objects.get(deployment=of).events.filter(kind="phase").order_by("seq")
    return [event.to_phase for event in rows]


FORWARD = [
    Phase.PREPARING, Phase.SHIFTING, Phase.OBSERVING, Phase.PROMOTING, Phase.SETTLING,
    Phase.SUCCEEDED,
]  # fmt: skip
BACK = [Phase.ROLLING_BACK, Phase.ROLLED_BACK]


class TestTwoAtOnce:
    def test_make_every_move_once(self, world: World) -> None:
        """C35, rule 8: four controllers, one history."""
        world.served()
        second = world.deploy(2, config={"keepBlue": "PT0S"})
        wanted = world.at(second).id
        for _ in range(12):
            world.live()
            raised = at_once(*[lambda: reconciler.reconcile(attempt_id=wanted)] * 4)
            assert raised == []

        assert story(second) == FORWARD
        assert is_chain_whole(world.at(second).events.order_by("seq"))
        assert world.at(second).epoch == 3  # prepared, shifted, promoted

    def test_of_the_same_command_change_one_thing(self, world: World) -> None:
        canary = world.observing()

        raised = at_once(*[lambda: world.give(canary, Command.ABORT)] * 4)

        assert raised == []
        assert story(canary).count(Phase.ROLLING_BACK) == 1

    def test_of_two_commands_the_later_one_sees_what_the_first_did(self, world: World) -> None:
        """C31: a promote never undoes an abort."""
        canary = world.observing()

        at_once(
            lambda: world.give(canary, Command.ABORT), lambda: world.give(canary, Command.PROMOTE)
        )

        assert Phase.ROLLING_BACK in story(canary)
        assert world.at(canary).weight == 0

    def test_start_one_of_two_deployments(self, world: World) -> None:
        """The lock on an alias: the second one queues."""
        world.served()

        raised = at_once(lambda: world.deploy(2), lambda: world.deploy(3))

        assert raised == [] or all(isinstance(exc, Conflict) for exc in raised)
        running = Attempt.objects.exclude(phase__in=[Phase.QUEUED, Phase.SUCCEEDED])
        assert running.count() <= 1

    def test_that_decided_on_an_old_state_change_nothing(self, world: World) -> None:
        """C31, rule 8: fenced by the row's version."""
        canary = world.observing()
        stale = attempt_copy(canary)
        view = observe(attempt=stale, now=database_now())
        world.give(canary, Command.PAUSE)

        with pytest.raises(StaleRow):
            apply(
                attempt=stale,
                view=view,
                decision=machine.command(view, Command.PROMOTE_FULL, actor="eva"),
                now=database_now(),
            )

        assert world.phase(canary) is Phase.HELD
        assert world.at(canary).weight == 1_000


def attempt_copy(of: Deployment) -> Attempt:
    """The newest attempt as a controller loads it."""
    with transaction.atomic():
        return attempt_lock(deployment_id=of.id)


@contextlib.contextmanager
def crash_at(phase: Phase) -> Iterator[None]:
    """The transaction that would enter this phase dies just before its commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.to_phase = '{phase}' THEN RAISE EXCEPTION 'the controller died'; END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER crash AFTER INSERT ON deployments_event
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crash();
            """
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER crash ON deployments_event; DROP FUNCTION crash();")


class TestDeath:
    @pytest.mark.parametrize("phase", FORWARD)
    def test_at_any_boundary_forward_leads_to_the_same_end(
        self, world: World, phase: Phase
    ) -> None:
        """C34: dead before the commit, the move has not been; the next controller makes it."""
        world.served()
        with crash_at(phase):
            with contextlib.suppress(DatabaseError):
                world.deploy(2, config={"keepBlue": "PT0S"})
            second = Deployment.objects.get(to_number=2)
            for _ in range(5):
                with contextlib.suppress(DatabaseError):  # hints and ticks die alike
                    world.tick()
            assert phase not in story(second)

        world.until(second, Phase.SUCCEEDED)

        assert story(second) == FORWARD
        assert (world.alias_number(), world.split()) == (2, None)

    @pytest.mark.parametrize("phase", BACK)
    def test_at_any_boundary_of_a_rollback_leads_back(self, world: World, phase: Phase) -> None:
        """C34: also when it dies while it takes back what was promoted."""
        world.served()
        second = world.deploy(2)
        world.until(second, Phase.SETTLING)
        with crash_at(phase):
            for _ in range(5):
                with contextlib.suppress(DatabaseError, IllegalTransition):
                    world.give(second, Command.ROLLBACK)
                with contextlib.suppress(DatabaseError):
                    world.tick()
            assert phase not in story(second)

        world.give(second, Command.ROLLBACK)
        world.until(second, Phase.ROLLED_BACK)

        assert story(second)[-2:] == BACK
        assert (world.alias_number(), world.split()) == (1, None)

    def test_after_the_commit_leaves_a_route_that_the_sweep_publishes(self, world: World) -> None:
        """C34: committed, but never published."""
        canary = world.observing()
        records.routing_publish_with(lambda: None)  # dies after the commit
        try:
            world.give(canary, Command.ABORT)
        finally:
            records.routing_publish_with(publisher.publish)
        assert OutboxEvent.objects.filter(key=world.key).exists()

        publisher.sweep(now=clock.utc_now())

        split = world.split()
        assert split is not None
        assert split.weight == 0
        world.until(canary, Phase.ROLLED_BACK)
