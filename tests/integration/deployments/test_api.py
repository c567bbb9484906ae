"""Deployments through the API, over Postgres and a data plane of words."""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deployments.models import Attempt, Deployment
from deployments.services.events import is_chain_whole
from deployments.states import Command, Phase
from deployments.types import Strategy
from functions.models import Function
from hotswap.core import clock
from runners.models import InvocationMinute
from tests.integration.control import client
from tests.integration.deployments.rows import attempt as attempt_row
from tests.integration.deployments.rows import deployment as deployment_row
from tests.integration.deployments.world import World
from tests.integration.runners.reporting import deploy

if TYPE_CHECKING:
    from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db

URL = "/api/v1/deployments"
SETTLED = {"config": {"keepBlue": "PT0S"}}
CANARY = {
    "functionName": "thumbs",
    "version": "v2",
    "strategy": "Canary",
    "config": {
        "canaryPercentage": 10,
        "canaryDuration": "PT10M",
        "rollbackOnErrorRate": 0.05,
        "rollbackOnLatencyP99": 1000,
    },
}
PATTERNS: dict[str, dict[str, Any]] = {
    "Canary": {
        "strategy": "Canary",
        "canaryPercentage": 10,
        "canaryDuration": "PT10M",
        "increments": [10, 50, 100],
        "rollbackThresholds": {"errorRate": 0.05, "latencyP99Ms": 1000, "successRate": 0.95},
    },
    "BlueGreen": {
        "strategy": "BlueGreen",
        "testDuration": "PT5M",
        "switchType": "Instant",
        "keepBlue": "PT1H",
    },
    "Rolling": {
        "strategy": "Rolling",
        "batchSize": 25,
        "batchDuration": "PT5M",
        "rollbackOnFailure": True,
    },
    "ABTesting": {
        "strategy": "ABTesting",
        "versionA": "v1",
        "versionB": "v2",
        "trafficSplit": {"v1": 50, "v2": 50},
        "testDuration": "PT1H",
        "manualPromotion": True,
    },
    "AllAtOnce": {"strategy": "AllAtOnce"},
}


@pytest.fixture
def api() -> "APIClient":
    """A caller with all scopes."""
    return client()


@pytest.fixture
def world() -> World:
    """Two gateways, two runners, and `thumbs`, whose production serves v1."""
    world = World()
    world.until(world.deploy(1), Phase.SUCCEEDED)
    return world


def asked(api: "APIClient", body: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The answer to a request for a deployment."""
    return api.post(URL, {**(body or CANARY), **changes})


def made(api: "APIClient", body: dict[str, Any] | None = None, **changes: Any) -> Deployment:
    """The deployment that a request made."""
    response = asked(api, body, **changes)
    assert response.status_code == 201, response.json()
    return Deployment.objects.get(id=response.json()["id"])


def shown(api: "APIClient", deployment: Deployment) -> dict[str, Any]:
    return dict(api.get(f"{URL}/{deployment.id}").json())


def ordered(api: "APIClient", deployment: Deployment, verb: str, **words: Any) -> Any:
    """The answer to a command."""
    return api.post(f"{URL}/{deployment.id}/{verb}", words)


def fields_of(response: Any) -> set[str]:
    return {error["field"] for error in response.json()["errors"]}


def listed(api: "APIClient", query: str = "") -> list[str]:
    """Ids of one page of the list."""
    response = api.get(f"{URL}?{query}")
    assert response.status_code == 200, response.json()
    return [item["id"] for item in response.json()["items"]]


class TestCreate:
    def test_takes_the_specifications_request(self, api: "APIClient", world: World) -> None:
        """FR-FN-004, literally."""
        response = asked(api)

        body = response.json()
        assert response.status_code == 201
        assert response["Location"] == f"{URL}/{body['id']}"
        assert api.get(response["Location"]).json()["id"] == body["id"]
        assert (body["functionName"], body["alias"]) == ("thumbs", "production")
        assert (body["fromVersion"], body["toVersion"]) == ("v1", "v2")
        assert (body["strategy"], body["createdBy"]) == ("Canary", "ada")
        assert [step["weight"] for step in body["steps"]] == [1_000, 5_000, 10_000]
        assert [step["hold"] for step in body["steps"]] == ["PT10M"] * 3
        assert (body["limits"]["errorRate"], body["limits"]["latencyP99Ms"]) == (0.05, 1_000)

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_takes_the_patterns_with_settings_beside_the_strategy(
        self, api: "APIClient", world: World, pattern: str
    ) -> None:
        response = asked(api, {"functionName": "thumbs", "version": "v2", **PATTERNS[pattern]})

        assert response.status_code == 201, response.json()
        assert response.json()["strategy"] == pattern
        kept = {key: value for key, value in PATTERNS[pattern].items() if key != "strategy"}
        assert response.json()["config"] == kept

    @pytest.mark.parametrize("version", ["v2", "2", 2, "V2"])
    def test_takes_versions_in_every_spelling(
        self, api: "APIClient", world: World, version: object
    ) -> None:
        assert asked(api, version=version).json()["toVersion"] == "v2"

    def test_takes_the_newest_version(self, api: "APIClient", world: World) -> None:
        assert asked(api, version="$LATEST").json()["toVersion"] == "v3"

    @pytest.mark.parametrize("key", ["alias", "environment"])
    def test_goes_to_another_alias_where_one_is_named(
        self, api: "APIClient", world: World, key: str
    ) -> None:
        body = asked(api, **{key: "staging"}).json()

        assert (body["alias"], body["fromVersion"]) == ("staging", None)

    def test_refuses_two_names_for_two_targets(self, api: "APIClient", world: World) -> None:
        response = asked(api, alias="staging", environment="production")

        assert response.status_code == 422
        assert fields_of(response) == {"environment"}

    def test_knows_the_version_of_an_ab_test_by_what_is_served(
        self, api: "APIClient", world: World
    ) -> None:
        """The alias serves v1, which is arm B here."""
        pattern = {**PATTERNS["ABTesting"], "versionA": "v2", "versionB": "v1"}
        split = {"v1": 80, "v2": 20}

        body = asked(api, {"functionName": "thumbs", **pattern, "trafficSplit": split}).json()

        assert (body["fromVersion"], body["toVersion"]) == ("v1", "v2")
        assert body["steps"][0]["weight"] == 2_000
        assert (body["policies"]["stickyBy"], body["policies"]["isDecidedByPerson"]) == (
            "user",
            True,
        )

    @pytest.mark.parametrize("arms", [("v2", "v3"), ("v1", "v1")])
    def test_refuses_an_ab_test_without_the_version_that_is_served(
        self, api: "APIClient", world: World, arms: tuple[str, str]
    ) -> None:
        pattern = {"strategy": "ABTesting", "versionA": arms[0], "versionB": arms[1]}

        response = asked(api, {"functionName": "thumbs", **pattern})

        assert response.status_code == 422
        assert fields_of(response) == {"versionA"}

    def test_is_made_once_however_often_it_is_sent(self, api: "APIClient", world: World) -> None:
        before = Deployment.objects.count()
        first = api.post(URL, CANARY, headers={"Idempotency-Key": "release-5"})
        again = api.post(URL, CANARY, headers={"Idempotency-Key": "release-5"})

        assert (first.status_code, again.status_code) == (201, 201)
        assert (again.json(), again["Location"]) == (first.json(), first["Location"])
        assert again["Idempotency-Replayed"] == "true"
        assert Deployment.objects.count() == before + 1

    def test_refuses_another_request_under_the_same_key(
        self, api: "APIClient", world: World
    ) -> None:
        api.post(URL, CANARY, headers={"Idempotency-Key": "release-5"})

        other = {**CANARY, "version": "v3"}
        response = api.post(URL, other, headers={"Idempotency-Key": "release-5"})

        assert response.status_code in (409, 422)
        assert Deployment.objects.filter(to_number=3).count() == 0

    def test_is_refused_for_what_the_alias_serves_already(
        self, api: "APIClient", world: World
    ) -> None:
        response = asked(api, version="v1")

        assert (response.status_code, response.json()["type"]) == (409, "/problems/conflict")

    @pytest.mark.parametrize("changes", [{"functionName": "none"}, {"version": "v9"}])
    def test_is_404_for_what_does_not_exist(
        self, api: "APIClient", world: World, changes: dict[str, Any]
    ) -> None:
        response = asked(api, **changes)

        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")

    def test_keeps_a_message_and_whether_it_can_be_taken_back(
        self, api: "APIClient", world: World
    ) -> None:
        body = asked(api, message="Faster thumbs", reversible=False).json()

        assert (body["message"], body["reversible"]) == ("Faster thumbs", False)

    def test_waits_behind_another_in_production(self, api: "APIClient", world: World) -> None:
        first = made(api)

        second = asked(api, version="v3").json()

        assert second["phase"] == "queued"
        assert shown(api, first)["isActive"]


class TestRefusedBodies:
    @pytest.mark.parametrize("missing", ["functionName", "version", "strategy"])
    def test_name_the_field_that_is_missing(
        self, api: "APIClient", world: World, missing: str
    ) -> None:
        body = {key: value for key, value in CANARY.items() if key != missing}

        response = api.post(URL, body)

        assert response.status_code == 422
        assert fields_of(response) == {missing}

    def test_tell_every_fault_of_the_settings_at_once(self, api: "APIClient", world: World) -> None:
        config = {"canaryDuration": "P1M", "canaryPercentage": 0, "colour": "green"}

        response = asked(api, config=config)

        problem = response.json()
        assert (response.status_code, problem["type"]) == (422, "/problems/invalid-input")
        assert fields_of(response) == {"canaryDuration", "canaryPercentage", "colour"}
        assert "their length is not fixed" in str(problem["errors"])

    def test_may_have_settings_in_one_place_only(self, api: "APIClient", world: World) -> None:
        response = asked(api, canaryPercentage=20)

        assert (response.status_code, fields_of(response)) == (422, {"canaryPercentage"})

    @pytest.mark.parametrize("config", ["canary", [], 5, None])
    def test_want_config_to_be_an_object(
        self, api: "APIClient", world: World, config: object
    ) -> None:
        response = asked(api, config=config)

        assert (response.status_code, fields_of(response)) == (422, {"config"})

    def test_say_which_strategies_there_are(self, api: "APIClient", world: World) -> None:
        response = asked(api, strategy="Yolo", config={})

        assert (response.status_code, fields_of(response)) == (422, {"strategy"})
        assert all(strategy in response.json()["detail"] for strategy in Strategy)

    def test_say_what_a_mistyped_setting_may_have_meant(
        self, api: "APIClient", world: World
    ) -> None:
        response = asked(api, config={"canaryPercentge": 10})

        assert "Did you mean canaryPercentage?" in response.json()["detail"]

    def test_are_refused_when_they_mirror_a_function_that_may_not_be_repeated(
        self, api: "APIClient", world: World
    ) -> None:
        config = {"mirrorPercentage": 5}

        refused = asked(api, config=config)
        Function.objects.filter(name="thumbs").update(is_idempotent=True)
        taken = asked(api, config=config)

        assert (refused.status_code, fields_of(refused)) == (422, {"mirrorPercentage"})
        assert (taken.status_code, taken.json()["policies"]["mirror"]) == (201, 500)

    @pytest.mark.parametrize("changes", [{"message": "x" * 501}, {"message": "a\0b"}])
    def test_are_refused_for_messages_that_are_none(
        self, api: "APIClient", world: World, changes: dict[str, Any]
    ) -> None:
        assert asked(api, **changes).status_code == 422

    def test_leave_nothing_behind(self, api: "APIClient", world: World) -> None:
        before = Deployment.objects.count()
        asked(api, config={"increments": [100]})

        assert Deployment.objects.count() == before


class TestPreview:
    @pytest.mark.parametrize(("path", "extra"), [(URL, {"dryRun": True}), (f"{URL}/preview", {})])
    def test_answers_with_the_steps_and_writes_nothing(
        self, api: "APIClient", world: World, path: str, extra: dict[str, bool]
    ) -> None:
        before = (Deployment.objects.count(), Attempt.objects.count())

        response = api.post(path, {**CANARY, **extra})

        body = response.json()
        assert response.status_code == 200
        assert (body["fromVersion"], body["toVersion"]) == ("v1", "v2")
        assert [step["weight"] for step in body["steps"]] == [1_000, 5_000, 10_000]
        assert (body["outcome"], body["strategy"]) == ("start", "Canary")
        assert (Deployment.objects.count(), Attempt.objects.count()) == before

    def test_forecasts_by_todays_traffic(self, api: "APIClient", world: World) -> None:
        """864,000 calls a day are ten a second."""
        version = world.version_id(1)
        now = clock.utc_now()
        Function.objects.filter(name="thumbs").update(created_at=now - timedelta(days=9))
        InvocationMinute.objects.create(
            version_id=version, minute=int(now.timestamp()) // 60 - 60,
            function_id=world.function.id, outcomes={"ok": 864_000}, calls=864_000, cold=0,
            total_us=0, init_us=0, billed_ms=0, memory_peak_kib=0, buckets=[],
        )  # fmt: skip

        body = api.post(f"{URL}/preview", CANARY).json()

        assert body["callsPerSecond"] == pytest.approx(10)
        seconds = body["callsToDetect"] / (body["callsPerSecond"] * 0.1)
        found = body["steps"][0]["timeToDetect"]
        minutes, _, rest = found.removeprefix("PT").removesuffix("S").rpartition("M")
        assert float(minutes or 0) * 60 + float(rest) == pytest.approx(seconds, rel=1e-3)

    def test_says_that_no_traffic_finds_nothing(self, api: "APIClient", world: World) -> None:
        body = api.post(f"{URL}/preview", CANARY).json()

        assert body["callsPerSecond"] == 0
        assert [step["timeToDetect"] for step in body["steps"]] == [None] * 3

    def test_says_what_is_in_the_way(self, api: "APIClient", world: World) -> None:
        running = made(api)

        body = api.post(f"{URL}/preview", {**CANARY, "version": "v3"}).json()

        assert (body["outcome"], body["other"]) == ("queue", str(running.id))

    def test_refuses_what_creating_would_refuse(self, api: "APIClient", world: World) -> None:
        response = api.post(f"{URL}/preview", {**CANARY, "config": {"keepBlue": "P1Y"}})

        assert (response.status_code, fields_of(response)) == (422, {"keepBlue"})


class TestGet:
    def test_shows_where_a_deployment_stands(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        world.serve(deployment, v1=(90, 1), v2=(10, 0))
        world.tick()

        body = shown(api, deployment)

        assert (body["phase"], body["isActive"], body["step"]) == ("observing", True, 1)
        assert (body["attempt"], body["stepCount"], body["heldReason"]) == (1, 3, "")
        assert [step["state"] for step in body["steps"]] == ["current", "next", "next"]
        assert body["weights"] == {"candidate": 1_000, "stable": 9_000, "runners": {}}
        assert [
            (line["version"], line["isCandidate"], line["calls"], line["bad"])
            for line in body["versions"]
        ] == [("v1", False, 90, 1), ("v2", True, 10, 0)]
        assert body["verdict"]["verdict"] in ("inconclusive", "pass")
        assert body["observingSince"] is not None
        assert body["allowedCommands"] == ["promote", "promote-full", "pause", "abort", "rollback"]
        assert body["preview"]["header"] == "x-hotswap-preview"
        assert body["preview"]["key"] == world.at(deployment).preview_key

    def test_links_to_what_belongs_to_it(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        links = shown(api, deployment)["links"]

        assert links["function"] == "/api/v1/functions/thumbs"
        answers = {name: api.get(link).status_code for name, link in links.items()}
        assert answers == dict.fromkeys(links, 200)

    def test_is_not_sent_again_while_nothing_changes(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        tag = api.get(f"{URL}/{deployment.id}")["ETag"]

        known = api.get(f"{URL}/{deployment.id}", headers={"If-None-Match": tag})
        world.serve(deployment, v2=(10, 0))
        after = api.get(f"{URL}/{deployment.id}", headers={"If-None-Match": tag})

        assert (known.status_code, known.content) == (304, b"")
        assert (after.status_code, after["ETag"] == tag) == (200, False)

    @pytest.mark.parametrize("path", ["", "/events", "/evidence"])
    def test_is_404_where_there_is_none(self, api: "APIClient", path: str) -> None:
        response = api.get(f"{URL}/{uuid4()}{path}")

        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")

    @pytest.mark.parametrize("name", ["1", "abc", "preview", "none/events"])
    def test_is_a_problem_document_for_what_is_no_id(self, api: "APIClient", name: str) -> None:
        response = api.get(f"{URL}/{name}")

        assert response.status_code in (404, 405)
        assert response["Content-Type"] == "application/problem+json"

    def test_shows_steps_that_were_skipped_and_those_never_reached(
        self, api: "APIClient", world: World
    ) -> None:
        full = made(api, config={"keepBlue": "PT0S"})
        world.until(full, Phase.OBSERVING)
        ordered(api, full, "promote-full", reason="sure")
        world.until(full, Phase.SUCCEEDED)
        back = made(api, version="v3")
        world.until(back, Phase.OBSERVING)
        ordered(api, back, "rollback")
        world.until(back, Phase.ROLLED_BACK)

        states = [[step["state"] for step in shown(api, one)["steps"]] for one in (full, back)]
        assert states[0][1:] == ["skipped", "skipped"]
        assert states[1] == ["stopped", "never", "never"]

    def test_has_a_receipt_at_the_end(self, api: "APIClient", world: World) -> None:
        deployment = made(api, strategy="Direct", **SETTLED)
        world.until(deployment, Phase.SUCCEEDED)

        body = shown(api, deployment)

        assert body["receipt"]["route"] == {"version": "v2", "weight": 10_000}
        assert (body["isActive"], body["allowedCommands"]) == (False, ["rollback"])
        assert body["finishedAt"] is not None


class TestEvents:
    def test_are_the_whole_history_bound_by_hashes(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        ordered(api, deployment, "pause", reason="lunch")

        items = api.get(f"{URL}/{deployment.id}/events").json()["items"]

        assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
        assert [item["previousSha256"] for item in items[1:]] == [
            item["sha256"] for item in items[:-1]
        ]
        assert (items[0]["kind"], items[0]["actor"]) == ("created", "ada")
        assert (items[-1]["toPhase"], items[-1]["actor"]) == ("held", "ada")
        assert "lunch" in items[-1]["reason"]
        assert is_chain_whole(world.at(deployment).events.order_by("seq"))

    def test_come_in_pages_and_in_both_orders(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        path = f"{URL}/{deployment.id}/events"

        first = api.get(f"{path}?limit=2").json()
        second = api.get(first["next"]).json()
        newest = api.get(f"{path}?order=-at&limit=1").json()["items"]

        assert [item["seq"] for item in first["items"] + second["items"]][:4] == [1, 2, 3, 4]
        assert newest[0]["toPhase"] == "observing"

    def test_go_on_over_a_second_attempt(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        ordered(api, deployment, "abort")
        world.until(deployment, Phase.ROLLED_BACK)
        ordered(api, deployment, "retry")

        items = api.get(f"{URL}/{deployment.id}/events").json()["items"]

        attempts = [item["attempt"] for item in items]
        assert attempts == sorted(attempts)
        assert set(attempts) == {1, 2}


class TestEvidence:
    def test_is_a_series_for_each_version(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        world.serve(deployment, v1=(90, 9), v2=(10, 1))

        body = api.get(f"{URL}/{deployment.id}/evidence").json()

        assert (body["attempt"], body["windowSeconds"]) == (1, 10)
        assert body["limits"]["errorRate"] == 0.05
        assert [line["version"] for line in body["versions"]] == ["v1", "v2"]
        assert [line["total"]["errorRate"] for line in body["versions"]] == [0.1, 0.1]
        assert sum(point["calls"] for point in body["versions"][0]["points"]) == 90

    def test_is_kept_for_each_attempt(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        world.serve(deployment, v2=(10, 1))
        ordered(api, deployment, "abort")
        world.until(deployment, Phase.ROLLED_BACK)
        ordered(api, deployment, "retry")
        path = f"{URL}/{deployment.id}/evidence"

        totals = [
            api.get(f"{path}{query}").json()["versions"][1]["total"]["calls"]
            for query in ("", "?attempt=1", "?attempt=2")
        ]

        assert totals == [0, 10, 0]
        assert api.get(f"{path}?attempt=3").status_code == 404
        assert api.get(f"{path}?attempt=x").status_code == 404


class TestCommands:
    def test_promote_goes_on_to_the_next_step(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        response = ordered(api, deployment, "promote", reason="looks good")

        assert response.status_code == 200
        world.until(deployment, Phase.OBSERVING)
        assert shown(api, deployment)["weights"]["candidate"] == 5_000

    def test_promote_full_wants_a_reason(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        without = ordered(api, deployment, "promote-full")
        blank = ordered(api, deployment, "promote-full", reason="  ")
        given = ordered(api, deployment, "promote-full", reason="hotfix")

        assert [without.status_code, blank.status_code, given.status_code] == [422, 422, 200]
        assert fields_of(without) == fields_of(blank) == {"reason"}
        world.until(deployment, Phase.SETTLING)
        assert world.alias_number() == 2

    def test_pause_and_resume(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        paused = ordered(api, deployment, "pause", reason="lunch").json()
        resumed = ordered(api, deployment, "resume").json()

        assert (paused["phase"], paused["heldReason"]) == ("held", "manual")
        assert "lunch" in paused["reason"]
        assert "resume" in paused["allowedCommands"]
        assert resumed["phase"] in ("observing", "shifting")

    @pytest.mark.parametrize("verb", ["abort", "rollback"])
    def test_abort_and_rollback_bring_the_old_version_back(
        self, api: "APIClient", world: World, verb: str
    ) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        response = ordered(api, deployment, verb, reason="latency")

        assert response.status_code == 200
        assert response.json()["phase"] == "rolling-back"
        assert "latency" in response.json()["reason"]
        world.until(deployment, Phase.ROLLED_BACK)
        assert world.alias_number() == 1

    def test_rollback_repeated_is_no_error(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        answers = [ordered(api, deployment, "rollback").status_code for _ in range(3)]

        assert answers == [200] * 3

    def test_rollback_after_success_is_another_deployment(
        self, api: "APIClient", world: World
    ) -> None:
        deployment = made(api, strategy="Direct", **SETTLED)
        world.until(deployment, Phase.SUCCEEDED)

        response = ordered(api, deployment, "rollback", reason="late complaint")

        body = response.json()
        assert (response.status_code, response["Location"]) == (201, f"{URL}/{body['id']}")
        assert (body["fromVersion"], body["toVersion"]) == ("v2", "v1")
        world.until(Deployment.objects.get(id=body["id"]), Phase.SETTLING, Phase.SUCCEEDED)
        assert world.alias_number() == 1

    def test_retry_makes_another_attempt(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        ordered(api, deployment, "abort")
        world.until(deployment, Phase.ROLLED_BACK)

        body = ordered(api, deployment, "retry", reason="fixed the database").json()

        assert (body["attempt"], [item["number"] for item in body["attempts"]]) == (2, [2, 1])
        assert body["attempts"][1]["phase"] == "rolled-back"
        assert body["versions"][1]["calls"] == 0

    def test_are_refused_with_the_legal_ones(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)

        response = ordered(api, deployment, "retry")

        problem = response.json()
        assert (response.status_code, problem["type"]) == (409, "/problems/illegal-transition")
        assert problem["legal"] == ["promote", "promote-full", "pause", "abort", "rollback"]
        assert problem["legal"] == shown(api, deployment)["allowedCommands"]

    @pytest.mark.parametrize("verb", [str(command) for command in Command])
    def test_are_404_where_there_is_no_deployment(self, api: "APIClient", verb: str) -> None:
        response = api.post(f"{URL}/{uuid4()}/{verb}", {"reason": "why not"})

        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")

    @pytest.mark.parametrize("reason", ["x" * 501, 5 * ["x"], {"a": 1}])
    def test_refuse_reasons_that_are_none(
        self, api: "APIClient", world: World, reason: object
    ) -> None:
        response = ordered(api, made(api), "pause", reason=reason)

        assert (response.status_code, fields_of(response)) == (422, {"reason"})

    def test_are_given_once_however_often_they_are_sent(
        self, api: "APIClient", world: World
    ) -> None:
        deployment = made(api)
        world.until(deployment, Phase.OBSERVING)
        path, key = f"{URL}/{deployment.id}/promote", {"Idempotency-Key": "go-1"}

        first = api.post(path, {"reason": "go"}, headers=key)
        world.until(deployment, Phase.OBSERVING)
        again = api.post(path, {"reason": "go"}, headers=key)

        assert (first.status_code, again.json()) == (200, first.json())
        assert shown(api, deployment)["weights"]["candidate"] == 5_000


class TestApprovals:
    @pytest.fixture
    def waiting(self) -> Deployment:
        """Made by ada, and waiting for one person."""
        row = deployment_row(approvals_needed=1)
        attempt_row(row, Phase.AWAITING_APPROVAL, weight=0)
        return row

    def test_come_from_somebody_else(self, waiting: Deployment) -> None:
        own = ordered(client(username="ada"), waiting, "approve")
        eva = ordered(client(username="eva"), waiting, "approve", reason="read it")

        assert (own.status_code, own.json()["type"]) == (403, "/problems/forbidden")
        assert eva.status_code == 200
        assert eva.json()["approvals"]["approvedBy"] == ["eva"]

    def test_are_bound_to_what_was_seen(self, waiting: Deployment) -> None:
        eva = client(username="eva")

        other = ordered(eva, waiting, "approve", digest="e" * 64)
        seen = ordered(eva, waiting, "approve", digest=shown(eva, waiting)["digest"])

        assert (other.status_code, seen.status_code) == (409, 200)

    def test_may_be_refused(self, waiting: Deployment) -> None:
        response = ordered(client(username="eva"), waiting, "reject", reason="not on friday")

        assert response.status_code == 200
        assert response.json()["approvals"]["rejectedBy"] == ["eva"]

    def test_are_illegal_where_nobody_waits(self, api: "APIClient", world: World) -> None:
        deployment = made(api)

        response = ordered(client(username="eva"), deployment, "approve")

        assert response.status_code == 409

    def test_need_a_scope_of_their_own(self, waiting: Deployment) -> None:
        writer = client("deployments:read", "deployments:write", username="eva")

        response = ordered(writer, waiting, "approve")

        assert (response.status_code, response.json()["scope"]) == (403, "deployments:approve")


class TestScopes:
    def test_reading_is_not_changing(self, api: "APIClient", world: World) -> None:
        deployment = made(api)
        reader = client("deployments:read", username="bob")

        assert reader.get(URL).status_code == 200
        assert reader.get(f"{URL}/{deployment.id}").status_code == 200
        assert reader.post(f"{URL}/preview", {**CANARY, "version": "v3"}).status_code == 200
        refused = [asked(reader, dryRun=True), ordered(reader, deployment, "rollback")]
        assert [answer.status_code for answer in refused] == [403, 403]
        assert {answer.json()["scope"] for answer in refused} == {"deployments:write"}

    def test_changing_is_not_reading(self, world: World) -> None:
        writer = client("deployments:write", username="bob")

        assert writer.get(URL).status_code == 403
        assert asked(writer).status_code == 201


class TestList:
    @pytest.fixture
    def rows(self) -> dict[str, Deployment]:
        """Deployments of two functions in all kinds of states."""
        one, two = deploy("thumbs", versions=2), deploy("mails", versions=2)
        made = {
            "observing": (one, "production", Strategy.CANARY, Phase.OBSERVING, "ada"),
            "held": (one, "staging", Strategy.BLUE_GREEN, Phase.HELD, "ada"),
            "succeeded": (one, "production", Strategy.CANARY, Phase.SUCCEEDED, "bob"),
            "queued": (two, "production", Strategy.ROLLING, Phase.QUEUED, "bob"),
        }
        found = {}
        for name, (function, alias, strategy, phase, by) in made.items():
            row = deployment_row(function=function, alias=alias, strategy=strategy, created_by=by)
            attempt_row(row, phase)
            found[name] = row
        return found

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ["queued", "succeeded", "held", "observing"]),
            ("order=createdAt", ["observing", "held", "succeeded", "queued"]),
            ("function=thumbs", ["succeeded", "held", "observing"]),
            ("function=none", []),
            ("alias=staging", ["held"]),
            ("environment=production", ["queued", "succeeded", "observing"]),
            ("strategy=Canary", ["succeeded", "observing"]),
            ("strategy=blue-green", ["held"]),
            ("phase=held", ["held"]),
            ("phase=held&phase=queued", ["queued", "held"]),
            ("active=true", ["queued", "held", "observing"]),
            ("active=false", ["succeeded"]),
            ("createdBy=bob", ["queued", "succeeded"]),
            ("function=thumbs&active=true&createdBy=ada&alias=production", ["observing"]),
            ("since=2099-01-01T00:00:00Z", []),
            ("since=2020-01-01T00:00:00Z", ["queued", "succeeded", "held", "observing"]),
        ],
    )
    def test_is_filtered_and_ordered(
        self, api: "APIClient", rows: dict[str, Deployment], query: str, names: list[str]
    ) -> None:
        assert listed(api, query) == [str(rows[name].id) for name in names]

    @pytest.mark.parametrize(
        "query",
        ["phase=flying", "strategy=yolo", "since=yesterday", "order=colour", "cursor=none"],
    )
    def test_refuses_what_it_does_not_know(
        self, api: "APIClient", rows: dict[str, Deployment], query: str
    ) -> None:
        response = api.get(f"{URL}?{query}")

        assert response.status_code in (404, 422)
        assert response["Content-Type"] == "application/problem+json"

    def test_goes_by_the_newest_attempt(
        self, api: "APIClient", rows: dict[str, Deployment]
    ) -> None:
        attempt_row(rows["succeeded"], Phase.ROLLED_BACK)

        assert listed(api, "phase=succeeded") == []
        assert listed(api, "phase=rolled-back") == [str(rows["succeeded"].id)]
        item = api.get(f"{URL}?phase=rolled-back").json()["items"][0]
        assert (item["attempt"], item["phase"], item["isActive"]) == (2, "rolled-back", False)

    def test_comes_in_pages(self, api: "APIClient", rows: dict[str, Deployment]) -> None:
        first = api.get(f"{URL}?limit=3").json()
        second = api.get(first["next"]).json()

        ids = [item["id"] for item in first["items"] + second["items"]]
        assert ids == listed(api)
        assert second["next"] is None

    def test_takes_as_many_queries_for_two_as_for_twenty(
        self, api: "APIClient", rows: dict[str, Deployment]
    ) -> None:
        function = deploy("busy", versions=2)
        for number in range(20):
            row = deployment_row(function=function, alias=f"stage-{number}")
            attempt_row(row, Phase.ROLLED_BACK)
            attempt_row(row, Phase.OBSERVING)

        listed(api)  # the first call of a token notes that it was used
        counts = []
        for limit in (2, 20):
            with CaptureQueriesContext(connection) as queries:
                assert len(api.get(f"{URL}?limit={limit}").json()["items"]) == limit
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 8


class TestDocument:
    @pytest.fixture
    def document(self, tmp_path: Path) -> dict[str, Any]:
        path = tmp_path / "openapi.json"
        call_command("spectacular", "--format=openapi-json", f"--file={path}")
        return dict(json.loads(path.read_text()))

    def test_has_every_verb(self, document: dict[str, Any]) -> None:
        for command in Command:
            operation = document["paths"][f"{URL}/{{deployment_id}}/{command}"]["post"]
            wanted = "approve" if command in (Command.APPROVE, Command.REJECT) else "write"
            assert operation["description"].endswith(f"Scope: `deployments:{wanted}`.")

    def test_has_every_filter(self, document: dict[str, Any]) -> None:
        parameters = document["paths"][URL]["get"]["parameters"]

        assert {parameter["name"] for parameter in parameters} == {
            *("function", "alias", "environment", "strategy", "phase", "active", "createdBy"),
            *("since", "order", "limit", "cursor"),
        }

    def test_has_every_setting_that_a_strategy_takes(
        self, api: "APIClient", world: World, document: dict[str, Any]
    ) -> None:
        """Planners name what they know when they are asked for something far from it."""
        schema = document["components"]["schemas"]["NewDeploymentRequest"]
        documented = set(schema["properties"]["config"]["properties"])
        known: set[str] = set()
        for strategy in Strategy:
            answer = asked(api, strategy=strategy, config={"§": 1}).json()
            texts = {error["field"]: error["message"] for error in answer["errors"]}
            known |= set(texts["§"].partition("Known are ")[2].rstrip(".").split(", "))

        assert documented == known
