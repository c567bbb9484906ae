"""Deployments in the portal: the list, the page, its verbs, and the form that starts one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deployments.models import Deployment
from deployments.services.environments import environment_put
from deployments.states import Command, Phase
from hotswap.core import clock
from tests.integration.deployments.world import World

pytestmark = pytest.mark.django_db(transaction=True)

FORM = {
    "version": "v2",
    "alias": "production",
    "strategy": "Canary",
    "increments": "10, 50, 100",
    "canaryDuration": "10",
    "canaryDuration.unit": "M",
    "rollbackThresholds.errorRate": "5",
}


@pytest.fixture
def world() -> World:
    return World()


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())


def page(browser: Client, deployment: Deployment) -> str:
    return text(browser.get(f"/deployments/{deployment.id}"))


def give(browser: Client, deployment: Deployment, command: str, **more: str) -> Any:
    page = f"/deployments/{deployment.id}"
    headers = {"Referer": f"http://testserver{page}"}
    form = {"command": command, **more}
    return browser.post(f"{page}/command", form, headers=headers, follow=True)


class TestTheList:
    def test_teaches_while_there_is_none(self, browser: Client, world: World) -> None:
        shown = text(browser.get("/deployments"))

        assert "No deployments yet" in shown
        assert 'class="lesson"' in shown
        assert "/functions/thumbs/deploy" in shown

    def test_has_what_runs_before_what_is_over(self, browser: Client, world: World) -> None:
        over = world.deploy(1)
        world.until(over, Phase.SUCCEEDED)
        running = world.deploy(2, "Canary")
        world.until(running, Phase.OBSERVING)

        shown = text(browser.get("/deployments"))

        assert shown.index(str(running.id)) < shown.index(str(over.id))

    @pytest.mark.parametrize(
        ("query", "is_found"),
        [
            ("function=thu", True),
            ("function=other", False),
            ("state=active", True),
            ("state=succeeded", False),
            ("state=observing", True),
            ("strategy=Canary&alias=production", True),
            ("strategy=Rolling", False),
            ("alias=staging", False),
        ],
    )
    def test_filters_by_its_address(
        self, browser: Client, world: World, query: str, is_found: bool
    ) -> None:
        world.served()
        deployment = world.deploy(2, "Canary")
        world.until(deployment, Phase.OBSERVING)

        shown = text(browser.get(f"/deployments?{query}"))

        assert (str(deployment.id) in shown) is is_found

    def test_goes_on_to_older_ones(self, browser: Client, world: World) -> None:
        first = world.deploy(1)
        world.until(first, Phase.SUCCEEDED)
        for _ in range(51):
            world.give(world.deploy(2), Command.ABORT)

        shown = text(browser.get("/deployments"))
        cursor = shown.partition('href="?cursor=')[2].partition('"')[0]

        assert str(first.id) not in shown
        assert str(first.id) in text(browser.get(f"/deployments?cursor={cursor}"))

    def test_asks_as_often_for_many_as_for_few(self, browser: Client, world: World) -> None:
        asked = []
        for count in (2, 8):
            for _ in range(count):
                world.give(world.deploy(2), Command.ABORT)
            with CaptureQueriesContext(connection) as captured:
                text(browser.get("/deployments"))
            asked.append(len(captured))

        assert asked[0] == asked[1]


class TestThePage:
    def test_says_where_it_stands_and_what_follows(self, browser: Client, world: World) -> None:
        deployment = world.observing()

        shown = page(browser, deployment)

        assert 'data-phase="observing"' in shown
        assert 'aria-current="step"' in shown
        assert "50 %, if the judge passes" in shown
        assert "v1" in shown
        assert "started by ada" in shown

    def test_offers_only_what_is_possible(self, browser: Client, world: World) -> None:
        deployment = world.observing()
        offered = page(browser, deployment)
        world.give(deployment, Command.PAUSE)
        held = page(browser, deployment)

        for name in ("promote", "promote-full", "pause", "abort"):
            assert f'id="do-{name}"' in offered
        for name in ("resume", "rollback", "retry", "approve", "reject"):
            assert f'id="do-{name}"' not in offered
        assert 'id="do-resume"' in held

    def test_has_the_judges_arithmetic(self, browser: Client, world: World) -> None:
        deployment = world.observing()
        world.serve(deployment, v1=(900, 5), v2=(40, 1))
        world.tick()

        shown = page(browser, deployment)

        assert "Bad calls, against the limit" in shown
        assert "1 of 40" in shown
        assert "would have been caught with" in shown

    def test_gives_the_key_to_look_at_the_candidate_first(
        self, browser: Client, world: World
    ) -> None:
        deployment = world.observing()
        key = world.at(deployment).preview_key

        assert f"x-hotswap-preview: {key}" in page(browser, deployment)
        world.give(deployment, Command.ROLLBACK)
        world.until(deployment, Phase.ROLLED_BACK)
        assert key not in page(browser, deployment)

    def test_shows_the_receipt_at_the_end(self, browser: Client, world: World) -> None:
        deployment = world.observing()
        world.serve(deployment, v1=(90, 0), v2=(10, 0))
        world.give(deployment, Command.ROLLBACK, reason="it smells")
        world.until(deployment, Phase.ROLLED_BACK)

        shown = page(browser, deployment)

        assert "nothing dropped" in shown
        assert "it smells" in shown
        assert 'id="do-retry"' in shown

    def test_escapes_what_people_write(self, browser: Client, world: World) -> None:
        world.served()
        deployment = world.deploy(2, "Canary", message="<script>alert(1)</script>")

        assert "<script>alert" not in page(browser, deployment)

    def test_can_be_asked_for_its_live_part(self, browser: Client, world: World) -> None:
        deployment = world.observing()

        part = text(browser.get(f"/deployments/{deployment.id}", headers={"X-Partial": "1"}))

        assert "<html" not in part
        assert 'id="phase"' in part

    def test_is_not_there_for_an_unknown_deployment(self, browser: Client) -> None:
        answer = browser.get("/deployments/00000000-0000-0000-0000-000000000007")

        assert answer.status_code == 404

    def test_wants_somebody_signed_in(self, world: World) -> None:
        assert Client().get(f"/deployments/{world.deploy(1).id}").status_code == 302

    def test_compares_the_versions_of_a_test(self, browser: Client, world: World) -> None:
        world.served()
        config = {"versionA": "v1", "versionB": "v2"}
        deployment = world.deploy(2, "ABTesting", config=config)
        world.until(deployment, Phase.OBSERVING)
        world.serve(deployment, v1=(100, 4), v2=(100, 1))

        shown = page(browser, deployment)

        assert "v1 against v2" in shown
        assert "4 %" in shown


class TestVerbs:
    def test_pause_and_resume(self, browser: Client, world: World) -> None:
        deployment = world.observing()

        give(browser, deployment, "pause")
        assert world.phase(deployment) is Phase.HELD
        give(browser, deployment, "resume")

        assert world.phase(deployment) is Phase.OBSERVING

    def test_rolls_back_for_a_reason_that_is_kept(self, browser: Client, world: World) -> None:
        deployment = world.observing()

        give(browser, deployment, "rollback", reason="customers complain")
        last = world.until(deployment, Phase.ROLLED_BACK)

        event = last.events.filter(to_phase=Phase.ROLLING_BACK).get()
        assert (event.actor, "customers complain" in event.reason) == ("ada", True)

    def test_says_why_not(self, browser: Client, world: World) -> None:
        deployment = world.observing()

        answer = give(browser, deployment, "retry")

        assert 'role="alert"' in text(answer)
        assert world.phase(deployment) is Phase.OBSERVING

    def test_a_second_person_approves(self, browser: Client, world: World) -> None:
        world.served()
        environment_put(
            name="production", changes={"approvals_needed": 1}, actor="eva", now=clock.utc_now()
        )
        deployment = world.deploy(2, "Canary")
        world.until(deployment, Phase.AWAITING_APPROVAL)
        own = page(browser, deployment)
        other = Client()
        other.force_login(get_user_model().objects.create_user("grace"))
        assert 'id="do-approve"' in page(other, deployment)

        give(other, deployment, "approve", digest=deployment.digest)

        assert 'id="do-approve"' not in own
        assert "somebody else must approve it" in own
        world.until(deployment, Phase.OBSERVING)


class TestTheForm:
    def test_starts_a_deployment(self, browser: Client, world: World) -> None:
        world.served()

        answer = browser.post(
            "/functions/thumbs/deploy",
            {**FORM, "message": "New codec", "rollbackThresholds.latencyP99Ms": "800"},
        )

        made = Deployment.objects.get(to_number=2)
        assert answer["Location"] == f"/deployments/{made.id}"
        assert (made.message, made.created_by) == ("New codec", "ada")
        assert made.config == {
            "increments": [10, 50, 100],
            "canaryDuration": "PT10M",
            "rollbackThresholds": {"errorRate": 0.05, "latencyP99Ms": 800},
        }

    def test_says_what_is_wrong_beside_the_field(self, browser: Client, world: World) -> None:
        world.served()
        wrong = {**FORM, "increments": "50, 10, 100", "canaryDuration": "-3"}

        shown = text(browser.post("/functions/thumbs/deploy", wrong))

        for field, message in (
            ("Canary-increments", "Each must be larger than the one before."),
            ("Canary-canaryDuration", "is negative"),
        ):
            error = shown.partition(f'id="{field}-error"')[2].partition("</span>")[0]
            assert message in error
        assert 'value="50, 10, 100"' in shown
        assert not Deployment.objects.filter(to_number=2).exists()

    def test_opens_with_the_version_that_was_chosen(self, browser: Client, world: World) -> None:
        shown = text(browser.get("/functions/thumbs/deploy?version=v2"))

        assert '<option value="v2" selected>' in shown

    def test_is_for_functions_that_exist(self, browser: Client) -> None:
        assert browser.get("/functions/nobody/deploy").status_code == 404


class TestThePreview:
    @pytest.fixture
    def preview(self, browser: Client, world: World) -> Callable[..., dict[str, Any]]:
        world.served()

        def ask(**changes: str) -> dict[str, Any]:
            answer = browser.post("/functions/thumbs/deploy/preview", {**FORM, **changes})
            assert answer.status_code == 200
            return dict(answer.json())

        return ask

    def test_shows_the_steps_and_writes_nothing(
        self, preview: Callable[..., dict[str, Any]]
    ) -> None:
        shown = preview()

        assert shown["errors"] == {}
        assert all(share in shown["html"] for share in ("10 %", "50 %", "100 %"))
        assert "It starts at once." in shown["html"]
        assert not Deployment.objects.filter(to_number=2).exists()

    def test_warns_where_nobody_calls(self, preview: Callable[..., dict[str, Any]]) -> None:
        assert "Nobody called this function" in preview()["html"]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"increments": "ten"}, "increments"),
            ({"canaryDuration": "soon"}, "canaryDuration"),
            ({"rollbackThresholds.errorRate": "300"}, "rollbackThresholds.errorRate"),
            ({"minimumCalls": "0.5"}, "minimumCalls"),
            ({"stickyBy": "moon"}, "stickyBy"),
            ({"mirrorPercentage": "10"}, "mirrorPercentage"),
            ({"strategy": "Rolling", "batchSize": "900"}, "batchSize"),
            ({"strategy": "ABTesting", "share": "100"}, "share"),
            ({"strategy": "Regional"}, "strategy"),
            ({"alias": "no alias!"}, "alias"),
            ({"version": "v9"}, ""),
        ],
    )
    def test_names_the_field_that_is_wrong(
        self, preview: Callable[..., dict[str, Any]], changes: dict[str, str], field: str
    ) -> None:
        assert field in preview(**changes)["errors"]

    @pytest.mark.parametrize("strategy", ["BlueGreen", "Rolling", "ABTesting", "AllAtOnce"])
    def test_knows_every_strategy_as_the_form_fills_it_in(
        self, preview: Callable[..., dict[str, Any]], strategy: str
    ) -> None:
        assert preview(strategy=strategy)["errors"] == {}


class TestOtherPages:
    def test_the_overview_names_what_needs_a_person(self, browser: Client, world: World) -> None:
        deployment = world.observing()
        running = text(browser.get("/"))
        world.give(deployment, Command.PAUSE)
        held = text(browser.get("/"))

        assert "Rolling out now" in running
        assert "Needs a person" not in running
        assert "Needs a person" in held
        assert f"/deployments/{deployment.id}" in held

    @pytest.mark.parametrize(
        "tab", ["", "/versions", "/invocations", "/logs", "/metrics", "/configuration"]
    )
    def test_every_tab_of_the_function_shows_the_rollout(
        self, browser: Client, world: World, tab: str
    ) -> None:
        deployment = world.observing()

        shown = text(browser.get(f"/functions/thumbs{tab}"))

        assert "Rolling out to production" in shown
        assert f"/deployments/{deployment.id}" in shown

    def test_an_alias_under_way_cannot_be_moved_by_hand(
        self, browser: Client, world: World
    ) -> None:
        world.observing()

        shown = text(browser.get("/functions/thumbs/versions"))

        assert 'data-alias="production"' not in shown
        assert "Watch rollout" in shown
        assert "/functions/thumbs/deploy?version=v3" in shown
