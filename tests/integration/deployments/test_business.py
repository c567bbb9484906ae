"""Business metrics: values by unit or call, and the comparison of both versions."""

import random

import pytest

from deployments.models import Attempt, BusinessValue
from deployments.states import Phase
from deployments.types import Plan, Step, Strategy
from hotswap.wire.rollouts import unit_place
from tests.integration.control import client
from tests.integration.deployments.rows import attempt, deployment
from tests.integration.runners.reporting import Intake, deploy, invoked

AB = Plan(steps=(Step(name="50 %", weight=5_000),), unit="header:x-user", is_decided_by_person=True)


@pytest.fixture
def api(db):
    return client()


@pytest.fixture
def running(db):
    return attempt(deployment(plan=AB, strategy=Strategy.AB_TESTING), weight=5_000)


def report(api, of, values, metric="revenue"):
    body = {"deploymentId": str(of.deployment_id), "values": values}
    return api.post(f"/api/v1/metrics/{metric}", body)


def comparison(api, of):
    return api.get(f"/api/v1/deployments/{of.deployment_id}/comparison").json()


class TestUnits:
    def test_belong_to_the_version_that_the_gateway_s_hash_gives_them(self, api, running):
        units = [f"user-{n}" for n in range(200)]

        response = report(api, running, [{"unit": unit, "value": 1} for unit in units])

        assert response.json() == {"accepted": 200, "repeated": 0, "unknown": []}
        of = running.deployment
        wanted = {
            unit: of.to_version_id if unit_place(running.salt, unit) < 5_000 else of.from_version_id
            for unit in units
        }
        assert dict(BusinessValue.objects.values_list("unit", "version_id")) == wanted
        assert len(set(wanted.values())) == 2

    def test_count_once_with_their_first_value(self, api, running):
        values = [{"unit": "a", "value": 1}, {"unit": "a", "value": 2}]

        first = report(api, running, values).json()
        again = report(api, running, values).json()

        assert (first["accepted"], first["repeated"]) == (1, 1)
        assert (again["accepted"], again["repeated"]) == (0, 2)
        assert BusinessValue.objects.get().value == 1
        assert report(api, running, values, metric="clicks").json()["accepted"] == 1

    def test_can_be_reported_one_by_one_and_by_function(self, api, running):
        body = {"functionName": "thumbs", "unit": "a", "value": 2.5, "before": 1}

        assert api.post("/api/v1/metrics/revenue", body).status_code == 200

        row = BusinessValue.objects.get()
        assert (row.unit, row.value, row.before) == ("a", 2.5, 1)

    @pytest.mark.parametrize(
        "changes",
        [
            {"phase": Phase.SETTLING},
            {"phase": Phase.HELD, "weight": 0},
            {"weight": 10_000},
            {"runner_weights": {"node-1": 10_000}},
        ],
        ids=str,
    )
    def test_tell_no_version_once_the_shares_are_others(self, api, running, changes):
        Attempt.objects.update(**changes)

        response = report(api, running, [{"unit": "a", "value": 1}])

        assert (response.status_code, BusinessValue.objects.count()) == (409, 0)

    def test_tell_no_version_where_calls_are_divided_and_not_units(self, api):
        response = report(api, attempt(deployment()), [{"unit": "a", "value": 1}])

        assert response.status_code == 409
        assert "requestId" in response.json()["detail"]


class TestRequests:
    def test_belong_to_the_version_that_their_record_names(self, api, running):
        of = running.deployment
        other = deploy("other", versions=1)
        Intake().calls(
            1,
            records=[
                invoked(of.from_version_id, "r1"),
                invoked(of.to_version_id, "r2"),
                invoked(other.versions[0], "r3"),
            ],
        )

        values = [{"requestId": name, "value": 1} for name in ("r1", "r2", "r3", "r4")]
        answer = report(api, running, values).json()

        assert answer == {"accepted": 2, "repeated": 0, "unknown": [2, 3]}
        assert dict(BusinessValue.objects.values_list("unit", "version_id")) == {
            "r1": of.from_version_id,
            "r2": of.to_version_id,
        }

    def test_can_be_reported_after_the_test(self, api):
        of = attempt(deployment(), Phase.SUCCEEDED, weight=10_000)
        Intake().calls(1, records=[invoked(of.deployment.to_version_id, "r1")])

        assert report(api, of, [{"requestId": "r1", "value": 1}]).json()["accepted"] == 1


class TestRefusals:
    @pytest.mark.parametrize(
        "values",
        [
            [],
            [{"value": 1}],
            [{"unit": "a", "requestId": "b", "value": 1}],
            [{"unit": "", "value": 1}],
            [{"unit": "a\nb", "value": 1}],
            [{"unit": "a" * 201, "value": 1}],
            [{"unit": "a", "value": "much"}],
            [{"unit": "a", "value": "NaN"}],
            [{"unit": "a", "value": 1, "before": "inf"}],
            [{"unit": "a", "value": 1}, {"unit": "b"}],
            [{"unit": f"u{n}", "value": 1} for n in range(1_001)],
        ],
        ids=lambda values: str(values)[:40],
    )
    def test_of_one_value_keep_nothing_of_the_batch(self, api, running, values):
        assert report(api, running, values).status_code == 422
        assert BusinessValue.objects.count() == 0

    @pytest.mark.parametrize("metric", ["1st", "a b", "x" * 65, "ä", "$"])
    def test_of_metric_names(self, api, running, metric):
        response = report(api, running, [{"unit": "a", "value": 1}], metric)

        assert response.status_code == 422

    def test_of_a_metric_too_many(self, api, running):
        value = [{"unit": "a", "value": 1}]
        for number in range(50):
            assert report(api, running, value, f"m{number}").status_code == 200

        assert report(api, running, value, "m50").status_code == 422
        assert report(api, running, value, "m49").status_code == 200

    def test_of_deployments_that_do_not_exist(self, api):
        nobody = "00000000-0000-4000-8000-000000000000"
        value = {"unit": "a", "value": 1}

        assert api.post("/api/v1/metrics/m", {"deploymentId": nobody, **value}).status_code == 404
        assert api.post("/api/v1/metrics/m", {"functionName": "no", **value}).status_code == 404
        assert api.post("/api/v1/metrics/m", value).status_code == 422
        assert api.get(f"/api/v1/deployments/{nobody}/comparison").status_code == 404

    def test_of_readers(self, running):
        reader = client("deployments:read", username="bob")

        assert report(reader, running, [{"unit": "a", "value": 1}]).status_code == 403


class TestComparison:
    def test_finds_a_difference_that_is_there(self, api, running):
        """Conversion of 20 % against 40 %: far above what the interval leaves open."""
        drawn = random.Random(7)
        values = []
        for number in range(1_000):
            unit = f"user-{number}"
            is_candidate = unit_place(running.salt, unit) < 5_000
            chance = 0.4 if is_candidate else 0.2
            values.append({"unit": unit, "value": float(drawn.random() < chance)})
        assert report(api, running, values).status_code == 200

        body = comparison(api, running)

        (metric,) = body["metrics"]
        assert metric["metric"] == "revenue"
        assert metric["unitsA"] + metric["unitsB"] == 1_000
        assert metric["isSignificant"] is True
        low, high = metric["interval"]
        assert 0 < low < metric["difference"] < high
        assert abs(metric["difference"] - 0.2) < 0.08
        assert body["split"]["isMismatch"] is False

    def test_shows_none_where_none_is(self, api, running):
        drawn = random.Random(7)
        report(
            api,
            running,
            [{"unit": f"u{n}", "value": float(drawn.random() < 0.2)} for n in range(1_000)],
        )

        (metric,) = comparison(api, running)["metrics"]

        low, high = metric["interval"]
        assert metric["isSignificant"] is False
        assert low < 0 < high

    def test_takes_out_what_the_time_before_explains(self, api, running):
        drawn = random.Random(7)
        values = []
        for number in range(600):
            before = drawn.gauss(100, 20)
            values.append(
                {"unit": f"u{number}", "value": before + drawn.gauss(0, 2), "before": before}
            )
        report(api, running, values)

        (metric,) = comparison(api, running)["metrics"]

        assert metric["varianceReduction"] > 0.95

    def test_says_nothing_of_a_handful_of_units(self, api, running):
        report(api, running, [{"unit": f"u{n}", "value": n} for n in range(20)])

        (metric,) = comparison(api, running)["metrics"]

        assert metric["interval"] is None
        assert metric["isSignificant"] is False

    def test_sees_a_split_that_is_not_the_intended_one(self, api, running):
        """As when the candidate's pages lose a third of their reports."""
        units = [f"u{n}" for n in range(6_000)]
        kept = [
            unit for unit in units if unit_place(running.salt, unit) >= 5_000 or hash_of(unit) % 3
        ]
        for start in range(0, len(kept), 1_000):
            batch = [{"unit": unit, "value": 1} for unit in kept[start : start + 1_000]]
            report(api, running, batch)

        split = comparison(api, running)["split"]

        assert split["isMismatch"] is True
        assert "no result counts" in split["sentence"]

    def test_shares_the_chance_of_error_among_the_metrics(self, api, running):
        for metric in ("a", "b"):
            report(api, running, [{"unit": "u", "value": 1}], metric)

        body = comparison(api, running)

        assert body["alpha"] == 0.025
        assert [metric["metric"] for metric in body["metrics"]] == ["a", "b"]

    def test_judges_no_split_where_the_shares_changed_on_the_way(self, api):
        plan = Plan(steps=tuple(Step(name="", weight=w) for w in (1_000, 5_000, 10_000)))

        assert comparison(api, attempt(deployment(plan=plan)))["split"] is None


def hash_of(unit):
    """Independent of the one that divides units."""
    return unit_place("another salt", unit)
