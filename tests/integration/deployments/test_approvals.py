"""Approvals through the API: who may say what, when, and what follows."""

import pytest

from deployments.models import Approval, Deployment
from deployments.services import environments
from deployments.services.approvals import approval_state
from deployments.services.events import is_chain_whole
from deployments.states import Command, Phase
from hotswap.core import clock
from hotswap.records.models import AuditEvent
from tests.integration.control import client
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db

GATED = {
    "canaryPercentage": 10,
    "increments": [10, 100],
    "canaryDuration": "PT1S",
    "approvalBefore": "promotion",
}


def world(approvals_needed=1):
    """v1 is served, and whoever wants v2 has to ask."""
    made = World()
    made.until(made.deploy(1), Phase.SUCCEEDED)
    environments.environment_put(
        name="production",
        changes={"approvals_needed": approvals_needed, "approval_seconds": 3_600},
        actor="ada",
        now=clock.utc_now(),
    )
    return made


def waiting(approvals_needed=1):
    """A world and ada's deployment in it that waits for approval."""
    made = world(approvals_needed)
    deployment = made.deploy(2)
    made.until(deployment, Phase.AWAITING_APPROVAL)
    return made, deployment


def say(word, deployment, username, **body):
    api = client("deployments:approve", "deployments:read", username=username)
    return api.post(f"/api/v1/deployments/{deployment.id}/{word}", body)


class TestApproving:
    def test_by_enough_persons_starts_the_deployment(self):
        made, deployment = waiting(approvals_needed=2)

        assert say("approve", deployment, "bob").status_code == 200
        made.tick(3)
        assert made.phase(deployment) is Phase.AWAITING_APPROVAL
        assert say("approve", deployment, "cyd").status_code == 200
        made.tick()

        assert made.phase(deployment) is not Phase.AWAITING_APPROVAL
        made.until(deployment, Phase.SETTLING)
        assert made.alias_number() == 2

    def test_by_the_person_who_made_the_deployment_does_not_count(self):
        made, deployment = waiting()

        response = say("approve", deployment, "ada")

        assert response.status_code == 403
        assert "somebody else" in response.json()["detail"]
        assert Approval.objects.count() == 0
        made.tick(3)
        assert made.phase(deployment) is Phase.AWAITING_APPROVAL

    def test_counts_once_per_person(self):
        _, deployment = waiting(approvals_needed=2)

        first, again = (say("approve", deployment, "bob") for _ in range(2))

        assert (first.status_code, again.status_code) == (200, 200)
        state = approval_state(deployment=deployment)
        assert (state.approved_by, state.is_enough) == (("bob",), False)

    def test_cannot_be_taken_back(self):
        _, deployment = waiting(approvals_needed=2)
        say("approve", deployment, "bob")

        response = say("reject", deployment, "bob")

        assert response.status_code == 409
        assert approval_state(deployment=deployment).rejected_by == ()

    def test_is_kept_with_its_comment_in_the_history_and_the_audit_trail(self):
        made, deployment = waiting()

        say("approve", deployment, "bob", reason="looked at the diff")

        event = made.at(deployment).events.get(kind="approval.approve")
        assert (event.actor, event.reason) == ("bob", "looked at the diff")
        assert event.detail["digest"] == deployment.digest
        assert is_chain_whole(made.at(deployment).events.order_by("seq"))
        audited = AuditEvent.objects.get(verb="deployment.approve")
        assert (audited.actor, audited.subject) == ("bob", f"deployment/{deployment.id}")

    def test_needs_a_right_of_its_own(self):
        _, deployment = waiting()
        writer = client("deployments:write", username="bob")

        response = writer.post(f"/api/v1/deployments/{deployment.id}/approve", {})

        assert response.status_code == 403
        assert response.json()["scope"] == "deployments:approve"

    def test_of_what_does_not_exist_is_404(self):
        world()
        nobody = Deployment(id="00000000-0000-4000-8000-000000000000")

        assert say("approve", nobody, "bob").status_code == 404


class TestDigest:
    def test_of_something_else_is_refused(self):
        _, deployment = waiting()

        response = say("approve", deployment, "bob", digest="0" * 64)

        assert response.status_code == 409
        assert response.json()["digest"] == deployment.digest
        assert Approval.objects.count() == 0

    def test_of_what_is_there_is_accepted(self):
        _, deployment = waiting(approvals_needed=2)

        assert say("approve", deployment, "bob", digest=deployment.digest).status_code == 200
        assert approval_state(deployment=deployment).approved_by == ("bob",)

    def test_that_changes_afterwards_makes_the_word_void(self):
        made, deployment = waiting(approvals_needed=2)
        say("approve", deployment, "bob")
        Deployment.objects.filter(id=deployment.id).update(digest="e" * 64)

        say("approve", deployment, "cyd")
        made.tick(3)

        deployment.refresh_from_db()
        assert approval_state(deployment=deployment).approved_by == ("cyd",)
        assert made.phase(deployment) is Phase.AWAITING_APPROVAL


class TestRejecting:
    def test_by_one_person_cancels(self):
        made, deployment = waiting(approvals_needed=2)
        say("approve", deployment, "bob")

        assert say("reject", deployment, "cyd", reason="not today").status_code == 200
        made.tick()

        assert made.phase(deployment) is Phase.CANCELLED
        assert made.alias_number() == 1


class TestWaiting:
    @pytest.mark.parametrize("word", ["approve", "reject"])
    def test_is_what_a_word_is_for_and_nothing_else(self, word):
        made = World()
        made.until(made.deploy(1), Phase.SUCCEEDED)
        deployment = made.deploy(2)
        made.until(deployment, Phase.SETTLING)

        response = say(word, deployment, "bob")

        assert response.status_code == 409
        assert response.json()["type"] == "/problems/illegal-transition"

    def test_keeps_the_alias_where_those_who_approve_saw_it(self):
        made, deployment = waiting()
        alias = f"/api/v1/functions/{made.function.name}/aliases/production"

        moved = client(username="cyd").put(alias, {"version": "v2"})

        assert (moved.status_code, moved.json()["type"]) == (409, "/problems/conflict")
        assert str(deployment.id) in moved.json()["detail"]
        say("reject", deployment, "bob")
        made.until(deployment, Phase.CANCELLED)
        assert client(username="cyd").put(alias, {"version": "v2"}).status_code == 200

    def test_ends_with_its_time(self):
        made, deployment = waiting()
        made.pass_time(3_601)

        late = say("approve", deployment, "bob")
        made.tick()

        assert late.status_code == 409
        assert made.phase(deployment) is Phase.CANCELLED

    def test_c33_begins_anew_with_every_try(self):
        made, deployment = waiting()
        say("approve", deployment, "bob")
        made.until(deployment, Phase.SETTLING)
        made.give(deployment, Command.ROLLBACK, reason="it smells")
        made.until(deployment, Phase.ROLLED_BACK)

        made.give(deployment, Command.RETRY)
        made.tick(3)

        assert made.phase(deployment) is Phase.AWAITING_APPROVAL
        assert say("approve", deployment, "bob").status_code == 200
        made.until(deployment, Phase.SETTLING)
        assert Approval.objects.count() == 2


class TestBetweenSteps:
    @pytest.fixture
    def held(self):
        """A canary at 10 % that waits for a person before it goes on."""
        made = World()
        made.until(made.deploy(1), Phase.SUCCEEDED)
        deployment = made.deploy(2, "Canary", config=GATED)
        made.until(deployment, Phase.OBSERVING)
        for _ in range(3):
            made.pass_time(10)
            made.serve(deployment, v1=(9_000, 0), v2=(1_000, 0))
            made.tick()
        assert made.at(deployment).held_reason == "gate", made.at(deployment).reason
        return made, deployment

    def test_a_person_lets_it_go_on(self, held):
        made, deployment = held

        assert say("approve", deployment, "bob").status_code == 200
        made.tick(2)

        assert made.at(deployment).step_index == 1

    def test_a_person_s_no_brings_everything_back(self, held):
        made, deployment = held

        say("reject", deployment, "bob")
        made.until(deployment, Phase.ROLLED_BACK)

        assert made.alias_number() == 1

    def test_c82_waiting_for_approval_still_rolls_back_on_a_breach(self, held):
        made, deployment = held

        made.serve(deployment, v1=(900, 0), v2=(100, 60))
        made.until(deployment, Phase.ROLLED_BACK)

        assert made.alias_number() == 1
        assert say("approve", deployment, "bob").status_code == 409

    def test_the_word_of_the_start_does_not_open_a_later_gate(self, held):
        made, deployment = held
        Approval.objects.create(
            deployment=deployment, gate="1/start", actor="bob", is_approved=True,
            digest=deployment.digest, at=clock.utc_now(),
        )  # fmt: skip

        made.tick(3)

        assert made.at(deployment).held_reason == "gate"
        assert approval_state(deployment=deployment).approved_by == ()
