"""Aliases through the API."""

import pytest
from django.db import IntegrityError, connection, transaction

from functions.models import Alias, AliasTarget
from tests.integration.control import create, deployed, point

ALIASES = "/api/v1/functions/thumbs/aliases"


@pytest.fixture(autouse=True)
def three_versions(api):
    deployed(api, versions=3)


def refused_at_commit(why):
    """The deferred checks, which a commit would run, refuse."""
    with pytest.raises(IntegrityError, match=why):
        connection.check_constraints()
    transaction.set_rollback(True)


class TestCreate:
    def test_leads_to_weighted_versions(self, api):
        response = point(api, "production", v1=9_000, v2=999, v3=1)

        body = response.json()
        assert (response.status_code, response["Location"]) == (201, f"{ALIASES}/production")
        assert [(t["version"], t["weight"]) for t in body["versions"]] == [
            ("v1", 9_000),
            ("v2", 999),
            ("v3", 1),
        ]

    def test_takes_one_version_without_a_weight(self, api):
        body = api.post(ALIASES, {"name": "dev", "version": "v2"}).json()

        assert body["versions"] == [{"version": "v2", "weight": 10_000}]

    @pytest.mark.parametrize(
        "weights",
        [
            {"v1": 9_999},
            {"v1": 5_000, "v2": 5_001},
            {"v1": 10_000, "v2": 0},
            {"v1": 10_001, "v2": -1},
            {"v1": 5_000, "v9": 5_000},
            {"v1": 5_000, "1": 5_000},
            {"newest": 10_000},
        ],
        ids=["below", "above", "zero", "negative", "unknown", "twice", "no version"],
    )
    def test_refuses_weights_that_do_not_add_up(self, api, weights):
        assert point(api, "production", **weights).status_code == 422
        assert api.get(ALIASES).json()["items"] == []

    @pytest.mark.parametrize("name", ["v3", "3a", "$LATEST", "a.b", "", "x" * 65, "-a"])
    def test_refuses_names_that_read_as_something_else(self, api, name):
        assert point(api, name).status_code == 422

    def test_refuses_a_taken_name(self, api):
        point(api, "production")

        assert point(api, "production").status_code == 409

    def test_needs_to_know_where_to(self, api):
        assert api.post(ALIASES, {"name": "dev"}).status_code == 422


class TestMove:
    def test_changes_all_weights_at_once(self, api):
        point(api, "production")

        response = api.put(
            f"{ALIASES}/production",
            {"versions": [{"version": 2, "weight": 2_500}, {"version": "v3", "weight": 7_500}]},
        )

        assert [t["version"] for t in response.json()["versions"]] == ["v2", "v3"]

    def test_keeps_the_old_weights_when_the_new_ones_are_refused(self, api):
        point(api, "production")

        response = api.put(f"{ALIASES}/production", {"version": "v9"})

        assert response.status_code == 422
        assert api.get(f"{ALIASES}/production").json()["versions"][0]["version"] == "v1"

    def test_refuses_to_overwrite_what_was_not_seen(self, api):
        seen = point(api, "production")["ETag"]
        api.put(f"{ALIASES}/production", {"version": "v2"})

        response = api.put(f"{ALIASES}/production", {"version": "v3"}, headers={"If-Match": seen})

        assert response.status_code == 412
        assert api.get(f"{ALIASES}/production").json()["versions"][0]["version"] == "v2"

    def test_changes_the_description_alone(self, api):
        point(api, "production")

        body = api.patch(f"{ALIASES}/production", {"description": "for all"}).json()

        assert (body["description"], body["versions"][0]["version"]) == ("for all", "v1")


class TestDelete:
    def test_leaves_the_versions(self, api):
        point(api, "production")

        assert api.delete(f"{ALIASES}/production").status_code == 204
        assert api.get(f"{ALIASES}/production").status_code == 404
        assert api.delete("/api/v1/functions/thumbs/versions/v1").status_code == 204


class TestDatabase:
    def test_refuses_weights_that_do_not_sum_up(self, api):
        point(api, "production")

        AliasTarget.objects.update(weight_bps=9_999)

        refused_at_commit("sum to 9999")

    def test_refuses_a_version_of_another_function(self, api):
        create(api, name="other", files={"main.py": ""})
        point(api, "production")
        stranger = AliasTarget._meta.get_field("version").related_model.objects.get(
            function__name="other"
        )

        AliasTarget.objects.update(version=stranger)

        refused_at_commit("1 of another function")

    def test_refuses_an_alias_that_leads_nowhere(self, api):
        point(api, "production")
        Alias.objects.get().targets.all().delete()

        refused_at_commit("sum to 0")
