"""Functions through the API."""

from datetime import timedelta

import pytest

from functions.services.functions import functions_purge
from hotswap.core import clock
from hotswap.records.models import AuditEvent
from tests.integration.control import client, create, deployed, encoded, point

BOUNDS = [
    ("memorySize", 128, 10_240, 64),
    ("timeout", 1, 900, 1),
    ("maxInstances", 1, 1_000, 1),
    ("idleTimeout", 1, 86_400, 1),
    ("maxQueue", 0, 10_000, 1),
    ("reservedConcurrency", 0, 10_000, 1),
]


class TestCreate:
    def test_answers_with_the_function_and_its_address(self, api):
        response = create(api, runtime="Python311", tags=["media"], metadata={"team": "img"})

        body = response.json()
        assert (response.status_code, response["Location"]) == (201, "/api/v1/functions/thumbs")
        assert (body["runtime"], body["memorySize"], body["timeout"]) == ("python3.11", 256, 30)
        assert (body["tags"], body["metadata"]) == (["media"], {"team": "img"})
        assert (body["latestVersion"], body["createdBy"], body["cpuShares"]) == (None, "ada", 148)

    def test_makes_version_1_when_code_comes_along(self, api):
        response = create(api, code={"zipFile": encoded()}, message="first")

        version = api.get("/api/v1/functions/thumbs/versions/v1").json()
        assert response.json()["latestVersion"] == "v1"
        assert (version["message"], version["author"], version["files"]) == ("first", "ada", 1)

    def test_makes_nothing_when_its_code_is_refused(self, api):
        response = create(api, files={"other.py": ""})

        assert (response.status_code, response.json()["reason"]) == (422, "handler-missing")
        assert api.get("/api/v1/functions/thumbs").status_code == 404

    def test_refuses_a_taken_name(self, api):
        create(api)

        response = create(api)

        assert (response.status_code, response.json()["type"]) == (409, "/problems/already-exists")

    @pytest.mark.parametrize("name", ["a", "0", "A-b-9", "x" * 64])
    def test_takes_names_of_letters_digits_and_dashes(self, api, name):
        assert create(api, name=name).status_code == 201

    @pytest.mark.parametrize(
        "name", ["", "x" * 65, "a_b", "a.b", "-a", "a-", "ä", "a b", "a/b", "a\0"]
    )
    def test_refuses_other_names(self, api, name):
        assert create(api, name=name).status_code == 422

    @pytest.mark.parametrize(("field", "least", "most", "step"), BOUNDS, ids=str)
    def test_takes_numbers_up_to_their_bounds(self, api, field, least, most, step):
        statuses = [
            create(api, name=f"f{n}", **{field: value}).status_code
            for n, value in enumerate([least - step, least, most, most + step])
        ]

        assert statuses == [422, 201, 201, 422]

    def test_takes_memory_in_steps_of_64(self, api):
        assert [create(api, name=f"f{m}", memorySize=m).status_code for m in (191, 192, 193)] == [
            422,
            201,
            422,
        ]

    @pytest.mark.parametrize(("size", "status"), [(4_096, 201), (4_097, 422)])
    def test_bounds_the_environment_by_bytes(self, api, size, status):
        environment = {"A": "ü" * 1_000, "B": "x" * (size - 2_002)}

        assert create(api, environment=environment).status_code == status

    @pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "TZ", "_HANDLER", "LAMBDA_TASK_ROOT"])
    def test_refuses_variable_names_that_cannot_be_set(self, api, name):
        response = create(api, environment={name: "x"})

        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "environment")

    def test_names_every_fault_at_once(self, api):
        response = create(api, runtime="cobol", environment={"TZ": "x"}, tags=["a", "a"])

        fields = {error["field"] for error in response.json()["errors"]}
        assert fields == {"runtime", "environment", "tags"}

    @pytest.mark.parametrize("handler", ["main", "main.", ".handler", "../x.y", "a b.c", ""])
    def test_checks_the_handler_for_its_runtime(self, api, handler):
        assert create(api, handler=handler).status_code == 422


class TestList:
    @pytest.fixture(autouse=True)
    def three(self, api):
        create(api, name="beta", tags=["x"], description="resizes images")
        create(api, name="alpha", runtime="nodejs22", handler="index.handler")
        create(api, name="gamma", tags=["x", "y"])

    def names(self, api, query=""):
        return [item["name"] for item in api.get(f"/api/v1/functions{query}").json()["items"]]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", ["alpha", "beta", "gamma"]),
            ("?order=-name", ["gamma", "beta", "alpha"]),
            ("?order=createdAt", ["beta", "alpha", "gamma"]),
            ("?runtime=Python311", ["beta", "gamma"]),
            ("?tag=y", ["gamma"]),
            ("?search=IMAGE", ["beta"]),
            ("?search=100%25", []),
            ("?createdBy=nobody", []),
        ],
    )
    def test_filters_searches_and_orders(self, api, query, names):
        assert self.names(api, query) == names

    @pytest.mark.parametrize("query", ["?order=owner__password", "?search=%00", "?cursor=forged"])
    def test_refuses_what_is_not_offered(self, api, query):
        assert api.get(f"/api/v1/functions{query}").status_code in (404, 422)

    def test_pages_by_cursor_while_rows_come_and_go(self, api):
        first = api.get("/api/v1/functions?limit=2").json()
        create(api, name="aaa")
        second = api.get(first["next"]).json()

        assert [item["name"] for item in first["items"] + second["items"]] == [
            "alpha",
            "beta",
            "gamma",
        ]
        assert second["next"] is None

    def test_takes_the_same_few_queries_for_many_rows(self, api, django_assert_max_num_queries):
        for n in range(30):
            create(api, name=f"many-{n}")

        with django_assert_max_num_queries(3):  # token, its use, page
            assert len(self.names(api)) == 33


class TestChange:
    def test_changes_only_what_is_given(self, api):
        create(api, memorySize=512)

        response = api.patch("/api/v1/functions/thumbs", {"timeout": 9})

        body = response.json()
        assert (response.status_code, body["memorySize"], body["timeout"]) == (200, 512, 9)

    def test_puts_defaults_where_a_replacement_is_silent(self, api):
        create(api, memorySize=512)

        response = api.put(
            "/api/v1/functions/thumbs", {"runtime": "python3.11", "handler": "main.other"}
        )

        assert (response.json()["memorySize"], response.json()["handler"]) == (256, "main.other")

    def test_marks_a_function_whose_calls_may_be_repeated(self, api):
        assert create(api).json()["idempotent"] is False

        marked = api.patch("/api/v1/functions/thumbs", {"idempotent": True}).json()
        kept = api.patch("/api/v1/functions/thumbs", {"timeout": 9}).json()
        replaced = api.put(
            "/api/v1/functions/thumbs", {"runtime": "python3.11", "handler": "main.handler"}
        ).json()

        assert [marked["idempotent"], kept["idempotent"], replaced["idempotent"]] == [
            True,
            True,
            False,
        ]

    def test_leaves_earlier_versions_as_they_were(self, api):
        deployed(api, environment={"MODE": "a"})
        api.patch("/api/v1/functions/thumbs", {"memorySize": 1024, "environment": {"MODE": "b"}})
        api.post("/api/v1/functions/thumbs/versions", {})

        memory = {v: api.get(f"/api/v1/functions/thumbs/versions/{v}").json() for v in ("v1", "v2")}
        assert [memory[v]["memorySize"] for v in ("v1", "v2")] == [256, 1024]
        assert [memory[v]["environment"]["MODE"] for v in ("v1", "v2")] == ["a", "b"]

    def test_refuses_to_overwrite_what_was_not_seen(self, api):
        seen = create(api)["ETag"]
        api.patch("/api/v1/functions/thumbs", {"timeout": 9})

        response = api.patch(
            "/api/v1/functions/thumbs", {"timeout": 10}, headers={"If-Match": seen}
        )

        assert (response.status_code, response.json()["type"]) == (412, "/problems/stale-row")
        assert api.get("/api/v1/functions/thumbs").json()["timeout"] == 9

    def test_takes_a_change_of_what_was_seen(self, api):
        seen = create(api)["ETag"]

        response = api.patch("/api/v1/functions/thumbs", {"timeout": 9}, headers={"If-Match": seen})

        assert response.status_code == 200
        assert response["ETag"] != seen

    def test_does_not_repeat_what_the_reader_has(self, api):
        tag = create(api)["ETag"]

        response = api.get("/api/v1/functions/thumbs", headers={"If-None-Match": tag})

        assert (response.status_code, response.content) == (304, b"")

    def test_refuses_null_where_a_value_is_needed(self, api):
        create(api)

        assert api.patch("/api/v1/functions/thumbs", {"maxQueue": None}).status_code == 422

    def test_is_audited_without_environment_values(self, api):
        create(api)
        api.patch("/api/v1/functions/thumbs", {"environment": {"KEY": "hunter2"}})

        event = AuditEvent.objects.get(verb="function.update")
        assert (event.actor, event.subject, event.detail) == (
            "ada",
            "function/thumbs",
            {"fields": ["environment"]},
        )


class TestDelete:
    def test_takes_a_function_out_of_service(self, api):
        create(api)

        assert api.delete("/api/v1/functions/thumbs").status_code == 204
        assert api.get("/api/v1/functions/thumbs").status_code == 404
        assert api.delete("/api/v1/functions/thumbs").status_code == 404
        assert api.get("/api/v1/functions").json()["items"] == []

    def test_keeps_the_name_and_says_so(self, api):
        create(api)
        api.delete("/api/v1/functions/thumbs")

        response = create(api)

        assert response.status_code == 409
        assert "restore" in response.json()["detail"]

    def test_can_be_undone_with_versions_and_aliases(self, api):
        deployed(api, versions=2)
        point(api, "production")
        api.delete("/api/v1/functions/thumbs")

        listed = api.get("/api/v1/functions?deleted=true").json()["items"]
        response = api.post("/api/v1/functions/thumbs/restore")

        assert [item["name"] for item in listed] == ["thumbs"]
        assert (response.status_code, response.json()["latestVersion"]) == (200, "v2")
        assert response.json()["aliases"][0]["name"] == "production"

    def test_cannot_be_undone_twice(self, api):
        create(api)

        response = api.post("/api/v1/functions/thumbs/restore")

        problem = response.json()
        assert (problem["status"], problem["type"]) == (409, "/problems/illegal-transition")


class TestPurge:
    def test_frees_the_name_only_after_the_retention(self, api):
        deployed(api)
        point(api, "production")
        api.delete("/api/v1/functions/thumbs")
        now = clock.utc_now()

        early = functions_purge(before=now - timedelta(days=1), now=now)
        late = functions_purge(before=now + timedelta(seconds=1), now=now)

        assert (early, late) == (0, 1)
        assert api.post("/api/v1/functions/thumbs/restore").status_code == 404
        assert create(api).status_code == 201

    def test_leaves_living_functions_alone(self, api):
        create(api)
        now = clock.utc_now()

        assert functions_purge(before=now + timedelta(days=1), now=now) == 0


class TestScopes:
    def test_let_a_reader_read_only(self, api):
        create(api)
        reader = client("functions:read", username="bob")

        assert reader.get("/api/v1/functions/thumbs").status_code == 200
        assert reader.delete("/api/v1/functions/thumbs").status_code == 403
        assert create(reader, name="other").status_code == 403
