"""Deployments in the administration: to be looked at, and the same verbs for many at once."""

import pytest
from django.test import Client

from deployments.models import Deployment
from deployments.states import Command, Phase
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ("deployment", "attempt", "event", "environment", "freezewindow")


def act(admin: Client, action: str, *chosen: Deployment) -> str:
    """Run an action on the chosen rows; the page that follows."""
    form = {"action": action, "_selected_action": [str(each.id) for each in chosen]}
    answer = admin.post("/admin/deployments/deployment/", form, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


class TestTheAdmin:
    @pytest.mark.parametrize("page", PAGES)
    def test_shows_rows_and_edits_none(self, admin_client: Client, page: str) -> None:
        World().observing()

        assert admin_client.get(f"/admin/deployments/{page}/").status_code == 200
        assert admin_client.get(f"/admin/deployments/{page}/add/").status_code == 403

    @pytest.mark.parametrize(
        ("action", "phases"),
        [
            ("pause_deployments", {Phase.HELD}),
            ("promote_deployments", {Phase.SHIFTING}),
            ("abort_deployments", {Phase.ROLLING_BACK, Phase.ROLLED_BACK}),
            ("rollback_deployments", {Phase.ROLLING_BACK, Phase.ROLLED_BACK}),
        ],
    )
    def test_gives_the_commands_of_the_page(
        self, admin_client: Client, action: str, phases: set[Phase]
    ) -> None:
        world = World()
        deployment = world.observing()

        act(admin_client, action, deployment)

        assert world.phase(deployment) in phases
        last = world.at(deployment).events.order_by("-seq")
        assert last.filter(actor="admin").exists()

    def test_says_what_was_refused_and_does_the_rest(self, admin_client: Client) -> None:
        world = World()
        deployment = world.observing()
        over = Deployment.objects.exclude(id=deployment.id).get()

        shown = act(admin_client, "pause_deployments", over, deployment)

        assert str(over.id) in shown
        assert world.phase(deployment) is Phase.HELD

    def test_tries_again_what_was_rolled_back(self, admin_client: Client) -> None:
        world = World()
        deployment = world.observing()
        world.give(deployment, Command.ROLLBACK)
        world.until(deployment, Phase.ROLLED_BACK)

        act(admin_client, "retry_deployments", deployment)

        assert world.at(deployment).number == 2
