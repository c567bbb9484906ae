"""Freeze windows and rules of environments through the API."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployments.rules import Rules
from deployments.services import environments, freezes
from hotswap.core import clock
from hotswap.records.models import AuditEvent
from tests.integration.control import client

FREEZES = "/api/v1/freezes"
PRODUCTION = "/api/v1/environments/production"


@pytest.fixture
def api(db):
    return client()


def announce(api, *, starts=0.0, ends=3_600.0, **fields):
    now = clock.utc_now()
    body = {
        "startsAt": (now + timedelta(seconds=starts)).isoformat(),
        "endsAt": (now + timedelta(seconds=ends)).isoformat(),
        "reason": "year-end",
    }
    return api.post(FREEZES, {**body, **fields})


def holding(environment, *, after=0.0):
    now = clock.utc_now() + timedelta(seconds=after)
    return freezes.freeze_now(environment=environment, now=now)


class TestAnnouncing:
    def test_holds_the_named_environment_from_its_beginning_to_its_end(self, api):
        response = announce(api, starts=60, ends=120, environment="production")

        assert response.status_code == 201
        assert response["Location"] == f"{FREEZES}/{response.json()['id']}"
        assert holding("production", after=59) is None
        assert holding("production", after=61).reason == "year-end"
        assert holding("staging", after=61) is None
        assert holding("production", after=121) is None

    def test_without_an_environment_holds_all(self, api):
        announce(api)

        assert holding("production", after=1)
        assert holding("anything", after=1)

    def test_names_the_window_that_ends_last(self, api):
        announce(api, ends=60, reason="short")
        announce(api, ends=600, reason="long")

        assert holding("production", after=1).reason == "long"

    @pytest.mark.parametrize(
        "fields",
        [
            {"reason": ""},
            {"reason": "  "},
            {"reason": "x" * 501},
            {"endsAt": "2020-01-01T00:00:00Z"},
            {"endsAt": "2200-01-01T00:00:00Z"},
            {"endsAt": "soon"},
            {"environment": "v3"},
        ],
        ids=["no reason", "blank", "long reason", "over", "too long", "no time", "no name"],
    )
    def test_is_refused_when_it_makes_no_sense(self, api, fields):
        assert announce(api, **fields).status_code == 422
        assert api.get(FREEZES).json()["items"] == []

    def test_needs_the_right_to_change_deployments(self, api):
        reader = client("deployments:read", username="bob")

        assert announce(reader).status_code == 403
        assert reader.get(FREEZES).status_code == 200

    def test_is_kept_in_the_audit_trail(self, api):
        announce(api, environment="production")

        event = AuditEvent.objects.get(verb="freeze.create")
        assert (event.actor, event.detail["environment"]) == ("ada", "production")


class TestEnding:
    def test_ends_a_running_window_now_and_keeps_it_in_the_list(self, api):
        where = announce(api)["Location"]

        assert api.delete(where).status_code == 204
        assert holding("production", after=0.1) is None
        assert len(api.get(FREEZES).json()["items"]) == 1
        assert api.delete(where).status_code == 204

    def test_removes_a_window_that_has_not_begun(self, api):
        where = announce(api, starts=60)["Location"]

        assert api.delete(where).status_code == 204
        assert api.get(where).status_code == 404


class TestEnvironment:
    def test_production_is_strict_until_somebody_says_otherwise(self, api):
        body = api.get(PRODUCTION).json()

        assert (body["concurrency"], body["onInconclusive"]) == ("queue", "extend")
        assert (body["extensions"], body["afterExtensions"]) == (2, "hold")
        assert body["approvalsNeeded"] == 0

    def test_others_are_quick(self, api):
        body = api.get("/api/v1/environments/staging").json()

        assert (body["concurrency"], body["onInconclusive"]) == ("supersede", "promote")

    def test_keeps_what_was_set_and_gives_the_rest_its_default(self, api):
        api.put(PRODUCTION, {"approvalsNeeded": 2, "concurrency": "reject"})
        response = api.put(PRODUCTION, {"approvalsNeeded": 1})

        rules = environments.environment_rules(name="production")
        assert response.json()["approvalsNeeded"] == rules.approvals_needed == 1
        assert rules == replace(Rules.for_name("production"), approvals_needed=1)
        listed = api.get("/api/v1/environments").json()["items"]
        assert [item["name"] for item in listed] == ["production"]

    def test_nobody_overwrites_what_they_have_not_seen(self, api):
        tag = api.put(PRODUCTION, {"extensions": 1})["ETag"]

        first = api.put(PRODUCTION, {"extensions": 3}, headers={"If-Match": tag})
        second = api.put(PRODUCTION, {"extensions": 4}, headers={"If-Match": tag})

        assert (first.status_code, second.status_code) == (200, 412)
        assert api.get(PRODUCTION).json()["extensions"] == 3

    @pytest.mark.parametrize(
        "fields",
        [
            {"approvalsNeeded": -1},
            {"approvalsNeeded": 21},
            {"approvalSeconds": 1},
            {"extensions": 99},
            {"afterExtensions": "extend"},
            {"concurrency": "race"},
            {"approvals": 1},
            {"hooks": {}},
            {"hooks": [{"kind": "sometimes", "url": "http://ci.example"}]},
            {"hooks": [{"kind": "rollout", "url": "ftp://ci.example"}]},
            {"hooks": [{"kind": "rollout", "url": "http://169.254.169.254/latest"}]},
            {"hooks": [{"kind": "rollout", "url": "http://me:pass@ci.example/"}]},
            {"hooks": [{"kind": "rollout", "url": "http://ci.example", "timeoutSeconds": 900}]},
            {"hooks": [{"kind": "rollout", "url": "http://ci.example"}] * 2},
            {"notify": [{"kind": "pigeon", "target": "http://ci.example"}]},
            {"notify": [{"kind": "slack", "target": "http://ci.example", "events": ["lunch"]}]},
        ],
        ids=str,
    )
    def test_refuses_rules_that_make_no_sense(self, api, fields):
        response = api.put(PRODUCTION, fields)

        assert response.status_code == 422
        assert next(iter(fields)) in response.json()["detail"]
        assert api.get("/api/v1/environments").json()["items"] == []

    def test_keeps_before_and_after_without_the_secrets_in_urls(self, api):
        api.put(PRODUCTION, {"approvalsNeeded": 2})
        url = "https://hooks.example/T0/secret"
        api.put(PRODUCTION, {"notify": [{"kind": "slack", "target": url}]})

        event = AuditEvent.objects.filter(verb="environment.update").latest("id")
        assert event.detail["before"]["approvalsNeeded"] == 2
        assert event.detail["after"]["approvalsNeeded"] == 0
        assert "secret" not in str(event.detail)

    def test_shows_the_path_of_urls_to_those_who_may_change_them_only(self, api):
        url = "https://hooks.example/T0/secret"
        api.put(PRODUCTION, {"notify": [{"kind": "slack", "target": url}]})

        seen = client("deployments:read", username="bob").get(PRODUCTION).json()
        assert seen["notify"][0]["target"] == "https://hooks.example/…"
        assert api.get(PRODUCTION).json()["notify"][0]["target"] == url
        assert api.put(PRODUCTION, {"notify": seen["notify"]}).status_code == 422
